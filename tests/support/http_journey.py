"""A candidate's journey over HTTP, step by step.

Candidate n is person `P<n>`, login `candidate-<n>`, application `A<n>`, payment `PAY<n>`. Dates are
those of `tests.support.commands`: the exam ends on 2026-09-05, the notice runs until 2026-10-13.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image, ImageDraw

from tests.support.commands import document_of, name_of
from tests.support.service import OCCUPATION, Caller, LedgerClient

OPENED_AT = "2026-03-01T09:00:00+08:00"
PAID_AT = "2026-03-02T09:00:00+08:00"
HANDED_IN_AT = "2026-03-03T09:00:00+08:00"
REVIEWED_AT = "2026-03-04T09:00:00+08:00"
SEATED_AT = "2026-08-20T09:00:00+08:00"
ENDED_AT = "2026-09-05T15:00:00+08:00"
SCORED_AT = "2026-09-10T09:00:00+08:00"
PUBLISHED_AT = "2026-09-30T10:00:00+08:00"
CLOSED_AT = "2026-10-14T09:00:00+08:00"
ISSUED_AT = "2026-10-15T10:00:00+08:00"

STAGES = (("initial", "agency"), ("second", "certifier"), ("final", "province"))


def portrait(shade: int = 40) -> bytes:
    """A drawn 2-inch photo: head and shoulders on white, JPEG; every shade is another file."""
    image = Image.new("RGB", (413, 579), (252, 252, 252))
    draw = ImageDraw.Draw(image)
    draw.ellipse((33, 359, 380, 811), fill=(shade, 52, 96))
    draw.ellipse((124, 81, 289, 347), fill=(40, 30, 28))
    draw.ellipse((136, 127, 277, 382), fill=(226, 186, 160))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def scan(shade: int) -> bytes:
    """A scanned page, PNG; every shade is another file."""
    buffer = io.BytesIO()
    Image.new("RGB", (60, 80), (shade, 200, 200)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Journey:
    """The journey of candidate n in a ledger."""

    ledger: LedgerClient
    n: int = 1

    @property
    def application(self) -> str:
        return f"applications/A{self.n}"

    @property
    def login(self) -> str:
        return f"candidate-{self.n}"

    def candidate(self, at: str | None = None) -> Caller:
        """The candidate themselves."""
        caller = self.ledger.backdated("candidate", self.login)
        return caller.at(at) if at else caller

    def staff(self, role: str, at: str, subject: str | None = None) -> Caller:
        """A member of staff who states when it occurred."""
        return self.ledger.backdated(role, subject).at(at)

    def register(self, at: str = OPENED_AT) -> dict[str, Any]:
        """The candidate registers themselves."""
        body = {
            "person_id": f"P{self.n}",
            "document_type": "resident_id",
            "document_number": document_of(self.n),
            "name": name_of(self.n),
        }
        return self.candidate(at).write("persons", body)

    def apply(self, at: str = OPENED_AT, since: str = "2021-01-01") -> dict[str, Any]:
        """They apply for level four with work since a day."""
        work = {"started_on": since, "ended_on": None, "relation": "own"}
        body = {
            "application_id": f"A{self.n}",
            "person_id": f"P{self.n}",
            "occupation": OCCUPATION,
            "edition": "2021",
            "level": 4,
            "qualifications": {"work_periods": [work]},
        }
        return self.candidate(at).write("applications", body)

    def payment(self, at: str = PAID_AT) -> dict[str, Any]:
        """Body of the payment that finance records."""
        return {
            "payment_id": f"PAY{self.n}",
            "provider": "wechat",
            "provider_transaction_id": f"4200{self.n:024d}",
            "merchant_order_no": f"ORDER{self.n}",
            "paid_at": at,
            "lines": [
                {"component": "certification_fee", "amount_fen": 30_000},
                {"component": "study_material", "amount_fen": 18_000},
            ],
        }

    def pay(self, at: str = PAID_AT) -> dict[str, Any]:
        """The whole fee arrives."""
        finance = self.staff("finance", at)
        return finance.write(f"{self.application}/payments", self.payment(at))

    def upload(self, kind: str, data: bytes, name: str, media_type: str, at: str) -> httpx.Response:
        """One document."""
        form = {"kind": kind} | ({"taken_on": at[:10]} if kind == "photo" else {})
        return self.candidate(at).send(
            f"{self.application}/documents", data=form, files={"file": (name, data, media_type)}
        )

    def hand_in(self, at: str = HANDED_IN_AT) -> None:
        """Submit identity proof, work history and photo, then send them into review."""
        photo_name = f"{name_of(self.n)}_{document_of(self.n)}.jpg"
        files = (
            ("identity_proof", scan(10 + self.n % 100), "id.png", "image/png"),
            ("work_history", scan(120 + self.n % 100), "work.png", "image/png"),
            ("photo", portrait(), photo_name, "image/jpeg"),
        )
        for kind, data, name, media_type in files:
            answer = self.upload(kind, data, name, media_type, at)
            assert answer.status_code in (201, 202), f"{kind}: {answer.status_code} {answer.text}"
        self.candidate(at).write(f"{self.application}/submission")

    def erase(self, at: str, reason: str = "request") -> dict[str, Any]:
        """Two persons erase the candidate's data. Returns: the second receipt."""
        person = f"persons/P{self.n}"
        proposed = self.staff("registrar", at).write(f"{person}/erasure", {"reason": reason})
        path = f"{person}/erasure/{proposed['outcome']['proposal']}/confirmation"
        seen = {"findings_sha256": proposed["outcome"]["findings_sha256"]}
        return self.staff("regulator", at).write(path, seen)

    def review(self, verdicts: str = "ppp", at: str = REVIEWED_AT) -> None:
        """The three reviews, in order; verdicts: p pass, r reject, one letter each."""
        for (stage, role), verdict in zip(STAGES, verdicts, strict=False):
            rejected = {"verdict": "reject", "reason": "不实"}
            body = {"verdict": "pass"} if verdict == "p" else rejected
            self.staff(role, at).write(f"{self.application}/reviews/{stage}", body)

    def enrol(self) -> Journey:
        """Everything up to 报考成功."""
        self.register()
        self.apply()
        self.pay()
        self.hand_in()
        self.review()
        return self


def schedule(ledger: LedgerClient, session: str = "S1") -> None:
    """An exam session on 2026-09-05."""
    body = {
        "session_id": session,
        "name": "2026年9月场",
        "occupation": OCCUPATION,
        "level": 4,
        "place": "杭州考点",
        "address": "杭州市西湖区示例路1号",
        "theory_starts_at": "2026-09-05T09:00:00+08:00",
        "practical_starts_at": "2026-09-05T13:00:00+08:00",
        "rooms": [{"room": "101", "seats": 30}],
    }
    ledger.backdated("certifier").at(SEATED_AT).write("sessions", body)


def seat(journey: Journey, session: str = "S1") -> str:
    """A seat for a candidate. Returns: the ticket number."""
    body = {"application_id": f"A{journey.n}"}
    made = journey.staff("certifier", SEATED_AT).write(f"sessions/{session}/seats", body)
    return str(made["outcome"]["ticket_number"])


def hold(ledger: LedgerClient, session: str = "S1") -> None:
    """The session takes place."""
    ledger.backdated("examiner").at(ENDED_AT).write(
        f"sessions/{session}/end", {"ended_at": ENDED_AT}
    )


def score(
    ledger: LedgerClient, marks: dict[str, tuple[str | None, str | None]], session: str = "S1"
) -> None:
    """Scores by ticket, recorded and verified by two persons."""
    rows = [
        {"ticket_number": ticket, "subject": subject, "marks": mark}
        for ticket, both in marks.items()
        for subject, mark in zip(("theory", "practical"), both, strict=True)
    ]
    examiner = ledger.backdated("examiner").at(SCORED_AT)
    answer_body = examiner.write(f"sessions/{session}/scores", {"rows": rows})
    assert answer_body["refused"] == 0, answer_body
    verified = [
        {"ticket_number": ticket, "theory": both[0], "practical": both[1]}
        for ticket, both in marks.items()
    ]
    verifier = ledger.backdated("score_verifier").at(SCORED_AT)
    answer_body = verifier.write(f"sessions/{session}/score-verification", {"rows": verified})
    assert answer_body["refused"] == 0, answer_body


def publish_and_close(ledger: LedgerClient, session: str = "S1", notice: str = "N1") -> None:
    """The notice is opened in time and closed after its period."""
    certifier = ledger.backdated("certifier")
    body = {"notice_id": notice, "session_id": session}
    certifier.at(PUBLISHED_AT).write("notices", body)
    certifier.at(CLOSED_AT).write(f"notices/{notice}/close")


def certify(journey: Journey) -> dict[str, Any]:
    """Allocate the numbers and issue both certificates. Returns: the numbers by kind."""
    registrar = journey.staff("registrar", ISSUED_AT)
    numbers = registrar.write(f"{journey.application}/certificates/numbers", {"year": 2026})
    registrar.write(f"{journey.application}/certificates/issue", {"issued_on": "2026-10-15"})
    return dict(numbers["outcome"])


def certified(ledger: LedgerClient, n: int = 1) -> tuple[Journey, dict[str, Any]]:
    """A candidate with both certificates, alone in session S1."""
    journey = Journey(ledger, n).enrol()
    schedule(ledger)
    ticket = seat(journey)
    hold(ledger)
    score(ledger, {ticket: ("78", "81.5")})
    publish_and_close(ledger)
    return journey, certify(journey)

"""What the independent model expects a command to record: topics, streams and what follows from it.

Written from the source document and the descriptions of the facts, like the model itself: each
method of `ModelWithFacts` named after a command lists its facts in order, with the fields that
depend on what happened before. Fields that the command itself names are left to the command.
"""

from __future__ import annotations

import pickle
from datetime import datetime
from typing import Any

from tests.support.model import (
    CLASSES,
    CLOSED,
    EXAMS,
    MATERIAL,
    NEEDED,
    SITE,
    day_of,
    month_after,
    passes,
    refuse,
)
from tests.support.model_results import KINDS, Journey

Expected = tuple[str, str, dict[str, Any]]
"""Topic without its version, stream, and some of the fields in JSON."""

STAFF_OF = {
    "register": "candidate agency", "propose_erasure": "registrar",
    "confirm_erasure": "registrar regulator", "open": "candidate agency",
    "join": "agency certifier", "refuse_registration": "agency certifier",
    "withdraw": "candidate agency", "pay": "finance", "use": "candidate agency",
    "hand_in": "candidate agency", "submit": "candidate agency",
    "review": "agency certifier province", "order_refund": "candidate agency finance",
    "approve_refund": "finance", "decline_refund": "finance", "refund_outcome": "finance",
    "schedule": "certifier", "seat": "agency certifier", "end_session": "certifier examiner",
    "score": "examiner", "verify": "score_verifier", "correct": "certifier examiner",
    "publish": "certifier registrar", "object": "candidate agency certifier",
    "resolve": "certifier score_verifier", "close_notice": "certifier registrar",
    "number": "registrar", "import_number": "registrar", "issue": "registrar",
    "change": "registrar", "report": "registrar", "answer": "province registrar",
    "see": "province registrar",
}  # fmt: skip
"""Whose work a command is, by role."""


def instant(moment: datetime) -> str:
    """A moment as facts write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class ModelWithFacts(Journey):
    """The model, with the facts that each command would record."""

    def __init__(self) -> None:
        super().__init__()
        self.used_now = False
        self.numbered_now: list[str] = []

    def is_admitted(self, kind: str, role: str) -> bool:
        """Whether the command is the work of this role."""
        return role in STAFF_OF[kind].split()

    def keep(self) -> bytes:
        """The whole state, for `go_back`."""
        return pickle.dumps(self.__dict__)

    def go_back(self, kept: bytes) -> None:
        """Return to a state that was kept."""
        self.__dict__ = pickle.loads(kept)

    def facts_of(self, kind: str, fields: dict[str, Any]) -> list[Expected]:
        """What the command that was just accepted records."""
        expected: list[Expected] = getattr(self, f"{kind}_facts")(**fields)
        return expected

    # --- what the model does not keep by itself ---------------------------------------------------

    def score(self, session: str, ticket: str, subject: str, marks: str | None) -> None:
        """As in the model; keeps whether an item was used by it."""
        app = self._app_of(session, ticket)
        before = set(self.apps[app]["used"]) if app else set()
        super().score(session, ticket, subject, marks)
        assert app is not None
        self.used_now = self.apps[app]["used"] != before

    def _app_of(self, session: str, ticket: str) -> str | None:
        taken = self.sessions[session]["taken"] if session in self.sessions else []
        return next((app for app in taken if self.apps[app]["ticket"] == ticket), None)

    def seat(self, app: str, session: str, ticket: str | None = None) -> None:
        """As in the model; a recorded seat may be any free one."""
        super().seat(app, session)
        if ticket is None:
            return
        s = self.sessions[session]
        others = {self.apps[x]["ticket"] for x in s["taken"] if x != app}
        free = {f"{session}-01-{n:03d}" for n in range(1, s["seats"] + 1)} - others
        refuse("seat_taken", ticket in free)
        self.apps[app]["ticket"] = ticket
        s["taken"].sort(key=lambda each: self.apps[each]["ticket"])

    # --- the facts of each command ----------------------------------------------------------------

    def register_facts(self, person: str, document: str, login: bool) -> list[Expected]:
        p = self.persons[person]
        fields, topic = {"subject": p["subject"]}, "person_registered"
        if p["holder"]:
            fields, topic = fields | {"held_by": p["holder"]}, "registration_contested"
        return [(topic, f"person-{person}", fields)]

    def join_facts(self, person: str) -> list[Expected]:
        p = self.persons[person]
        holder, subject = p["holder"], p["gave"]
        joined = ("registration_joined", f"person-{person}", {"joined_to": holder})
        assigned = ("login_assigned", f"person-{holder}", {"subject": subject})
        return [joined, assigned] if subject else [joined]

    def refuse_registration_facts(self, person: str) -> list[Expected]:
        return [("registration_rejected", f"person-{person}", {})]

    def propose_erasure_facts(self, person: str, proposal: str) -> list[Expected]:
        kept = self.persons[person]["proposal"][2]
        ends = [each for each in CLASSES if each not in {of for of, _ in kept}]
        fields = {"proposal": proposal, "ends": ends, "kept": self._in_order(kept)}
        return [("erasure_proposed", f"person-{person}", fields)]

    def confirm_erasure_facts(self, person: str, proposal: str) -> list[Expected]:
        kept = self._in_order(self.persons[person]["proposal"][2])
        return [("erasure_confirmed", f"person-{person}", {"proposal": proposal, "kept": kept})]

    def _in_order(self, kept: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
        return [
            {
                "data_class": of,
                "because": because,
                "until": until and str(until),
            }
            for of in CLASSES
            for because in NEEDED
            if (until := kept.get((of, because), "")) != ""
        ]

    def open_facts(self, app: str, person: str, level: int, eligible: bool) -> list[Expected]:
        answer = "eligibility_confirmed" if eligible else "eligibility_refused"
        opened = {"person_id": person, "level": level}
        day = {"person_id": person, "as_of": str(self.today)}
        return [self._of(app, "application_opened", **opened), self._of(app, answer, **day)]

    def withdraw_facts(self, app: str) -> list[Expected]:
        return [self._of(app, "application_withdrawn"), *self.entitled(app)]

    def entitled(self, app: str) -> list[Expected]:
        """2.4(1): what is owed back when an application fails."""
        a = self.apps[app]
        used = a["used"] & set(MATERIAL)
        lines = [
            {"payment_id": payment, "component": component, "amount_fen": line["fen"]}
            for (payment, component), line in a["paid"].items()
            if not line["excess"] and line["fen"] and not (component == "study_material" and used)
        ]
        return [self._of(app, "refund_entitled", lines=lines)] if lines else []

    def pay_facts(
        self, app: str, payment: str, txn: str, lines: list[tuple[str, int]]
    ) -> list[Expected]:
        a = self.apps[app]
        given = [{"component": component, "amount_fen": fen} for component, fen in lines]
        fields = {"payment_id": payment, "provider_transaction_id": txn, "lines": given}
        if not a["paid"][payment, lines[0][0]]["excess"]:
            return [self._of(app, "fee_paid", **fields)]
        reason = "application_closed" if a["status"] in CLOSED else "component_already_paid"
        return [self._of(app, "excess_payment_received", **fields, reason=reason)]

    def use_facts(self, app: str, item: str) -> list[Expected]:
        return [self._used(app, "study_material", item)]

    def hand_in_facts(self, app: str, kind: str, file: str) -> list[Expected]:
        return [self._of(app, "document_submitted", kind=kind)]

    def submit_facts(self, app: str) -> list[Expected]:
        a = self.apps[app]
        return [self._of(app, "documents_submitted", round=a["round"], kinds=sorted(a["files"]))]

    def review_facts(
        self, app: str, stage: str, verdict: str, round: int, missing: list[str]
    ) -> list[Expected]:
        said = {"pass": "passed", "return": "returned", "reject": "rejected"}[verdict]
        failed = self.entitled(app) if verdict == "reject" else []
        return [self._of(app, f"{stage}_review_{said}", round=round), *failed]

    def order_refund_facts(self, app: str, payment: str, component: str) -> list[Expected]:
        a = self.apps[app]
        line = a["paid"][payment, component]
        which = {"payment_id": payment, "component": component}
        if not line["excess"]:
            if a["status"] == "enrolled":
                return [self._of(app, "refund_refused", **which, clause="2.4(2)")]
            if component == "study_material" and a["used"] & set(MATERIAL):
                return [self._of(app, "refund_refused", **which, clause="2.4(1)")]
        count = sum(r["payment"] == payment for r in a["refunds"].values())
        clause = "excess" if line["excess"] else "2.4(1)"
        ordered = {"refund_no": f"R{payment}-{count}", "amount_fen": line["fen"], "clause": clause}
        return [self._of(app, "refund_ordered", **which, **ordered)]

    def approve_refund_facts(self, app: str, refund: str) -> list[Expected]:
        return [self._of(app, "refund_approved", refund_no=refund)]

    def decline_refund_facts(self, app: str, refund: str) -> list[Expected]:
        return [self._of(app, "refund_declined", refund_no=refund)]

    def refund_outcome_facts(
        self, app: str, refund: str, outcome: str, no: str, channel: str
    ) -> list[Expected]:
        named = {"provider_refund_id": no} if outcome in ("accepted", "settled") else {}
        return [self._of(app, f"refund_{outcome}", refund_no=refund, **named)]

    def schedule_facts(self, session: str, starts: datetime, seats: int) -> list[Expected]:
        rooms = [{"room": "101", "seats": seats}]
        fields = {"theory_starts_at": instant(starts), "rooms": rooms, "subject_minutes": 90}
        return [("exam_session_scheduled", f"session-{session}", fields)]

    def seat_facts(self, app: str, session: str, ticket: str | None = None) -> list[Expected]:
        taken = {"session_id": session, "ticket_number": self.apps[app]["ticket"]}
        assigned = ("seat_assigned", f"session-{session}", {**self._whose(app), **taken})
        return [assigned, self._of(app, "admission_ticket_issued", **taken)]

    def end_session_facts(self, session: str) -> list[Expected]:
        fields = {"ended_at": instant(self.sessions[session]["ended"])}
        return [("exam_session_held", f"session-{session}", fields)]

    def score_facts(
        self, session: str, ticket: str, subject: str, marks: str | None
    ) -> list[Expected]:
        app = self._app_of(session, ticket)
        assert app is not None
        recorded = self._of(app, f"{subject}_score_recorded", session_id=session, marks=marks)
        if not self.used_now:
            return [recorded]
        at = instant(self.sessions[session]["ended"])
        return [recorded, self._used(app, "certification_fee", EXAMS[subject], used_at=at)]

    def verify_facts(self, app: str, theory: str | None, practical: str | None) -> list[Expected]:
        passed = passes(theory) and passes(practical)
        marks = {"theory": theory, "practical": practical}
        return [self._of(app, "scores_verified", **marks, passed=passed)]

    def correct_facts(
        self, app: str, subject: str, marks: str | None, objection: str | None
    ) -> list[Expected]:
        fields = {"subject": subject, "marks": marks, "objection_id": objection}
        return [self._of(app, "score_corrected", **fields)]

    def publish_facts(self, notice: str, session: str, reason: str | None) -> list[Expected]:
        n = self.notices[notice]
        rows = [self.apps[app] for app in n["rows"]]
        first = len(rows[0]["notices"]) == 1
        deadline = month_after(day_of(self.sessions[session]["ended"]))
        opened = {
            "session_id": session, "kind": "main" if first else "supplementary",
            "published_on": str(self.today), "ends_on": str(n["ends"]),
            "ends_on_is_provisional": n["provisional"], "deadline_on": str(deadline),
            "late_reason": reason if first and self.today > deadline else None,
            "application_ids": [a["id"] for a in rows],
        }  # fmt: skip
        return [
            ("public_notice_opened", f"notice-{notice}", opened),
            *(self.published(a, notice) for a in rows),
        ]

    def published(self, a: dict[str, Any], notice: str) -> Expected:
        """The row of one candidate."""
        passed = passes(a["marks"]["theory"]) and passes(a["marks"]["practical"])
        whose = {"person_id": a["person"], "ticket_number": a["ticket"]}
        row = {"notice_id": notice, **whose, **a["marks"], "passed": passed}
        return self._of(a["id"], "result_published", **row)

    def object_facts(
        self, notice: str, app: str, objection: str, person: str, named: bool = False
    ) -> list[Expected]:
        fields = {"objection_id": objection, **self._whose(app), "objector_id": person}
        filed = ("objection_filed", f"notice-{notice}", fields)
        who: Expected = ("objector_named", f"person-{person}", {"person_id": person})
        return [filed, who] if named else [filed]

    def resolve_facts(self, notice: str, objection: str, outcome: str) -> list[Expected]:
        app, _ = self.notices[notice]["objections"][objection]
        settled = {"objection_id": objection, **self._whose(app)}
        return [(f"objection_{outcome}", f"notice-{notice}", settled)]

    def close_notice_facts(self, notice: str) -> list[Expected]:
        n = self.notices[notice]
        withheld = [app for app in n["rows"] if app in n["withheld"]]
        fields = {"final_count": len(n["rows"]) - len(withheld), "withheld": withheld}
        return [("public_notice_closed", f"notice-{notice}", fields)]

    def number_facts(self, app: str) -> list[Expected]:
        return self.numbered(app, dict.fromkeys(KINDS, "allocated"))

    def import_number_facts(self, app: str, year: int, serial: int, site: str) -> list[Expected]:
        return self.numbered(app, {"national": "imported", "omc": "allocated"})

    def numbered(self, app: str, sources: dict[str, str]) -> list[Expected]:
        """The numbers that this command took."""
        a = self.apps[app]
        facts: list[Expected] = []
        for kind in self.numbered_now:
            number = a["certs"][kind]
            n = self.numbers[number]
            fields = {"kind": kind, "number": number, "source": sources[kind]}
            series = f"{kind}-{n['year']}-{a['level']}"
            facts.append(("serial_taken", f"series-{series}", {**fields, **self._whose(app)}))
            facts.append(self._of(app, "certificate_numbered", **fields))
        return facts

    def take(self, a: dict[str, Any], kind: str, year: int, source: str, serial: int = 0) -> None:
        """As in the model; keeps the kinds of the last command."""
        super().take(a, kind, year, source, serial)
        self.numbered_now.append(kind)

    def number(self, app: str) -> None:
        """As in the model."""
        self.numbered_now = []
        super().number(app)

    def import_number(self, app: str, year: int, serial: int, site: str = SITE) -> None:
        """As in the model."""
        self.numbered_now = []
        super().import_number(app, year, serial, site)

    def issue(self, app: str) -> None:
        """As in the model; keeps which were issued."""
        before = {n: state["version"] for n, state in self.numbers.items()}
        super().issue(app)
        for number, state in self.numbers.items():
            state["issued_now"] = before[number] == 0 and state["version"] == 1

    def issue_facts(self, app: str) -> list[Expected]:
        facts = []
        for kind, number in self.apps[app]["certs"].items():
            if self.numbers[number]["issued_now"]:
                fields = {"kind": kind, "number": number, "version": 1}
                facts.append(
                    self._of(app, "certificate_issued", **fields, issued_on=str(self.today))
                )
        return facts

    def change_facts(
        self, app: str, kind: str, what: str, because: str | None = None
    ) -> list[Expected]:
        number = self.apps[app]["certs"][kind]
        said = {"correct": "corrected", "reissue": "reissued", "suspend": "suspended",
                "reinstate": "reinstated", "revoke": "revoked"}[what]  # fmt: skip
        version = self.numbers[number]["version"]
        fields: dict[str, Any] = {"kind": kind, "number": number, "version": version}
        if what == "reissue":
            fields["reissued_on"] = str(self.today)
        if what == "revoke":
            fields["reason_class"] = because
        return [self._of(app, f"certificate_{said}", **fields)]

    def report_facts(self, report: str, apps: list[str]) -> list[Expected]:
        rows = [{"application_id": x, "number": self.apps[x]["certs"]["national"]} for x in apps]
        reported = [
            self._of(
                row["application_id"],
                "certificate_reported",
                number=row["number"],
                report_id=report,
                kind="national",
            )
            for row in rows
        ]
        return [("report_frozen", f"report-{report}", {"rows": rows}), *reported]

    def answer_facts(
        self, report: str, number: str, accepted: bool, reason: str | None
    ) -> list[Expected]:
        said = "accepted" if accepted else "rejected"
        app = self.reports[report][number]
        return [self._of(app, f"certificate_{said}", number=number, report_id=report)]

    def see_facts(self, app: str, scope: str) -> list[Expected]:
        number = self.apps[app]["certs"]["national"]
        fields = {"number": number, "scope": scope, "seen_on": str(self.today)}
        return [self._of(app, "certificate_visible", **fields)]

    def _of(self, app: str, topic: str, **fields: Any) -> Expected:
        """A fact of an application."""
        return topic, f"application-{app}", {**self._whose(app), **fields}

    def _whose(self, app: str) -> dict[str, Any]:
        """The application and the applicant, which each of its facts names."""
        return {"application_id": app, "person_id": self.apps[app]["person"]}

    def _used(self, app: str, component: str, item: str, **fields: Any) -> Expected:
        """The use of an item, which names the payment of its component."""
        paid = self.apps[app]["paid"].items()
        [payment] = [p for (p, part), line in paid if part == component and not line["excess"]]
        named = {"payment_id": payment, "component": component, "item": item}
        return self._of(app, "fee_item_used", **named, **fields)

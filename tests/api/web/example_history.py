"""A small example history: certificates in every state, a notice that runs, refunds.

Everything is recorded over HTTP as its people would. Candidate 1 has two valid certificates, 2 a
revoked one, 3 a suspended one, 4 a reissued one, all published in notice N1, which is closed.
Candidates 5, 6 and 7 are in notice N2, which runs now: passed, absent, under objection.
Candidate 8 was rejected and got the certification fee back; 9 was rejected, nothing is ordered yet.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.commands import document_of, name_of
from tests.support.http_journey import (
    CLOSED_AT,
    PUBLISHED_AT,
    REVIEWED_AT,
    Journey,
    certify,
    hold,
    schedule,
    score,
    seat,
)
from tests.support.service import LedgerClient, new_ledger, token

REFUNDED_AT = "2026-03-05T09:00:00+08:00"
CHANGED_AT = "2026-10-20T09:00:00+08:00"
EVIL_ORDER = "=HYPERLINK(1)"


@dataclass
class History:
    """The service with its history.

    numbers: candidate -> kind -> number. links: candidate -> the secret parts of the links of the
    national certificate, version by version.
    """

    url: str
    ledger: LedgerClient
    other: LedgerClient
    numbers: dict[int, dict[str, str]] = field(default_factory=dict)
    links: dict[int, list[str]] = field(default_factory=dict)

    @property
    def ledger_name(self) -> str:
        return self.ledger.name

    def name(self, n: int) -> str:
        """What candidate n is called."""
        return name_of(n)

    def document(self, n: int) -> str:
        """Candidate n's citizen number."""
        return document_of(n)

    def token(self, role: str = "finance", **given: Any) -> str:
        """A bearer token good for the first ledger."""
        return token(role, ledgers=[self.ledger_name], **given)


def record_history(url: str, client: httpx.Client) -> History:
    """Record the history and wait until every view knows it."""
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    other = new_ledger(client, "2026-03-01T08:00:00+08:00")
    history = History(url, ledger, other)
    _certificates(history)
    _running_notice(history)
    _refunds(history)
    _wait_for_views(client)
    history.links[4].append(_link(history, 4))
    return history


def _sitting(
    ledger: LedgerClient, session: str, marks: dict[int, tuple[str | None, str | None]]
) -> None:
    """Enrolled candidates sit an exam and get these marks."""
    schedule(ledger, session)
    tickets = {}
    for n, both in marks.items():
        tickets[seat(Journey(ledger, n).enrol(), session)] = both
    hold(ledger, session)
    score(ledger, tickets, session)


def _certificates(history: History) -> None:
    ledger = history.ledger
    _sitting(ledger, "S1", dict.fromkeys((1, 2, 3, 4), ("78", "81.5")))
    certifier = ledger.backdated("certifier")
    certifier.at(PUBLISHED_AT).write("notices", {"notice_id": "N1", "session_id": "S1"})
    certifier.at(CLOSED_AT).write("notices/N1/close")
    for n in (1, 2, 3, 4):
        history.numbers[n] = certify(Journey(ledger, n))
    _wait_for_views(ledger.client)
    for n in (1, 2, 3, 4):
        history.links[n] = [_link(history, n)]
    registrar = ledger.backdated("registrar").at(CHANGED_AT)
    changes = {
        2: ("revocation", {"reason_class": "exam_fraud", "reason": "替考,2号考场"}),
        3: ("suspension", {"reason": "举报核查中"}),
        4: ("reissue", {"reason": "遗失补发"}),
    }
    for n, (change, body) in changes.items():
        registrar.write(f"applications/A{n}/certificates/national/{change}", body)
    registrar.write("reports", {"report_id": "R1", "batch_type": "new", "application_ids": ["A1"]})


def _link(history: History, n: int) -> str:
    """The secret part of the present link of candidate n's national certificate."""
    certificates = history.ledger.caller("registrar").read(f"applications/A{n}/certificates")[
        "data"
    ]
    return next(str(c["link"]).rpartition("/")[2] for c in certificates if c["kind"] == "national")


def _running_notice(history: History) -> None:
    ledger = history.ledger
    _sitting(ledger, "S2", {5: ("90", "60"), 6: ("72", None), 7: ("59.5", "88")})
    body = {"notice_id": "N2", "session_id": "S2", "late_reason": "考场停电,阅卷延期"}
    ledger.caller("certifier").write("notices", body)
    objection = {"application_id": "A7", "objector_id": "P7", "text": "理论第三题漏判"}
    ledger.caller("candidate", "candidate-7").write("notices/N2/objections", objection)


def _refunds(history: History) -> None:
    ledger = history.ledger
    for n, order in ((8, "ORDER8"), (9, EVIL_ORDER)):
        journey = Journey(ledger, n)
        journey.register()
        journey.apply()
        finance = journey.staff("finance", "2026-03-02T09:00:00+08:00")
        finance.write(
            f"{journey.application}/payments", journey.payment() | {"merchant_order_no": order}
        )
        journey.hand_in()
        journey.review("r")
    finance = ledger.backdated("finance").at(REFUNDED_AT)
    asked = {"payment_id": "PAY8", "component": "certification_fee"}
    made = finance.write("applications/A8/refunds", asked)
    refund = f"applications/A8/refunds/{made['outcome']['refund_no']}"
    ledger.backdated("finance", "finance-2").at(REFUNDED_AT).write(f"{refund}/approval")
    reference = {"provider_refund_id": "50300000000000000000000001"}
    finance.write(f"{refund}/outcome", {"outcome": "accepted"} | reference)
    arrived = {"channel": "original", "settled_at": REFUNDED_AT}
    finance.write(f"{refund}/outcome", {"outcome": "settled"} | reference | arrived)
    assert REVIEWED_AT < REFUNDED_AT


def _wait_for_views(client: httpx.Client) -> None:
    """Until no view is behind, as seen after this call. Fails after 30 seconds."""
    began = time.monotonic()
    while time.monotonic() < began + 30:
        health = client.get("/health").json()
        seen_before = health["seen_s_ago"] is None or (
            time.monotonic() - health["seen_s_ago"] < began + 0.1
        )
        known = {view["ledger"] for view in health["views"]}
        if not seen_before and len(known) >= 2 and all(v["lag"] == 0 for v in health["views"]):
            return
        time.sleep(0.2)
    raise AssertionError("the views did not catch up")

"""The views counted again from the facts alone, sharing no code with the folds.

Plain and slow on purpose: one pass over the facts for each question, no state carried in tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

from domain import events as e
from domain.events import Component
from domain.values.sealed_fields import DataClass


class WorldEntry(Protocol):
    """An entry of a journal, or one that was never written to any."""

    @property
    def fact(self) -> Any: ...


Entries = Sequence[WorldEntry]
"""The whole journal of a ledger, in order."""

Line = tuple[str, str]
"""(payment id, component)"""


def of(entries: Entries, *kinds: type[e.Fact]) -> list[Any]:
    """Facts of some kinds, in order."""
    return [x.fact for x in entries if isinstance(x.fact, kinds)]


def refund_amounts(entries: Entries) -> dict[Line, dict[str, int]]:
    """Per component of a payment: paid, entitled, settled, and what is on its way."""
    amounts: dict[Line, dict[str, int]] = {}
    for paid in of(entries, e.FeePaid, e.ExcessPaymentReceived):
        excess = isinstance(paid, e.ExcessPaymentReceived)
        for line in paid.lines:
            amounts[paid.payment_id, line.component.value] = {
                "paid_fen": line.amount_fen,
                "entitled_fen": line.amount_fen if excess else 0,
                "ordered_fen": 0,
                "settled_fen": 0,
            }
    for owed in of(entries, e.RefundEntitled):
        for line in owed.lines:
            amounts[line.payment_id, line.component.value]["entitled_fen"] += line.amount_fen
    ended = {f.refund_no for f in of(entries, e.RefundDeclined, e.RefundClosed)}
    settled = {f.refund_no for f in of(entries, e.RefundSettled)}
    for refund in of(entries, e.RefundOrdered):
        line = amounts[refund.payment_id, refund.component.value]
        line["ordered_fen"] += 0 if refund.refund_no in ended else refund.amount_fen
        line["settled_fen"] += refund.amount_fen if refund.refund_no in settled else 0
    return amounts


def balances(entries: Entries) -> dict[str, int]:
    """Account -> debit minus credit, fen, worked out from what became of each component."""
    found: dict[str, int] = defaultdict(int)
    providers = {"wechat": "1012.01", "alipay": "1012.02", "bank": "1012.03"}
    enrolled = {f.application_id for f in of(entries, e.FinalReviewPassed)}
    published = {f.application_id for f in of(entries, e.ResultPublished)}
    used = {f.application_id for f in of(entries, e.FeeItemUsed)
            if f.component is Component.STUDY_MATERIAL}  # fmt: skip
    owed = refund_amounts(entries)
    suffix = {"certification_fee": ".01", "study_material": ".02"}
    for paid in of(entries, e.FeePaid, e.ExcessPaymentReceived):
        excess = isinstance(paid, e.ExcessPaymentReceived)
        for line in paid.lines:
            component = line.component.value
            found[providers[paid.provider] + ".1"] += line.amount_fen
            material = line.component is Component.STUDY_MATERIAL
            if excess or owed[paid.payment_id, component]["entitled_fen"]:
                account = "2241.01"
            elif material and paid.application_id in used:
                account = "6001.02"
            elif not material and paid.application_id in published:
                account = "6001.01"
            elif paid.application_id in enrolled:
                account = "2205" + suffix[component]
            else:
                account = "2203" + suffix[component]
            found[account] -= line.amount_fen
    _refunds(entries, found, providers)
    return {account: fen for account, fen in found.items() if fen}


def _refunds(entries: Entries, found: dict[str, int], providers: dict[str, str]) -> None:
    ordered = {f.refund_no: f for f in of(entries, e.RefundOrdered)}
    closed = {f.refund_no for f in of(entries, e.RefundClosed)}
    settled = {f.refund_no for f in of(entries, e.RefundSettled)}
    for accepted in of(entries, e.RefundAccepted):
        refund = ordered[accepted.refund_no]
        fen, provider = refund.amount_fen, providers[refund.provider]
        if accepted.refund_no in closed:
            continue
        found[f"{provider}.1"] -= fen
        found["2241.01" if accepted.refund_no in settled else f"{provider}.3"] += fen


def board(entries: Entries) -> dict[tuple[str, str], dict[str, Any]]:
    """(notice, application) -> the final state of its row."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for published in of(entries, e.ResultPublished):
        marks = {name: None if (m := getattr(published, name)) is None else str(m)
                 for name in ("theory", "practical")}  # fmt: skip
        key = published.notice_id, published.application_id
        rows[key] = {**marks, "passed": published.passed}
    upheld = {(f.notice_id, f.application_id) for f in of(entries, e.ObjectionUpheld)}
    settled = {f.objection_id for f in of(entries, e.ObjectionUpheld, e.ObjectionDismissed)}
    under_objection = {(f.notice_id, f.application_id) for f in of(entries, e.ObjectionFiled)
            if f.objection_id not in settled}  # fmt: skip
    closed = {f.notice_id: set(f.withheld) for f in of(entries, e.PublicNoticeClosed)}
    for key, row in rows.items():
        notice_id, application_id = key
        if notice_id in closed:
            row["state"] = "withheld" if application_id in closed[notice_id] else "final"
        elif key in upheld:
            row["state"] = "withheld"
        else:
            row["state"] = "under_objection" if key in under_objection else "published"
    return rows


def certificates(entries: Entries) -> dict[tuple[str, str], dict[str, Any]]:
    """(kind, number) -> standing, version and how far it is, by its last facts."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    progress = {
        e.CertificateNumbered: "numbered",
        e.CertificateIssued: "issued",
        e.CertificateCorrected: "issued",
        e.CertificateReported: "reported",
        e.CertificateAccepted: "accepted",
        e.CertificateRejected: "rejected",
        e.CertificateVisible: "visible",
    }
    standing = {
        e.CertificateSuspended: "suspended",
        e.CertificateReinstated: "valid",
        e.CertificateRevoked: "revoked",
    }
    for fact in of(entries, *progress, *standing, e.CertificateReissued):
        row = found.setdefault(
            (fact.kind.value, fact.number),
            {"standing": "valid", "version": 0, "progress": "", "application_id": ""},
        )
        row["application_id"] = fact.application_id
        row["progress"] = progress.get(type(fact), row["progress"])
        row["standing"] = standing.get(type(fact), row["standing"])
        row["version"] = getattr(fact, "version", row["version"])
    return found


def erased(entries: Entries) -> set[str]:
    """Persons whose names are gone."""
    facts = (f for kind in e.ERASURE for f in of(entries, kind))
    return {f.person_id for f in facts if DataClass.IDENTITY in f.destroyed}

"""The refund ledger: payments, refund liabilities, refunds, and their double entries.

`refund_lines` has a row for each component of a payment, `refunds` one for each refund number,
`refund_steps` one for each step of either, `postings` the lines of vouchers. A posting is never
changed: an error is reversed by a new entry.

Invariants, checked by `invariants` and by a test against a plain recount of the journal:
every entry sums to zero; per line settled <= accepted <= approved <= ordered <= paid; 应付退款 is
what is entitled and not settled; 退款中间户 is what is accepted and not settled; and what was
captured = advance + contract + revenue and tax + refund payable + refunded.
The queries are in queries.py. Source: source-document 2.1-2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from operator import itemgetter
from typing import Any

from domain import events as e
from projections.engine.rows import RowBuffer
from projections.engine.tables import Row
from projections.engine.view import Entry, Handles, View, topics
from projections.refund_ledger import posting_rules as rules
from projections.refund_ledger.posting_rules import Leg, Part
from projections.refund_ledger.tables import COUNTERS, LINES, POSTINGS, RATES, REFUNDS, STEPS
from projections.refund_ledger.voucher_rows import day, part, post

# --- lines --------------------------------------------------------------------------------------


def _change(rows: RowBuffer, entry: Entry, line: Row, **changes: Any) -> None:
    stamp = {"position": entry.position, "changed_at": entry.recorded_at}
    rows.upsert(LINES, {**line, **changes, **stamp})


def _lines(rows: RowBuffer, entry: Entry, component: str | None = None) -> list[Row]:
    """Lines of the application, without excess payments, or of one component of it.

    In order of their key, which becomes the order of the voucher's lines.
    """
    found = rows.group(LINES, entry.data["application_id"])
    lines = [x for x in found if x["excess"] is None and component in (None, x["component"])]
    return sorted(lines, key=_line_key) if len(lines) > 1 else lines


_line_key = itemgetter("payment_id", "component")


def _step(rows: RowBuffer, entry: Entry, step: str, line: Row, fen: int, **more: Any) -> None:
    rows.add(
        STEPS,
        {
            "refund_no": None,
            "provider_refund_id": None,
            "channel": None,
            "clause": None,
            "reason": None,
            "received_account": None,
            **more,
            "position": entry.position,
            "payment_id": line["payment_id"],
            "component": line["component"],
            "application_id": line["application_id"],
            "step": step,
            "amount_fen": fen,
            "subject": entry.actor["subject"],
            "role": entry.actor["role"],
            "occurred_at": entry.occurred_at,
            "recorded_at": entry.recorded_at,
        },
    )


def _received(rows: RowBuffer, entry: Entry) -> None:
    """FeePaid and ExcessPaymentReceived."""
    data = entry.data
    excess = data.get("reason")
    parts = []
    for paid in data["lines"]:
        fen = paid["amount_fen"]
        line = {
            "application_id": data["application_id"],
            "payment_id": data["payment_id"],
            "component": paid["component"],
            "provider": data["provider"],
            "channel_id": data["channel_id"],
            "provider_transaction_id": data["provider_transaction_id"],
            "merchant_order_no": data["merchant_order_no"],
            "paid_at": data["paid_at"],
            "paid_fen": fen,
            "excess": excess,
            "used_items": [],
            "first_used_at": None,
            "booked": "payable" if excess else "advance",
            "entitled_fen": fen if excess else 0,
            "ordered_fen": 0,
            "approved_fen": 0,
            "accepted_fen": 0,
            "settled_fen": 0,
            "refused": None,
            "refused_clause": None,
            "state": "entitled" if excess else "paid",
            "refund_no": None,
            "provider_refund_id": None,
            "position": entry.position,
            "changed_at": entry.recorded_at,
        }
        rows.upsert(LINES, line)
        parts.append(part(line))
        if excess:
            _step(rows, entry, "entitled", line, fen, clause="excess", reason=excess)
    if excess:
        post(rows, entry, rules.EXCESS_RECEIVED, rules.excess_received(parts), data["paid_at"])
    else:
        post(rows, entry, rules.FEE_PAID, rules.fee_paid(parts), data["paid_at"])


def _used(rows: RowBuffer, entry: Entry) -> None:
    """The first use of study material ends its refund and recognises its price. Source: 2.4(1)."""
    data = entry.data
    line = _line(rows, entry, data)
    changes: dict[str, Any] = {
        "used_items": [*line["used_items"], data["item"]],
        "first_used_at": line["first_used_at"] or data["used_at"],
    }
    if line["booked"] != "income" and data["component"] == e.Component.STUDY_MATERIAL:
        changes["booked"] = "income"
        if line["state"] == "paid":
            changes["state"] = "used"
        legs = rules.earned(
            part(line),
            day(data["used_at"]),
            from_contract=line["booked"] == "contract",
            rates=_rates(rows, line["component"]),
        )
        post(rows, entry, rules.MATERIAL_USED, legs, data["used_at"])
    _change(rows, entry, line, **changes)


def _enrolled(rows: RowBuffer, entry: Entry) -> None:
    """报考成功: advances become contract liabilities. Source: 2.4(2), 2.4(3)."""
    parts = []
    for line in _lines(rows, entry):
        changes = {"state": "enrolled"}
        if line["booked"] == "advance":
            parts.append(part(line))
            changes["booked"] = "contract"
        _change(rows, entry, line, **changes)
    post(rows, entry, rules.ENROLLED, rules.enrolled(parts))


def _performed(rows: RowBuffer, entry: Entry) -> None:
    """The result is published, attended or not: the certification fee becomes revenue.

    Only the first publication finds a contract liability; a corrected result posts nothing.
    """
    legs: list[Leg] = []
    for line in _lines(rows, entry, e.Component.CERTIFICATION_FEE):
        if line["booked"] == "contract":
            rates = _rates(rows, line["component"])
            on = day(entry.occurred_at)
            legs += rules.earned(part(line), on, from_contract=True, rates=rates)
            _change(rows, entry, line, booked="income")
    post(rows, entry, rules.CONTRACT_PERFORMED, legs)


def _entitled(rows: RowBuffer, entry: Entry) -> None:
    """The application failed; used study material is not among the lines. Source: 2.4(1)."""
    parts = []
    for owed in entry.data["lines"]:
        line = _line(rows, entry, owed)
        fen = owed["amount_fen"]
        parts.append(part(line, fen))
        _change(
            rows,
            entry,
            line,
            entitled_fen=line["entitled_fen"] + fen,
            booked="payable",
            state="entitled",
        )
        _step(rows, entry, "entitled", line, fen, clause=entry.data["clause"])
    post(rows, entry, rules.REFUND_ENTITLED, rules.refund_entitled(parts))


def _refused(rows: RowBuffer, entry: Entry) -> None:
    """A requested refund that a rule refuses. Source: 2.4(1), 2.4(2)."""
    data = entry.data
    line = _line(rows, entry, data)
    changes = {"refused": data["refusal"], "refused_clause": data["clause"], "state": "refused"}
    _change(rows, entry, line, **changes)
    _step(rows, entry, "refused", line, 0, clause=data["clause"], reason=data["refusal"])


def _line(rows: RowBuffer, entry: Entry, named: Row) -> Row:
    return rows.require(
        LINES, entry.data["application_id"], named["payment_id"], named["component"]
    )


# --- editions of posting ------------------------------------------------------------------------


def _adopted(rows: RowBuffer, entry: Entry) -> None:
    """Rates that were adopted rule what is posted for later facts, on their days."""
    data = entry.data
    if data["kind"] != "posting":
        return
    for component, rate in data["content"]["vat_rate_bp"].items():
        rows.upsert(
            RATES,
            {
                "component": component,
                "edition": data["edition"],
                "valid_from": data["valid_from"],
                "vat_rate_bp": rate,
                "position": entry.position,
            },
        )


def _copied(rows: RowBuffer, entry: Entry) -> None:
    """A copy of what the ledger `service` adopted rules alike, unless something is in its way."""
    if entry.data["in_the_way"] is None:
        _adopted(rows, entry)


def _rates(rows: RowBuffer, component: str) -> rules.Rates:
    """The rates of a component so far, in the order in which `vat_fen` reads them.

    Of two with the same first day the one adopted later comes last, and holds.
    """
    adopted = sorted(rows.group(RATES, component), key=_rate_key)
    days = [(date.fromisoformat(row["valid_from"]), row["vat_rate_bp"]) for row in adopted]
    return (*rules.VAT_RATES, *days)


_rate_key = itemgetter("valid_from", "position")


# --- refunds ------------------------------------------------------------------------------------


def _ordered(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    line = _line(rows, entry, data)
    refund = {
        "application_id": data["application_id"],
        "refund_no": data["refund_no"],
        "payment_id": data["payment_id"],
        "component": data["component"],
        "amount_fen": data["amount_fen"],
        "provider": data["provider"],
        "channel_id": data["channel_id"],
        "provider_transaction_id": data["provider_transaction_id"],
        "merchant_order_no": line["merchant_order_no"],
        "clause": data["clause"],
        "provider_refund_id": None,
        "channel": None,
        "ordered_by": entry.actor["subject"],
        "approved_by": None,
        "ordered_at": entry.occurred_at,
        "accepted_at": None,
        "settled_at": None,
        "reason": None,
    }
    _move(rows, entry, refund, "ordered", ("ordered_fen",), 1)


def _move(
    rows: RowBuffer,
    entry: Entry,
    refund: Row,
    state: str,
    amounts: Iterable[str] = (),
    sign: int = 0,
    **changes: Any,
) -> Row:
    """Write the refund's next state, the amounts of its line, and the step."""
    line = rows.require(LINES, refund["application_id"], refund["payment_id"], refund["component"])
    fen = refund["amount_fen"]
    moved = {
        **refund,
        **changes,
        "state": state,
        "position": entry.position,
        "changed_at": entry.recorded_at,
    }
    rows.upsert(REFUNDS, moved)
    _change(
        rows,
        entry,
        line,
        state=state,
        refund_no=refund["refund_no"],
        provider_refund_id=moved["provider_refund_id"],
        **{name: line[name] + sign * fen for name in amounts},
    )
    shown = ("provider_refund_id", "channel", "reason")
    details = {name: changes[name] for name in shown if name in changes}
    if "received_account" in entry.data:
        details["received_account"] = entry.sealed("received_account")
    _step(rows, entry, state, line, fen, refund_no=refund["refund_no"], **details)
    return moved


def _refund(rows: RowBuffer, entry: Entry) -> Row:
    return rows.require(REFUNDS, entry.data["application_id"], entry.data["refund_no"])


def _refund_part(refund: Row) -> Part:
    return part({**refund, "paid_fen": refund["amount_fen"]})


def _approved(rows: RowBuffer, entry: Entry) -> None:
    by = entry.actor["subject"]
    _move(rows, entry, _refund(rows, entry), "approved", ("approved_fen",), 1, approved_by=by)


def _declined(rows: RowBuffer, entry: Entry) -> None:
    """The amount can be ordered again; nothing was posted for it."""
    reason = entry.sealed("reason")
    _move(rows, entry, _refund(rows, entry), "declined", ("ordered_fen",), -1, reason=reason)


def _accepted(rows: RowBuffer, entry: Entry) -> None:
    accepted_at = entry.data["accepted_at"] or entry.occurred_at
    refund = _move(
        rows,
        entry,
        _refund(rows, entry),
        "accepted",
        ("accepted_fen",),
        1,
        provider_refund_id=entry.data["provider_refund_id"],
        accepted_at=accepted_at,
    )
    legs = rules.refund_accepted(_refund_part(refund), refund["refund_no"])
    post(rows, entry, rules.REFUND_ACCEPTED, legs, accepted_at)


def _settled(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    refund = _move(
        rows,
        entry,
        _refund(rows, entry),
        "settled",
        ("settled_fen",),
        1,
        provider_refund_id=data["provider_refund_id"],
        channel=data["channel"],
        settled_at=data["settled_at"],
    )
    named = _refund_part(refund), refund["refund_no"]
    if data["channel"] == "bank_transfer" and refund["provider"] != e.Provider.BANK:
        legs = rules.refund_settled_off_path(*named)
        post(rows, entry, rules.REFUND_SETTLED_OFF_PATH, legs, data["settled_at"])
    else:
        legs = rules.refund_settled(*named)
        post(rows, entry, rules.REFUND_SETTLED, legs, data["settled_at"])


def _closed(rows: RowBuffer, entry: Entry) -> None:
    """A new entry reverses the acceptance, if there was one; the liability stays open."""
    refund = _refund(rows, entry)
    accepted = refund["accepted_at"] is not None
    amounts = ("ordered_fen", "approved_fen", *(("accepted_fen",) if accepted else ()))
    _move(rows, entry, refund, "closed", amounts, -1, reason=entry.sealed("reason"))
    if accepted:
        legs = rules.refund_closed(_refund_part(refund), refund["refund_no"])
        post(rows, entry, rules.REFUND_CLOSED, legs, entry.data["closed_at"])


def _abnormal(rows: RowBuffer, entry: Entry) -> None:
    """Nothing is posted: liability and transit stay open."""
    _move(rows, entry, _refund(rows, entry), "abnormal", reason=entry.sealed("reason"))


def _handles(*folds: tuple[type[e.Fact], Callable[[RowBuffer, Entry], None]]) -> dict[str, Handles]:
    reads = (LINES, REFUNDS)
    return {fact.TOPIC: Handles(fold, reads) for fact, fold in folds}


VIEW = View(
    name="refund_ledger",
    version=6,
    tables=(LINES, REFUNDS, STEPS, POSTINGS, RATES, COUNTERS),
    handles=_handles(
        (e.EditionAdopted, _adopted),
        (e.EditionCopied, _copied),
        (e.FeePaid, _received),
        (e.ExcessPaymentReceived, _received),
        (e.FeeItemUsed, _used),
        (e.FinalReviewPassed, _enrolled),
        (e.ResultPublished, _performed),
        (e.RefundEntitled, _entitled),
        (e.RefundRefused, _refused),
        (e.RefundOrdered, _ordered),
        (e.RefundApproved, _approved),
        (e.RefundDeclined, _declined),
        (e.RefundAccepted, _accepted),
        (e.RefundSettled, _settled),
        (e.RefundClosed, _closed),
        (e.RefundAbnormal, _abnormal),
    ),
    ignores=topics(
        *(*e.LEDGER, *e.ACTOR, e.EditionProposed, *e.PERSON, *e.APPLICATION),
        *(*e.ELIGIBILITY, *e.DOCUMENT),
        *(*e.INITIAL_REVIEW, *e.SECOND_REVIEW, e.FinalReviewReturned, e.FinalReviewRejected),
        *(*e.EXAM_SESSION, *e.SEAT, *e.SCORE, *e.NOTICE, *e.OBJECTION),
        *(e.SerialTaken, *e.CERTIFICATE, e.ReportFrozen),
    ),
)

"""Posts entries of the refund ledger: legs get the next voucher number and become rows."""

from __future__ import annotations

from datetime import date, datetime

from domain.values.working_days import shanghai_date
from projections.engine.rows import RowBuffer
from projections.engine.tables import Row
from projections.engine.view import Entry
from projections.refund_ledger.posting_rules import Leg, Part, Rule
from projections.refund_ledger.tables import COUNTERS, POSTINGS


def post(
    rows: RowBuffer, entry: Entry, rule: Rule, legs: list[Leg], effective_at: str | None = None
) -> None:
    """Post one entry with the next voucher number; without legs, nothing.

    The number is allocated with the rows, so that a batch that is rolled back leaves no gap.
    """
    if not legs:
        return
    if sum([leg.fen for leg in legs]) != 0:
        raise ValueError(f"rule {rule.id} does not sum to zero at position {entry.position}")
    counter = rows.get(COUNTERS, "entry")
    number = (counter["value"] if counter else 0) + 1
    rows.upsert(COUNTERS, {"name": "entry", "value": number})
    voucher = {
        "entry_no": number,
        "line": 0,
        "position": entry.position,
        "rule_id": rule.id,
        "rule_version": rule.version,
        "account": "",
        "debit_fen": 0,
        "credit_fen": 0,
        "application_id": entry.data["application_id"],
        "payment_id": "",
        "component": "",
        "refund_no": None,
        "effective_at": effective_at or entry.occurred_at,
        "recorded_at": entry.recorded_at,
    }
    postings = []
    for line, (account, fen, payment_id, component, refund_no) in enumerate(legs, 1):
        posting = voucher.copy()  # half the time of a literal with every column
        posting["line"] = line
        posting["account"] = account
        posting["debit_fen" if fen > 0 else "credit_fen"] = abs(fen)
        posting["payment_id"] = payment_id
        posting["component"] = component
        posting["refund_no"] = refund_no
        postings.append(posting)
    rows.add(POSTINGS, *postings)


def part(line: Row, fen: int | None = None) -> Part:
    """A line's component as a posting rule takes it. fen: None for the whole amount."""
    return Part(
        line["payment_id"],
        line["component"],
        line["provider"],
        line["paid_fen"] if fen is None else fen,
    )


def day(moment: str) -> date:
    """The calendar day in Shanghai of a UTC timestamp."""
    return shanghai_date(datetime.fromisoformat(moment))

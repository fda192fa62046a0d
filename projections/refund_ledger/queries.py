"""Queries of the refund ledger for finance. They take a cursor and return dicts; amounts in fen.

Two time axes: `effective_*` is when money moved, `recorded_*` and `as_of` when it was recorded.
Every bound `*_before` and `until` is exclusive. Source: source-document 2.1-2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from projections.engine.tables import Row
from projections.engine.view import Cursor, as_of_filter, queries, select
from projections.refund_ledger.chart_of_accounts import ACCOUNTS

AsOf = int | datetime | None
"""A position of the ledger, an aware datetime, or None for now."""

SQL = queries("refund_ledger")


def lines(
    cursor: Cursor,
    ledger: str,
    *,
    state: str | None = None,
    application_id: str | None = None,
    after: tuple[str, str, str] | None = None,
    limit: int = 100,
) -> list[Row]:
    """Components of payments, in order of (application_id, payment_id, component).

    state: paid, used, enrolled, entitled, refused or a state of its refund. after: the key of the
    last row of the previous page.
    """
    named = {"ledger": ledger, "state": state, "application_id": application_id, "limit": limit}
    return select(cursor, SQL["lines"], named | _after(after))


def owed(
    cursor: Cursor,
    ledger: str,
    *,
    paid_before: datetime | None = None,
    after: tuple[datetime, str, str, str] | None = None,
    limit: int = 100,
) -> list[Row]:
    """Open refund liabilities, oldest payment first, with `open_fen`.

    paid_before: a provider refunds within one year only; ask for a day before that limit.
    after: (paid_at, application_id, payment_id, component) of the last row of the previous page.
    """
    paid_at, key = (after[0], after[1:]) if after else (None, None)
    named = {"ledger": ledger, "paid_before": paid_before, "after_paid": paid_at, "limit": limit}
    return select(cursor, SQL["owed"], named | _after(key))


def refund(cursor: Cursor, ledger: str, refund_no: str) -> Row | None:
    """One refund by its number, or None."""
    found = select(cursor, SQL["refund"], {"ledger": ledger, "refund_no": refund_no})
    return found[0] if found else None


def refunds(
    cursor: Cursor,
    ledger: str,
    *,
    states: Sequence[str] | None = None,
    application_id: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[Row]:
    """Refunds in order of number; the worklist with `states=("ordered",)` and so on.

    states: ordered, approved, declined, accepted, abnormal, settled, closed.
    """
    named = {"ledger": ledger, "application_id": application_id, "after": after, "limit": limit}
    wanted = None if states is None else list(states)
    return select(cursor, SQL["refunds"], named | {"states": wanted})


def steps(
    cursor: Cursor,
    ledger: str,
    *,
    application_id: str | None = None,
    refund_no: str | None = None,
    after: int | None = None,
    limit: int = 500,
    as_of: AsOf = None,
) -> list[Row]:
    """The steps of refunds, oldest first: who, when, and the reason given.

    after: position of the last row of the previous page; an entitlement may have two rows at one.
    """
    named = {"ledger": ledger, "application_id": application_id, "refund_no": refund_no}
    page = {"after": after, "limit": limit}
    return select(cursor, SQL["steps"], named | page | as_of_filter(as_of))


def payments_paid_between(
    cursor: Cursor, ledger: str, provider: str, since: datetime, until: datetime
) -> list[Row]:
    """Whole payments that a provider processed in a period, to be matched with its bill."""
    named = {"ledger": ledger, "provider": provider, "since": since, "until": until}
    return select(cursor, SQL["payments_paid_between"], named)


def refunds_accepted_between(
    cursor: Cursor, ledger: str, provider: str, since: datetime, until: datetime
) -> list[Row]:
    """Refunds that a provider accepted in a period: its bill dates them by acceptance."""
    named = {"ledger": ledger, "provider": provider, "since": since, "until": until}
    return select(cursor, SQL["refunds_accepted_between"], named)


def payments_of_orders(
    cursor: Cursor, ledger: str, provider: str, orders: Sequence[str]
) -> list[Row]:
    """Payments by our order numbers (商户订单号)."""
    named = {"ledger": ledger, "provider": provider, "orders": list(orders)}
    return select(cursor, SQL["payments_of_orders"], named)


def refunds_of_numbers(cursor: Cursor, ledger: str, numbers: Sequence[str]) -> list[Row]:
    """Refunds by our refund numbers (商户退款单号)."""
    return select(cursor, SQL["refunds_of_numbers"], {"ledger": ledger, "numbers": list(numbers)})


def postings(
    cursor: Cursor,
    ledger: str,
    *,
    account: str | None = None,
    application_id: str | None = None,
    effective: tuple[datetime | None, datetime | None] = (None, None),
    recorded: tuple[datetime | None, datetime | None] = (None, None),
    after: tuple[int, int] | None = None,
    limit: int = 1000,
    as_of: AsOf = None,
) -> list[Row]:
    """Lines of vouchers in order of (entry_no, line).

    effective, recorded: (from, before) on either time axis. after: (entry_no, line) of the last
    row of the previous page.
    """
    entry, line = after or (None, None)
    named = {"ledger": ledger, "account": account, "application_id": application_id}
    page = {"after_entry": entry, "after_line": line, "limit": limit}
    bounds = _bounds(effective, recorded) | as_of_filter(as_of)
    return select(cursor, SQL["postings"], named | page | bounds)


def trial_balance(
    cursor: Cursor,
    ledger: str,
    *,
    effective: tuple[datetime | None, datetime | None] = (None, None),
    recorded: tuple[datetime | None, datetime | None] = (None, None),
    as_of: AsOf = None,
) -> list[Row]:
    """Sums for each account with postings: debit_fen, credit_fen, balance_fen (debit positive).

    With its name, kind and the name exports use. Source: chart.py.
    """
    bounds = _bounds(effective, recorded) | as_of_filter(as_of)
    found = select(cursor, SQL["trial_balance"], {"ledger": ledger} | bounds)
    for row in found:
        account = ACCOUNTS[row["account"]]
        row |= {"name": account.name, "kind": account.kind, "beancount": account.beancount}
    return found


def vouchers(
    cursor: Cursor,
    ledger: str,
    *,
    recorded: tuple[datetime | None, datetime | None] = (None, None),
    as_of: AsOf = None,
) -> Row:
    """First and last voucher number and their count, for a period close."""
    bounds = _bounds((None, None), recorded) | as_of_filter(as_of)
    return select(cursor, SQL["vouchers"], {"ledger": ledger} | bounds)[0]


def summary(cursor: Cursor, ledger: str) -> list[Row]:
    """Lines and amounts by state and component."""
    return select(cursor, SQL["summary"], {"ledger": ledger})


def invariants(cursor: Cursor, ledger: str) -> list[Row]:
    """Invariants of the whole ledger: name, left_fen, right_fen, holds."""
    found = select(cursor, SQL["invariants"], {"ledger": ledger})
    return [{**row, "holds": row["left_fen"] == row["right_fen"]} for row in found]


def _after(key: tuple[str, str, str] | None) -> dict[str, Any]:
    application_id, payment_id, component = key or (None, None, None)
    return {
        "after_application": application_id,
        "after_payment": payment_id,
        "after_component": component,
    }


def _bounds(
    effective: tuple[datetime | None, datetime | None],
    recorded: tuple[datetime | None, datetime | None],
) -> dict[str, Any]:
    return {
        "effective_from": effective[0],
        "effective_before": effective[1],
        "recorded_from": recorded[0],
        "recorded_before": recorded[1],
    }

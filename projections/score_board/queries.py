"""Queries of the score board. They take a cursor and return dicts.

Only the result of `public_board` is public: it contains rows only in the period of the notice.
Days and times are `date` and aware `datetime`. Source: source-document 5.1.
"""

from __future__ import annotations

from datetime import date, datetime

from projections.engine.tables import Row
from projections.engine.view import Cursor, as_of_filter, queries, select

AsOf = int | datetime | None
"""A position of the ledger, an aware datetime, or None for now."""

SQL = queries("score_board")

NEVER_PUBLIC = ("ledger", "person_id", "application_id", "position", "recorded_at", "occurred_at")
"""Columns that identify a person or are internal, left out of public rows."""


def notices(
    cursor: Cursor,
    ledger: str,
    *,
    status: str | None = None,
    session_id: str | None = None,
    after: tuple[date, str] | None = None,
    limit: int = 50,
    as_of: AsOf = None,
) -> list[Row]:
    """Notices, latest published first.

    status: open or closed. after: (published_on, notice_id) of the last row of the previous page.
    """
    day, notice_id = after or (None, None)
    page = {"after_day": day, "after_id": notice_id, "limit": limit}
    named = {"ledger": ledger, "status": status, "session_id": session_id}
    return select(cursor, SQL["notices"], named | page | as_of_filter(as_of))


def notice(cursor: Cursor, ledger: str, notice_id: str, *, as_of: AsOf = None) -> Row | None:
    """One notice with its session, or None."""
    arguments = {"ledger": ledger, "notice_id": notice_id} | as_of_filter(as_of)
    found = select(cursor, SQL["notice"], arguments)
    return found[0] if found else None


def rows(
    cursor: Cursor,
    ledger: str,
    notice_id: str,
    *,
    after: str | None = None,
    limit: int = 1000,
    as_of: AsOf = None,
) -> list[Row]:
    """Rows of a notice in order of ticket number, for staff.

    after: ticket number of the last row of the previous page. theory, practical None: 缺考.
    """
    arguments = {"ledger": ledger, "notice_id": notice_id, "after": after, "limit": limit}
    return select(cursor, SQL["rows"], arguments | as_of_filter(as_of))


def totals(cursor: Cursor, ledger: str, notice_id: str, *, as_of: AsOf = None) -> Row:
    """How many rows, passed, failed, absent, withheld, under objection, final."""
    arguments = {"ledger": ledger, "notice_id": notice_id} | as_of_filter(as_of)
    return select(cursor, SQL["totals"], arguments)[0]


def is_public(notice: Row, today: date) -> bool:
    """Whether a notice's rows are public on a day in Asia/Shanghai.

    From the day of publication to the last day of the period, both included, and only while the
    notice is open: a permanent page would be a register of who failed. Source: 5.1.
    """
    in_period: bool = notice["published_on"] <= today <= notice["ends_on"]
    return notice["status"] == "open" and in_period


def public_board(
    cursor: Cursor,
    ledger: str,
    notice_id: str,
    today: date,
    *,
    after: str | None = None,
    limit: int = 1000,
) -> Row | None:
    """A notice as the public sees it: its period, totals, and in the period its rows.

    today: the day in Asia/Shanghai. Returns: the notice with `totals`, `rows_shown` and `rows`
    (empty once the period is over), or None.
    """
    found = notice(cursor, ledger, notice_id)
    if found is None:
        return None
    shown = is_public(found, today)
    listed = rows(cursor, ledger, notice_id, after=after, limit=limit) if shown else []
    return {
        **{name: value for name, value in found.items() if name not in NEVER_PUBLIC},
        "totals": totals(cursor, ledger, notice_id),
        "rows_shown": shown,
        "rows": [
            {name: value for name, value in row.items() if name not in NEVER_PUBLIC}
            for row in listed
        ],
    }


def results_of_application(
    cursor: Cursor, ledger: str, application_id: str, *, as_of: AsOf = None
) -> list[Row]:
    """Every state of every published row of an application, oldest first."""
    arguments = {"ledger": ledger, "application_id": application_id} | as_of_filter(as_of)
    return select(cursor, SQL["results_of_application"], arguments)


def objections(
    cursor: Cursor, ledger: str, notice_id: str, *, state: str | None = None
) -> list[Row]:
    """Objections to rows of a notice. state: open, dismissed, upheld."""
    arguments = {"ledger": ledger, "notice_id": notice_id, "state": state}
    return select(cursor, SQL["objections"], arguments)

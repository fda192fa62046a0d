"""What pages read, each as one function of a cursor; run on the reader threads.

Every answer carries the position its view had come to before the rows were read, so that a page
never claims to know more than it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from api.lookup.query import LookupCriteria
from domain.store.postgres.connection import Cursor
from projections.certificate_registry import public_record
from projections.certificate_registry import queries as registry_queries
from projections.engine.tables import Row
from projections.engine.view import select
from projections.refund_ledger import queries as refund_queries
from projections.score_board import queries as board_queries

SCORE_BOARD = "score_board"
REFUND_LEDGER = "refund_ledger"
REGISTRY = "certificate_registry"

CERTIFICATES_MAX = 50
"""Certificates a page shows at most; nobody has so many."""

_BOOKS = """
SELECT b.ledger, b.organisation_name, b.issuer_name, t.position, j.recorded_at
FROM views.certificate_book b
JOIN certledger.tracking t ON t.ledger = b.ledger AND t.view = %(view)s
LEFT JOIN certledger.journal j ON j.ledger = t.ledger AND j.position = t.position
WHERE %(ledger)s::text IS NULL OR b.ledger = %(ledger)s
ORDER BY b.ledger
"""


def books(cursor: Cursor, view: str) -> list[Row]:
    """Every ledger whose book is open: whose it is, and how far a view of it has come."""
    return select(cursor, _BOOKS, {"view": view, "ledger": None})


def book(cursor: Cursor, view: str, ledger: str) -> Row | None:
    """One ledger as in `books`, or None."""
    found = select(cursor, _BOOKS, {"view": view, "ledger": ledger})
    return found[0] if found else None


def overview(cursor: Cursor) -> list[Row]:
    """Every ledger with how many certificates it issued; for the front page."""
    found = books(cursor, REGISTRY)
    for row in found:
        standings = registry_queries.standings(cursor, row["ledger"])
        row["certificates"] = sum(group["certificates"] for group in standings)
    return found


# --- certificates ---------------------------------------------------------------------------------


def look_up(cursor: Cursor, criteria: LookupCriteria) -> list[Row]:
    """The certificates that agree with the criteria, as everybody may see them.

    The same statements run for an unknown number and for a number with somebody else's name.
    """
    known = {row["ledger"]: row for row in books(cursor, REGISTRY)}
    search = (
        registry_queries.by_documents if criteria.number is None else registry_queries.by_numbers
    )
    found = criteria.matching(search(cursor, criteria.keys)) if criteria.keys else []
    return [_shown(cursor, answer, known) for answer in found[:CERTIFICATES_MAX]]


def by_link(cursor: Cursor, token: str) -> Row | None:
    """The certificate of a link, as everybody may see it, or None."""
    known = {row["ledger"]: row for row in books(cursor, REGISTRY)}
    found = registry_queries.verify(cursor, token)
    if found is None:
        return None
    return _shown(cursor, found.answer, known) | {"replaced": found.replaced}


def _shown(cursor: Cursor, answer: str, known: dict[str, Row]) -> Row:
    """The public part of a certificate, its history since it was issued, and as of when."""
    shown = public_record.for_page(answer)
    ledger, number = shown["ledger"], shown["number"]
    history = registry_queries.history(cursor, ledger, number, kind=shown["kind"])
    issued = [place for place, state in enumerate(history) if state["event"] == "issued"]
    as_of = known.get(ledger, {})  # a ledger may be opened between two statements
    return {
        **shown,
        "history": history[issued[0] :] if issued else [],
        "as_of_position": as_of.get("position", history[-1]["position"]),
        "as_of_time": as_of.get("recorded_at"),
    }


# --- the score board ------------------------------------------------------------------------------


def notices(
    cursor: Cursor, ledger: str, after: tuple[date, str] | None, limit: int
) -> tuple[Row | None, list[Row]]:
    """A ledger and a page of its notices, one more than the limit where there are more."""
    whose = book(cursor, SCORE_BOARD, ledger)
    return whose, board_queries.notices(cursor, ledger, after=after, limit=limit + 1)


def notice(
    cursor: Cursor, ledger: str, notice_id: str, today: date, after: str | None, limit: int
) -> tuple[Row | None, Row | None]:
    """A ledger and one notice with a page of its rows, as everybody may see them today."""
    whose = book(cursor, SCORE_BOARD, ledger)
    board = board_queries.public_board(
        cursor, ledger, notice_id, today, after=after, limit=limit + 1
    )
    return whose, board


# --- refunds --------------------------------------------------------------------------------------

OPEN = "open"
"""In place of a state: what is owed back and has not arrived, the oldest payment first."""


def refunds(
    cursor: Cursor, ledger: str, state: str | None, after: list[str] | None, limit: int
) -> tuple[Row | None, list[Row], list[Row]]:
    """A ledger, its sums by state and component, and a page of its lines."""
    whose = book(cursor, REFUND_LEDGER, ledger)
    sums = refund_queries.summary(cursor, ledger)
    return whose, sums, refund_lines(cursor, ledger, state, after, limit + 1)


def refund_lines(
    cursor: Cursor, ledger: str, state: str | None, after: list[str] | None, limit: int
) -> list[Row]:
    """Lines in a state, or all, in order of their key.

    after: `line_key` of the last line of the page before.
    """
    if state == OPEN:
        paid = None
        if after:
            paid = (datetime.fromisoformat(after[0]), after[1], after[2], after[3])
        return refund_queries.owed(cursor, ledger, after=paid, limit=limit)
    key = (after[0], after[1], after[2]) if after else None
    return refund_queries.lines(cursor, ledger, state=state, after=key, limit=limit)


def line_key(line: Row, state: str | None) -> list[str]:
    """What a page goes on after, in the order that lines in a state have."""
    key = [line["application_id"], line["payment_id"], line["component"]]
    return [line["paid_at"].isoformat(), *key] if state == OPEN else key


def totals(sums: Sequence[Row]) -> Row:
    """All sums together, and what is owed back and has not arrived."""
    columns = ("lines", "paid_fen", "entitled_fen", "ordered_fen", "settled_fen")
    total: Row = {column: sum(row[column] for row in sums) for column in columns}
    return total | {"open_fen": total["entitled_fen"] - total["settled_fen"]}


def recorded_at(whose: Row) -> datetime | None:
    """When the last entry of a ledger that a view knows was recorded."""
    moment: datetime | None = whose["recorded_at"]
    return moment

"""The queries of the pages, each a function of a cursor, run on the reader threads.

Each result contains the position of its view, read before the rows: a page may show newer rows than
its position says, but never claims a position whose rows it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from api.lookup.criteria import LookupCriteria
from projections.certificate_registry import public_record
from projections.certificate_registry import queries as registry_queries
from projections.certificate_registry.standing_changes import RecordChecks
from projections.engine.tables import Row
from projections.engine.view import Cursor, select
from projections.refund_ledger import queries as refund_queries
from projections.score_board import queries as board_queries

SCORE_BOARD = "score_board"
REFUND_LEDGER = "refund_ledger"
REGISTRY = "certificate_registry"

CERTIFICATES_MAX = 50
"""Certificates on a page; no person has so many."""

_LEDGERS = """
SELECT b.ledger, b.organisation_name, b.issuer_name, t.position, j.recorded_at
FROM views.certificate_book b
JOIN certledger.tracking t ON t.ledger = b.ledger AND t.view = %(view)s
LEFT JOIN certledger.journal j ON j.ledger = t.ledger AND j.position = t.position
WHERE %(ledger)s::text IS NULL OR b.ledger = %(ledger)s
ORDER BY b.ledger
"""


def all_ledgers(cursor: Cursor, view: str) -> list[Row]:
    """Every ledger with its organisation, and the position that a view has reached."""
    return select(cursor, _LEDGERS, {"view": view, "ledger": None})


def one_ledger(cursor: Cursor, view: str, ledger: str) -> Row | None:
    """One ledger as in `all_ledgers`, or None."""
    found = select(cursor, _LEDGERS, {"view": view, "ledger": ledger})
    return found[0] if found else None


def overview(cursor: Cursor) -> list[Row]:
    """Every ledger with the number of its certificates, for the front page."""
    ledgers = all_ledgers(cursor, REGISTRY)
    for row in ledgers:
        standings = registry_queries.standings(cursor, row["ledger"])
        row["certificates"] = sum(group["certificates"] for group in standings)
    return ledgers


# --- certificates ---------------------------------------------------------------------------------


def look_up(cursor: Cursor, criteria: LookupCriteria, checks: RecordChecks) -> list[Row]:
    """The certificates that agree with the criteria, as everybody may see them.

    The same statements run for an unknown number and for a number with somebody else's name.
    Raises: ViewWrong, RecordOutdated.
    """
    known = {row["ledger"]: row for row in all_ledgers(cursor, REGISTRY)}
    search = (
        registry_queries.by_documents if criteria.number is None else registry_queries.by_numbers
    )
    found = criteria.matching(search(cursor, criteria.keys, checks)) if criteria.keys else []
    return [_shown(cursor, answer, known, checks) for answer in found[:CERTIFICATES_MAX]]


def by_link(cursor: Cursor, token: str, checks: RecordChecks) -> Row | None:
    """The certificate of a link, as everybody may see it; None for an unknown link.

    Raises: ViewWrong, RecordOutdated.
    """
    known = {row["ledger"]: row for row in all_ledgers(cursor, REGISTRY)}
    found = registry_queries.verify(cursor, token, checks)
    if found is None:
        return None
    return _shown(cursor, found.answer, known, checks) | {"replaced": found.replaced}


def _shown(cursor: Cursor, answer: str, known: dict[str, Row], checks: RecordChecks) -> Row:
    """A certificate as a page shows it: its public record, its history, and the view's position.

    Raises: ViewWrong, RecordOutdated.
    """
    shown = public_record.for_page(answer)
    ledger, number = shown["ledger"], shown["number"]
    history = registry_queries.history(cursor, ledger, number, checks, kind=shown["kind"])
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
    row = one_ledger(cursor, SCORE_BOARD, ledger)
    return row, board_queries.notices(cursor, ledger, after=after, limit=limit + 1)


def notice(
    cursor: Cursor, ledger: str, notice_id: str, today: date, after: str | None, limit: int
) -> tuple[Row | None, Row | None]:
    """A ledger and one notice with a page of its rows, as everybody may see them today."""
    row = one_ledger(cursor, SCORE_BOARD, ledger)
    board = board_queries.public_board(
        cursor, ledger, notice_id, today, after=after, limit=limit + 1
    )
    return row, board


# --- refunds --------------------------------------------------------------------------------------

OPEN = "open"
"""In place of a state: what is owed and has not been settled, the oldest payment first."""


def refunds(
    cursor: Cursor, ledger: str, state: str | None, after: list[str] | None, limit: int
) -> tuple[Row | None, list[Row], list[Row]]:
    """A ledger, its sums by state and component, and a page of its lines."""
    row = one_ledger(cursor, REFUND_LEDGER, ledger)
    sums = refund_queries.summary(cursor, ledger)
    return row, sums, refund_lines(cursor, ledger, state, after, limit + 1)


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
    """The key after which the next page starts, in the order of the lines in a state."""
    key = [line["application_id"], line["payment_id"], line["component"]]
    return [line["paid_at"].isoformat(), *key] if state == OPEN else key


def totals(sums: Sequence[Row]) -> Row:
    """The total of all sums, and what is owed and has not been settled."""
    columns = ("lines", "paid_fen", "entitled_fen", "ordered_fen", "settled_fen")
    total: Row = {column: sum(row[column] for row in sums) for column in columns}
    return total | {"open_fen": total["entitled_fen"] - total["settled_fen"]}


def recorded_at(ledger: Row) -> datetime | None:
    """When the last event that a view has applied was recorded."""
    moment: datetime | None = ledger["recorded_at"]
    return moment

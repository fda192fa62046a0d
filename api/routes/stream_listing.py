"""Lists applications and sessions from the journal, where no view lists them.

The journal's index by topic finds the events that open a stream, page by page; the states are then
folded from the streams, so a list never lags behind the journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain import events as e
from domain.decision import NotFound
from domain.service.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Listing:
    """States in order. after: position at which the next page continues; None on the last page."""

    states: list[Any]
    after: int | None


def list_streams(ledger: Ledger, kind: str, topic: str, before: int | None, limit: int) -> Listing:
    """States of the streams that an event of this topic opens, the newest first; blocking.

    before: only positions below it; None for the newest. limit: number of states.
    """
    rows = ledger.journal.query(
        "SELECT position, stream FROM certledger.journal WHERE ledger = %s AND topic = %s "
        "AND position < %s ORDER BY position DESC LIMIT %s",
        (ledger.name, topic, before or 2**62, limit + 1),
    )
    states = [ledger.state(kind, _key(stream, kind)) for _, stream in rows[:limit]]
    return Listing(states, rows[limit - 1][0] if len(rows) > limit else None)


def newest_applications(ledger: Ledger, before: int | None, limit: int) -> Listing:
    """Applications, the newest first; blocking."""
    return list_streams(ledger, "application", e.ApplicationOpened.TOPIC, before, limit)


def newest_sessions(ledger: Ledger, before: int | None, limit: int) -> Listing:
    """Exam sessions, the newest first; blocking."""
    return list_streams(ledger, "session", e.ExamSessionScheduled.TOPIC, before, limit)


def applications_of(ledger: Ledger, person_id: str) -> list[Any]:
    """Every application of a person that was found eligible, the newest first; blocking.

    Found by the uniqueness reservation that prevents two live applications of a person: its row
    stays when it is released, and its position is that of the application's first events.
    """
    rows = ledger.journal.query(
        "SELECT DISTINCT j.position, j.stream FROM certledger.claims c "
        "JOIN certledger.journal j ON j.ledger = c.ledger AND j.position = c.position "
        "WHERE c.ledger = %s AND c.kind = 'live_application' AND c.key >= %s AND c.key < %s "
        "ORDER BY j.position DESC LIMIT 200",
        (ledger.name, f"{person_id}|", f"{person_id}}}"),
    )
    return [
        ledger.state("application", _key(stream, "application"))
        for _, stream in rows
        if stream.startswith("application-")
    ]


def holder_of_document(ledger: Ledger, indexes: Sequence[str]) -> str:
    """The person whose document it is, by the blind indexes of the document; blocking.

    Raises: NotFound; SealBroken if the event that took the claim has no right seal.
    """
    rows = ledger.journal.query(
        "SELECT position FROM certledger.claims WHERE ledger = %s "
        "AND kind = 'person_document' AND key = ANY(%s) AND released_position IS NULL",
        (ledger.name, list(indexes)),
    )
    found = ledger.journal.read(rows[0][0] - 1, 1) if rows else []
    if not found:
        raise NotFound(what="person", id="with this document")
    return _key(found[0].stream, "person")


def _key(stream: str, kind: str) -> str:
    return stream.removeprefix(f"{kind}-")

"""Lists applications, sessions and persons from the journal, where no view lists them.

The journal's index by topic finds the events that open a stream, page by page; the states are then
folded from the streams, so a list never lags behind the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from api.http.dependencies import QueryContext
from domain import events as e
from domain.decision import NotFound
from domain.person_claims import NAMED, named_text
from domain.service.ledger import Ledger
from domain.store.errors import PersonClaimsWrong
from domain.values.identity_documents import same_person_key


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
    states = [ledger.state(kind, key_of(stream, kind)) for _, stream in rows[:limit]]
    return Listing(states, rows[limit - 1][0] if len(rows) > limit else None)


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Names of streams in order. after: position at which the next page continues, or None."""

    streams: list[str]
    after: int | None


def newest_streams(
    ledger: Ledger, before: int | None, limit: int, topics: Sequence[str], ending: Sequence[str]
) -> StreamPage:
    """Streams with an event of some topics that none of others follows, the newest first; blocking.

    Hints only: what a stream says now is in its state. before, limit: as for `list_streams`.
    """
    rows = ledger.journal.query(
        "SELECT position, stream FROM certledger.journal j WHERE ledger = %s AND topic = ANY(%s) "
        "AND position < %s AND NOT EXISTS (SELECT FROM certledger.journal later "
        "WHERE later.ledger = j.ledger AND later.stream = j.stream AND later.version > j.version "
        "AND later.topic = ANY(%s)) ORDER BY position DESC LIMIT %s",
        (ledger.name, list(topics), before or 2**62, list(ending), limit + 1),
    )
    streams = [stream for _, stream in rows[:limit]]
    return StreamPage(streams, rows[limit - 1][0] if len(rows) > limit else None)


L = TypeVar("L", Listing, StreamPage)


async def newest_page(
    read: QueryContext,
    name: str,
    cursor: str | None,
    limit: int,
    find: Callable[[Ledger, int | None, int], L],
) -> tuple[L, str | None]:
    """One page of a list of this ledger, the newest first, and the cursor of the next page.

    name: of the list with its filters. find: of ledger, before and limit; blocking.
    Raises: CursorInvalid.
    """
    page = read.service.page(f"{name}|{read.ledger.name}", cursor, limit)
    before = page.after[0] if page.after else None
    found = await read.run(find, read.ledger, before, page.rows_max)
    return found, None if found.after is None else page.cursor([found.after])


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
        ledger.state("application", key_of(stream, "application"))
        for _, stream in rows
        if stream.startswith("application-")
    ]


def holder_of_index(ledger: Ledger, kind: str, indexes: Sequence[str], text: str) -> str:
    """The person whose document it is, by the blind indexes it may have; blocking.

    kind: DOCUMENT or NAMED. text: that the indexes are of; the rows have no seal, so it is compared
    with what the person's facts say.
    Raises: NotFound, PersonClaimsWrong.
    """
    for _ in range(_TRIES):
        rows = ledger.journal.query(
            "SELECT person_id FROM certledger.person_claims WHERE ledger = %s "
            "AND kind = %s AND index = ANY(%s) LIMIT 1",
            (ledger.name, kind, list(indexes)),
        )
        if not rows:
            raise _no_such_person()
        person_id: str = rows[0][0]
        if _indexed_text(ledger, kind, person_id) == text:
            return person_id
    raise PersonClaimsWrong(ledger=ledger.name)


_TRIES = 2  # the person may be corrected between the two reads


def _indexed_text(ledger: Ledger, kind: str, person_id: str) -> str | None:
    """What an index of a kind is over for a person, by their facts; None if nothing is left."""
    try:
        person, identity = ledger.state("person", person_id), ledger.identity(person_id)
    except NotFound:
        return None
    number, country = identity.document_number, person.document_country
    key = same_person_key(identity.document_type, number, country)
    return named_text(key, identity.name) if kind == NAMED else key


def own_person(ledger: Ledger, login: str, text: str) -> str:
    """The person whose login it is, if the document is theirs, contested or not; blocking.

    text: of the document, as it is indexed. Raises: NotFound, also for another person's document.
    """
    pseudonym = ledger.logins.find(login)
    rows = ledger.journal.query(
        "SELECT position FROM certledger.claims WHERE ledger = %s AND kind = 'person_login' "
        "AND key = %s AND released_position IS NULL",
        (ledger.name, pseudonym),
    )
    for (position,) in rows:
        for event in ledger.journal.read(position - 1, _EVENTS_OF_A_COMMAND):
            if not event.stream.startswith("person-"):
                continue
            person = ledger.state("person", key_of(event.stream, "person"))
            if person.subject != pseudonym or person.erased:
                continue
            identity = ledger.identity(person.id)
            number, country = identity.document_number, person.document_country
            if same_person_key(identity.document_type, number, country) == text:
                return str(person.id)
    raise _no_such_person()


_EVENTS_OF_A_COMMAND = 2  # that assigns a login


def _no_such_person() -> NotFound:
    return NotFound(what="person", id="with this document")


def key_of(stream: str, kind: str) -> str:
    """The id in the name of a stream of a kind."""
    return stream.removeprefix(f"{kind}-")

"""The journal as views read it: each event decoded once, personal fields opened where needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import orjson

from domain.errors import LedgerError
from domain.events import CATALOGUE, PersonCorrected, PersonRegistered
from domain.personal import personal_fields
from projections.view import Entry, Opener

# Text, not bytea: half the bytes on the wire, and the decoder takes it as it is.
_READ = """SELECT position, convert_from(envelope, 'UTF8') FROM certledger.journal
WHERE ledger = %s AND position > %s AND position <= %s{} ORDER BY position LIMIT %s"""

NO_LIMIT = 2**62

OPENED = {fact.TOPIC: personal_fields(fact) for fact in (PersonRegistered, PersonCorrected)}
"""Topics whose personal fields a view masks; all others stay sealed."""

KeyRows = Callable[[Iterable[str]], dict[str, Any]]
"""Committed key rows of persons, as a vault wants to read them."""


class Vault(Protocol):
    """What opens sealed fields and makes blind indexes; of one ledger."""

    def preload(self, persons: Iterable[str]) -> None: ...
    def open(
        self, person: str, stream: str, version: int, field: str, sealed: str
    ) -> str | None: ...
    def blind_indexes(self, kind: str, value: str) -> tuple[str, ...]: ...


def opener(vault: Vault) -> Opener:
    """Opens the fields that views mask."""

    def opened(entry: Entry) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in OPENED.get(entry.topic, ()):
            value = entry.data[name]
            if type(value) is dict:
                person = entry.data["person_id"]
                value = vault.open(person, entry.stream, entry.version, name, value["sealed"])
            found[name] = value
        return found

    return opened


def read(
    cursor: Any,
    ledger: str,
    vault: Vault,
    after: int,
    limit: int,
    *,
    upto: int = NO_LIMIT,
    topics: Sequence[str] = (),
) -> list[Entry]:
    """Entries in order of position: after < position <= upto, at most `limit`.

    topics: only these; all if empty. The keys of the persons among them are read in one query.
    """
    if topics:
        sql = _READ.format(" AND topic = ANY(%s)")
        cursor.execute(sql, (ledger, after, upto, list(topics), limit))
    else:
        cursor.execute(_READ.format(""), (ledger, after, upto, limit))
    loads, open_entry = orjson.loads, opener(vault)
    entries = [Entry(position, loads(text), open_entry) for position, text in cursor.fetchall()]
    _preload(entries, vault)
    return entries


def _preload(entries: Iterable[Entry], vault: Vault) -> None:
    persons = {
        entry.data["person_id"]
        for entry in entries
        if entry.topic in OPENED and any(type(entry.data[f]) is dict for f in OPENED[entry.topic])
    }
    if persons:
        # A person without a key is found out again, and named, by the view that needs it.
        with suppress(LedgerError):
            vault.preload(persons)


def unknown_topics(cursor: Any, ledger: str, upto: int) -> list[str]:
    """Topics of the journal up to a position that no fact has, oldest name first.

    A rebuild reads only the topics it handles, so it asks this beforehand.
    """
    # Jumps from topic to topic in the index instead of reading every entry.
    cursor.execute(
        """WITH RECURSIVE t (topic) AS (
            (SELECT topic FROM certledger.journal WHERE ledger = %(l)s ORDER BY topic LIMIT 1)
            UNION ALL
            SELECT (SELECT j.topic FROM certledger.journal j
                    WHERE j.ledger = %(l)s AND j.topic > t.topic ORDER BY j.topic LIMIT 1)
            FROM t WHERE t.topic IS NOT NULL)
        SELECT topic FROM t WHERE topic <> ALL(%(known)s) AND EXISTS (
            SELECT FROM certledger.journal j
            WHERE j.ledger = %(l)s AND j.topic = t.topic AND j.position <= %(upto)s)""",
        {"l": ledger, "known": list(CATALOGUE), "upto": upto},
    )
    return [topic for (topic,) in cursor.fetchall()]

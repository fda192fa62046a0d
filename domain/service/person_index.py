"""Computes the table of person claims again from the events and the keys.

The table is derived and may lose rows, as after a restore that left it out, under another algorithm
of blind indexes or under an epoch that has ended since. A ledger is not written before its table is
complete: a number that is registered would pass for a free one.
Reading order: ensure_person_claims, `_rebuild`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from domain.errors import LedgerError
from domain.events import FORGETTING
from domain.person_claims import (
    CONTESTED,
    DOCUMENT,
    FIRST_FACTS,
    TOPICS,
    PersonClaims,
    person_claims_of,
)
from domain.store.errors import SealBroken
from domain.store.journal.journal import Journal
from domain.store.journal.person_claims import rows_to_insert
from domain.store.journal.sealed_rows import EVENT_COLUMNS, event_from_row
from domain.store.postgres.connection import Cursor
from domain.store.privacy.field_encryption import Vault
from domain.store.privacy.index_ciphers import StoredIndexes
from domain.stored_facts import STORED_FACTS
from domain.values.sealed_fields import is_sealed, without_sealed

log = logging.getLogger(__name__)

_PAGE = 2000
_IDENTITY = ("name", "document_number")

# Each registered person who is not erased has exactly one row of a kind that identifies; an index
# under another algorithm or an epoch that is over finds nobody. Who only objected was never
# registered.
_COMPLETE = """SELECT pg_is_in_recovery() OR (
    (SELECT count(*) FROM certledger.journal
        WHERE ledger = %(ledger)s AND topic = ANY(%(registered)s))
    - (SELECT count(DISTINCT stream) FROM certledger.journal e
        WHERE ledger = %(ledger)s AND topic = ANY(%(erased)s) AND EXISTS (
            SELECT 1 FROM certledger.journal f WHERE f.ledger = e.ledger
                AND f.stream = e.stream AND f.topic = ANY(%(registered)s)))
    = (SELECT count(*) FROM certledger.person_claims
        WHERE ledger = %(ledger)s AND kind = ANY(%(kinds)s)
        AND split_part(index, ':', 1) = ANY(%(forms)s)))"""
_LOCK = "SELECT 1 FROM certledger.ledgers WHERE ledger = %s FOR UPDATE"
_CLEAR = "DELETE FROM certledger.person_claims WHERE ledger = %s"
_FORGET = _CLEAR + " AND person_id = ANY(%s)"
_INSERT = """INSERT INTO certledger.person_claims (ledger, kind, index, person_id)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING"""
_EVENTS = f"""SELECT {EVENT_COLUMNS} FROM certledger.journal
WHERE ledger = %s AND topic = ANY(%s) AND position > %s ORDER BY position LIMIT {_PAGE}"""


def ensure_person_claims(journal: Journal, vault: Vault, indexes: StoredIndexes) -> bool:
    """Rebuild the table of a ledger if it is not complete; no command is recorded meanwhile.

    A standby is left as it is. Returns: whether it was rebuilt.
    Raises: Unavailable, psycopg2.Error.
    """
    arguments = _arguments(journal, vault, indexes)
    if journal.query(_COMPLETE, arguments)[0][0]:
        return False
    with journal.unit_of_work() as cursor:
        cursor.execute(_LOCK, (journal.ledger,))
        cursor.execute(_COMPLETE, arguments)
        if cursor.fetchall()[0][0]:  # another service has done it
            return False
        _rebuild(journal, vault, indexes, cursor)
    return True


def rebuild_person_claims(journal: Journal, vault: Vault, indexes: StoredIndexes) -> int:
    """Compute the table of a ledger again, whatever it holds. Returns: how many persons have rows.

    Raises: Unavailable, psycopg2.Error.
    """
    with journal.unit_of_work() as cursor:
        cursor.execute(_LOCK, (journal.ledger,))
        return _rebuild(journal, vault, indexes, cursor)


def _arguments(journal: Journal, vault: Vault, indexes: StoredIndexes) -> dict[str, Any]:
    algorithm = vault.blind_index(DOCUMENT, "").partition(":")[0]
    return {
        "ledger": journal.ledger,
        "registered": [fact.TOPIC for fact in FIRST_FACTS],
        "erased": [fact.TOPIC for fact in FORGETTING],
        "kinds": [DOCUMENT, CONTESTED],
        "forms": [each for each in indexes.prefixes() if each.startswith(f"{algorithm}.")],
    }


def _rebuild(journal: Journal, vault: Vault, indexes: StoredIndexes, cursor: Cursor) -> int:
    ledger, sealer = journal.ledger, journal.sealer
    cursor.execute(_CLEAR, (ledger,))
    living: set[str] = set()
    after = 0
    while True:
        cursor.execute(_EVENTS, (ledger, [*TOPICS], after))
        rows = cursor.fetchall()
        if not rows:
            break
        after = rows[-1][0]
        found: list[Mapping[str, Any]] = []
        for row in rows:
            try:
                found.append(event_from_row(row, sealer).parsed)
            except SealBroken as broken:
                log.warning("%s; it gives nobody a blind index", broken)
        persons = dict(opened_claims(vault, found))
        for person, found_by in persons.items():
            (living.add if found_by else living.discard)(person)
        cursor.execute(_FORGET, (ledger, [*persons]))
        stored = [
            (kind, indexes.stored(index), person)
            for kind, index, person in rows_to_insert(persons.items())
        ]
        columns = [*zip(*stored, strict=True)] or [(), (), ()]
        cursor.execute(_INSERT, (ledger, *map(list, columns)))
    log.info("the blind indexes of %d persons of ledger %s were computed", len(living), ledger)
    return len(living)


def opened_claims(vault: Vault, envelopes: Iterable[Mapping[str, Any]]) -> list[PersonClaims]:
    """What events change of person claims, in order; each as it can be opened now.

    envelopes: parsed. An event that does not open gives no index; the audit of keys names it.
    """
    changing = [each for each in envelopes if each["topic"] in TOPICS]
    sealed = [
        value
        for each in changing
        for name in _IDENTITY
        if is_sealed(value := each["data"].get(name))
    ]
    with suppress(LedgerError):  # each is then opened by itself
        vault.preload(sealed)
    found = (_opened(vault, envelope) for envelope in changing)
    return [each for each in found if each is not None]


def _opened(vault: Vault, envelope: Mapping[str, Any]) -> PersonClaims | None:
    stream, version = envelope["stream"], envelope["version"]
    data = without_sealed(envelope["data"])
    try:
        for name in _IDENTITY:
            if is_sealed(value := envelope["data"].get(name)):
                data[name] = vault.open(stream, version, f"/{name}", value)
        fact = STORED_FACTS.read(envelope["topic"], data, f"version {version} of {stream}")
    except LedgerError:
        person = envelope["data"].get("person_id")
        return PersonClaims(person, ()) if isinstance(person, str) else None
    return person_claims_of(fact, vault.blind_index)  # type: ignore[arg-type]  # it is a Fact

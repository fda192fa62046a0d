"""The table of persons' data keys: each is inserted with its first event, and destroyed once.

Destroying a key erases the person (crypto-shredding): the wrapped key becomes NULL, and a trigger
refuses any later one. Who has the database can destroy one too, but not record the event that
belongs to it. Which persons are erased is decided in `domain.steps.erasure`; what the keys seal is
in `domain.store.privacy`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class PersonKey(NamedTuple):
    """A row of a person's wrapped data key. wrapped: None after it was destroyed."""

    person: str
    algorithm: str
    master_key_id: str
    wrapped: bytes | None


def key_from_row(row: Sequence[Any]) -> PersonKey:
    """The key of a row of `SELECT_KEYS`."""
    person, algorithm, master_key_id, wrapped = row
    return PersonKey(person, algorithm, master_key_id, None if wrapped is None else bytes(wrapped))


SELECT_KEYS = "SELECT person, algorithm, master_key_id, wrapped FROM certledger.person_keys "
"""Begins every query for keys; the condition follows."""

INSERT_KEYS = """INSERT INTO certledger.person_keys (ledger, person, algorithm, master_key_id,
    wrapped, created_at, destroyed_at)
SELECT $1, r.person, r.algorithm, r.master_key_id, decode(r.wrapped, 'hex'), $2,
    CASE WHEN r.wrapped IS NULL THEN $3::timestamptz END
FROM unnest($4::text[], $5::text[], $6::text[], $7::text[])
    AS r (person, algorithm, master_key_id, wrapped)"""

SELECT_ERASED = """SELECT DISTINCT substr(stream, 8) FROM certledger.journal
WHERE ledger = %s AND topic = 'personal_data_erased.v1' AND stream = ANY(%s)"""
"""Which persons were erased by an event; takes the ledger and their streams (`person_streams`)."""


def person_streams(persons: Iterable[str]) -> list[str]:
    """The streams of persons."""
    return [f"person-{person}" for person in persons]


DESTROY_KEYS = """UPDATE certledger.person_keys SET wrapped = NULL, destroyed_at = $1
WHERE ledger = $2 AND person = ANY($3::text[]) AND destroyed_at IS NULL"""

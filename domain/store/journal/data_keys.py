"""The table of data keys: each is inserted with the first event that it seals, and destroyed once.

Destroying a key erases what it sealed (crypto-shredding): the wrapped key becomes NULL, and a
trigger refuses any later one. Who has the database can destroy one too, but not record the event
that belongs to it. What is erased is decided in `domain.steps.erasure`; what the keys
seal is the matter of `domain.store.privacy`. Owners and names: `domain.values.sealed_fields`; what
wraps the keys: `domain.store.journal.bucket_keys`.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from domain.store.journal import envelope as envelopes
from domain.values.sealed_fields import KeyName, person_owner

_PERSON = person_owner("")

KeyClass = tuple[str, str]
"""(owner, class): all generations of a key. The class of a matter's key is ""."""


class DataKey(NamedTuple):
    """A row of a wrapped data key.

    owner, data_class, generation: see KeyName. bucket_generation: of the bucket key that wraps it.
    wrapped: None, like the former, after it was destroyed. created_at: its first use, aware.
    """

    owner: str
    data_class: str
    generation: int
    algorithm: str
    bucket_generation: int | None
    wrapped: bytes | None
    created_at: datetime

    @property
    def name(self) -> KeyName:
        """Its name, as sealed values have it."""
        return KeyName(self.owner, self.data_class, self.generation)


def key_from_row(row: Sequence[Any]) -> DataKey:
    """The key of a row of `SELECT_KEYS`."""
    key = DataKey(*row)
    return key if key.wrapped is None else key._replace(wrapped=bytes(key.wrapped))


_COLUMNS = "owner, class, generation, algorithm, bucket_generation, wrapped, created_at"

SELECT_KEYS = f"SELECT {_COLUMNS} FROM certledger.data_keys "
"""Begins a query for keys; the condition follows. See `key_from_row`."""

SELECT_NAMED_KEYS = f"""SELECT {_COLUMNS}
FROM unnest(%s::text[], %s::text[], %s::int[]) AS w (o, c, g) CROSS JOIN LATERAL (
    SELECT * FROM certledger.data_keys k WHERE k.ledger = %s AND k.owner = w.o AND k.class = w.c
    AND k.generation = w.g LIMIT 1) k"""
"""The keys of `named_keys`."""


def named_keys(ledger: str, names: Iterable[KeyName]) -> tuple[Any, ...]:
    """Arguments of SELECT_NAMED_KEYS."""
    owners, classes, generations = zip(*names, strict=True)
    return [*owners], [*classes], [*generations], ledger


SELECT_KEYS_OF = SELECT_KEYS + "WHERE ledger = %s AND owner = ANY(%s)"
"""Every key of some owners; takes the ledger and the owners."""

ERASURE_TOPICS = ("erasure_confirmed.v1", "erasure_continued.v1", "erasure_repeated.v1")
"""The events that destroy keys of persons; `destroyed` in their data names the classes."""

SELECT_ERASURES = f"""SELECT stream, envelope FROM certledger.journal
WHERE ledger = %s AND topic IN {ERASURE_TOPICS} AND stream = ANY(%s)"""
"""The events that destroyed keys of some owners; takes the ledger and `owner_streams`."""


def erased_classes(rows: Iterable[Sequence[Any]]) -> set[KeyClass]:
    """What the rows of SELECT_ERASURES destroyed.

    A row that has not the form of such an event destroyed nothing; somebody may have inserted it.
    """
    found: set[KeyClass] = set()
    for stream, envelope in rows:
        owner = person_owner(stream.removeprefix("person-"))
        with suppress(ValueError, KeyError, TypeError):
            data = envelopes.parse(bytes(envelope))["data"]
            found.update((owner, each) for each in data["destroyed"])
    return found


def owner_streams(owners: Iterable[str]) -> list[str]:
    """The streams of the persons among the owners."""
    return [
        f"person-{owner.removeprefix(_PERSON)}" for owner in owners if owner.startswith(_PERSON)
    ]


INSERT_KEYS = """INSERT INTO certledger.data_keys (ledger, owner, class, generation, algorithm,
    bucket, bucket_generation, wrapped, created_at, destroyed_at)
SELECT $1, r.owner, r.class, r.generation, r.algorithm, r.bucket,
    CASE WHEN r.wrapped IS NOT NULL THEN r.bucket_generation END, decode(r.wrapped, 'hex'),
    $2, CASE WHEN r.wrapped IS NULL THEN $3::timestamptz END
FROM unnest($4::text[], $5::text[], $6::int[], $7::text[], $8::int[], $9::int[], $10::text[])
    AS r (owner, class, generation, algorithm, bucket, bucket_generation, wrapped)"""

DESTROY_KEYS = """WITH gone AS (
    UPDATE certledger.data_keys k
    SET wrapped = NULL, destroyed_at = $1
    FROM unnest($3::text[], $4::text[], $5::int[]) AS r (owner, class, generation)
    WHERE k.ledger = $2 AND k.owner = r.owner AND k.class = r.class
    AND k.generation <= r.generation AND k.destroyed_at IS NULL RETURNING k.bucket)
UPDATE certledger.bucket_keys b SET stale = true FROM (SELECT DISTINCT bucket FROM gone) g
WHERE b.ledger = $2 AND b.bucket = g.bucket AND NOT b.stale"""
"""Every generation up to the given one: a later command of the batch may have made the next.

All keys of the buckets become stale, whichever of them wrapped it: an older copy may have it under
another one.
"""

"""The tables of bucket keys and epochs: what wraps the data keys, and until when.

A data key is wrapped by the key of its bucket, and that by the key of an epoch, which is a file
outside the database. When a data key is destroyed its bucket's keys become stale: no later epoch
wraps them, and what they still wrap is moved to the bucket's next generation. So an older copy of
these tables opens nothing of an erased person once the epoch's key is destroyed.
What wraps and opens: `domain.store.privacy`; when: `domain.store.privacy.key_renewal`.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

BUCKETS = 1024
"""Buckets a ledger: each has the data keys of about a thousandth of its owners."""


def bucket_of(owner: str) -> int:
    """The bucket of an owner's data keys: the first ten bits of SHA-256 of the owner."""
    digest = sha256(owner.encode()).digest()
    return digest[0] << 2 | digest[1] >> 6


class BucketKey(NamedTuple):
    """A row of a wrapped bucket key.

    bucket: 0 to 1023. algorithm: of the wrapping. epoch, key_id: of the key that wraps it.
    stale: a data key that it wrapped was destroyed, so that no other epoch may wrap it.
    """

    bucket: int
    generation: int
    algorithm: str
    epoch: int
    key_id: str
    wrapped: bytes
    stale: bool


def bucket_from_row(row: Sequence[Any]) -> BucketKey:
    """The key of a row of SELECT_BUCKETS."""
    key = BucketKey(*row)
    return key._replace(wrapped=bytes(key.wrapped))


SELECT_BUCKETS = """SELECT b.bucket, b.generation, b.algorithm, b.epoch, e.key_id, b.wrapped,
    b.stale
FROM certledger.bucket_keys b JOIN certledger.epochs e USING (epoch) WHERE b.ledger = %s
ORDER BY b.bucket, b.generation"""

SELECT_NEWEST_EPOCH = """SELECT epoch, key_id FROM certledger.epochs WHERE destroyed_at IS NULL
ORDER BY epoch DESC LIMIT 1"""

SELECT_LAST_EPOCH = "SELECT coalesce(max(epoch), 0) FROM certledger.epochs"

SELECT_NEEDED_EPOCHS = """SELECT epoch, key_id FROM certledger.epochs e
WHERE destroyed_at IS NULL AND (
    EXISTS (SELECT FROM certledger.bucket_keys b WHERE b.epoch = e.epoch)
    OR EXISTS (SELECT FROM certledger.logins l
        WHERE split_part(l.key_id, '.', 2) = e.epoch::text)) ORDER BY epoch"""
"""The epochs without whose keys something cannot be opened, or a login is not found."""

LOCK_EPOCHS = "SELECT pg_advisory_xact_lock(hashtextextended('certledger epochs', 0))"
"""Taken before an epoch is added or ends, and before a key is wrapped under the newest one."""

INSERT_EPOCH = """INSERT INTO certledger.epochs (epoch, key_id, ends_at, made_at)
VALUES (%s, %s, %s, greatest(%s, clock_timestamp()))"""
"""Its age tells whether every process knows it: not more than by the server's clock, by which it is
read, if that of the service is behind."""

INSERT_BUCKETS = """INSERT INTO certledger.bucket_keys (ledger, bucket, generation, epoch,
    algorithm, wrapped, created_at)
SELECT %s, r.bucket, r.generation, %s, r.algorithm, decode(r.wrapped, 'hex'), %s
FROM unnest(%s::int[], %s::int[], %s::text[], %s::text[])
    AS r (bucket, generation, algorithm, wrapped)
ON CONFLICT DO NOTHING"""


def insert_columns(rows: Sequence[BucketKey]) -> tuple[list[Any], ...]:
    """The last arguments of INSERT_BUCKETS."""
    return (
        [row.bucket for row in rows],
        [row.generation for row in rows],
        [row.algorithm for row in rows],
        [row.wrapped.hex() for row in rows],
    )

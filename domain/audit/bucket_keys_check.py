"""Checks what wraps the data keys: every one opens with the key of its bucket and of its epoch.

The events tell nothing of this: keys are compared with one another and with the files of epochs.
What does not open is named once, at the lowest place that is wrong, with the number of keys that
depend on it. Reading order: BucketKeysCheck.finish, `_check_bucket_key`, `_report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from domain.audit.events import Event
from domain.audit.results import CheckResult, Pace
from domain.store.errors import WrongKey
from domain.store.journal.bucket_keys import BUCKETS, BucketKey, bucket_of
from domain.store.journal.journal import Journal
from domain.store.privacy.bucket_keys import unwrap_bucket
from domain.store.privacy.cipher_suites import KeyedSuite, suite_named
from domain.store.privacy.epoch_keys import EpochKeys, EpochName
from domain.store.privacy.field_encryption import data_key_context
from domain.values.sealed_fields import KeyName

PAGE = 5000
"""Data keys of a page, about."""

DESTROYED_FOR = timedelta(hours=1)
"""How long the file of an epoch may still be there after the table says that it was destroyed, and
by how much the times of an erasure and of a renewal may differ."""

_COUNT = "SELECT count(*) FROM certledger.data_keys WHERE ledger = %s AND wrapped IS NOT NULL"

# One statement, so that all rows are of one moment.
_READ = """SELECT coalesce(b.bucket, k.bucket), coalesce(b.generation, k.bucket_generation),
    b.algorithm, b.epoch, e.key_id, b.wrapped, b.stale,
    k.owner, k.class, k.generation, k.algorithm, k.wrapped
FROM (SELECT * FROM certledger.bucket_keys
    WHERE ledger = %(ledger)s AND bucket >= %(first)s AND bucket < %(end)s) b
FULL JOIN (SELECT * FROM certledger.data_keys
    WHERE ledger = %(ledger)s AND bucket >= %(first)s AND bucket < %(end)s AND wrapped IS NOT NULL
    ) k ON k.bucket = b.bucket AND k.bucket_generation = b.generation
LEFT JOIN certledger.epochs e ON e.epoch = b.epoch
ORDER BY 1, 2, k.owner, k.class, k.generation"""

_EPOCHS = """SELECT e.epoch, e.key_id, e.destroyed_at, EXISTS (
    SELECT FROM certledger.bucket_keys b WHERE b.epoch = e.epoch)
FROM certledger.epochs e ORDER BY e.epoch"""

# A key that an erasure destroyed was there before; one that was never stored was wrapped by none.
_NOT_STALE = """SELECT b.bucket, b.generation FROM certledger.bucket_keys b
LEFT JOIN (SELECT bucket, max(generation) AS generation FROM certledger.bucket_keys
    WHERE ledger = %(ledger)s GROUP BY bucket) n ON n.bucket = b.bucket
LEFT JOIN (SELECT bucket, max(destroyed_at) AS destroyed_at FROM certledger.data_keys
    WHERE ledger = %(ledger)s AND destroyed_at > created_at GROUP BY bucket) d
    ON d.bucket = b.bucket
WHERE b.ledger = %(ledger)s AND NOT b.stale
AND (n.generation > b.generation OR d.destroyed_at > b.created_at + %(margin)s)
ORDER BY b.bucket, b.generation"""


class _Row(NamedTuple):
    """A data key with what wraps it; of either, everything is None if the row is missing."""

    bucket: int
    generation: int
    algorithm: str | None
    epoch: int
    key_id: str | None
    wrapped: bytes
    stale: bool
    owner: str | None
    data_class: str
    key_generation: int
    key_algorithm: str
    key_wrapped: bytes


class BucketKeysCheck:
    """Epochs, bucket keys and data keys that do not open, and bucket keys that would not go."""

    def __init__(self, journal: Journal, epoch_keys: EpochKeys) -> None:
        self.result = CheckResult("bucket keys")
        self._journal = journal
        self._files = epoch_keys
        self._opened: dict[EpochName, bytes] = {}
        self._closed: dict[EpochName, str] = {}
        # What there is no key for: of a bucket key that is missing, of an epoch that does not open.
        self._orphans: Counter[tuple[int, int]] = Counter()
        self._bucket_keys_under: Counter[EpochName] = Counter()
        self._data_keys_under: Counter[EpochName] = Counter()
        self._buckets: set[int] = set()

    def page(self, events: Sequence[Event]) -> None:
        """No event tells what wraps a key."""

    def finish(self, upto: int, pace: Pace) -> None:
        """Compare all keys, a share of the buckets at a time. Raises: Unavailable; as `pace`."""
        [(keys,)] = self._journal.query(_COUNT, (self._journal.ledger,))
        step = max(1, BUCKETS * PAGE // max(keys, PAGE))
        for first in range(0, BUCKETS, step):
            self._compare(first, first + step)
            pace(upto)
        self._report()
        self._check_epochs()
        self._check_stale()

    # --- reading ---------------------------------------------------------------------------------

    def _compare(self, first: int, end: int) -> None:
        rows = self._read(first, end)
        if not self._open_epochs(rows):
            rows = self._read(first, end)  # they may have been of before the end of an epoch
            self._open_epochs(rows)
        for _, of_key in groupby(rows, key=lambda row: (row.bucket, row.generation)):
            self._check_bucket_key(list(of_key))

    def _read(self, first: int, end: int) -> list[_Row]:
        place = {"ledger": self._journal.ledger, "first": first, "end": end}
        return [_Row(*row) for row in self._journal.query(_READ, place)]

    def _open_epochs(self, rows: Iterable[_Row]) -> bool:
        """Open the keys of all epochs of some rows. Returns: whether all opened."""
        names = {EpochName(row.epoch, row.key_id) for row in rows if row.key_id is not None}
        for name in names - self._opened.keys():
            try:
                self._opened[name] = self._files.open(*name).key
            except WrongKey as error:
                self._closed[name] = error.fields["reason"]
        return names <= self._opened.keys()

    # --- comparing -------------------------------------------------------------------------------

    def _check_bucket_key(self, rows: list[_Row]) -> None:
        """rows: of one bucket key, one for each data key that it wraps, or a single one."""
        head = rows[0]
        keys = [row for row in rows if row.owner is not None]
        if head.algorithm is None:
            self._orphans[head.bucket, head.generation] += len(keys)
            return
        self._buckets.add(head.bucket)
        if head.key_id is None:
            self._find(head, f"its epoch {head.epoch} is missing", len(keys))
            return
        epoch = EpochName(head.epoch, head.key_id)
        if epoch not in self._opened:
            self._bucket_keys_under[epoch] += 1
            self._data_keys_under[epoch] += len(keys)
            return
        try:
            key = unwrap_bucket(self._journal.ledger, _bucket_key(head), self._opened[epoch])
        except WrongKey:
            what = f"does not open with the key of epoch {head.epoch}: it was altered or exchanged"
            self._find(head, what, len(keys))
            return
        self.result.count("bucket keys opened")
        self._check_data_keys(keys, key)

    def _find(self, row: _Row, what: str, keys: int) -> None:
        self.result.find(
            f"{what}; it wraps {keys} data keys", row=_place(row.bucket, row.generation)
        )

    def _check_data_keys(self, rows: Iterable[_Row], key: bytes) -> None:
        """rows: of the data keys that one bucket key wraps."""
        ciphers: dict[str, KeyedSuite] = {}
        for row in rows:
            assert row.owner is not None
            name = KeyName(row.owner, row.data_class, row.key_generation)
            place = _place(row.bucket, row.generation)
            if bucket_of(row.owner) != row.bucket:
                what = f"is in bucket {row.bucket}, and belongs to {bucket_of(row.owner)}"
                self.result.find(what, row=f"key {name}")
                continue
            try:
                cipher = ciphers.get(row.key_algorithm)
                if cipher is None:
                    cipher = suite_named(row.key_algorithm).keyed(key)
                    ciphers[row.key_algorithm] = cipher
                context = data_key_context(self._journal.ledger, name)
                cipher.decrypt(bytes(row.key_wrapped), context)
            except WrongKey:
                what = f"does not open with {place}: it was altered or exchanged"
                self.result.find(what, row=f"key {name}")
                continue
            self.result.count("data keys opened")

    # --- what is missing or should be gone -------------------------------------------------------

    def _report(self) -> None:
        """Report what is missing, with the number of keys that depend on it."""
        for epoch in sorted(self._bucket_keys_under):
            below = f"{self._bucket_keys_under[epoch]} bucket keys, and by those "
            below += f"{self._data_keys_under[epoch]} data keys"
            what = f"{self._closed[epoch]}; it wraps {below}"
            self.result.find(what, row=f"epoch {epoch.number}")
        if not self._buckets:
            if lost := self._orphans.total():
                self.result.find(f"all bucket keys are missing; they wrapped {lost} data keys")
            return
        for place, keys in sorted(self._orphans.items()):
            what = f"is missing; it wrapped {keys} data keys"
            self.result.find(what, row=_place(*place))
        named = {bucket for bucket, _ in self._orphans}
        for bucket in sorted({*range(BUCKETS)} - self._buckets - named):
            self.result.find("has no key", row=f"bucket {bucket}")

    def _check_epochs(self) -> None:
        """The keys of epochs that are over are gone, and those that wrap something are not."""
        files = {path.name for path in self._files.files()}
        for number, key_id, destroyed_at, is_used in self._journal.query(_EPOCHS):
            row = f"epoch {number}"
            if destroyed_at is None:
                self.result.count("epochs in use")
            elif is_used:
                self.result.find("is marked as destroyed, and wraps bucket keys", row=row)
            elif (
                EpochName(number, key_id).file in files
                and destroyed_at < datetime.now(UTC) - DESTROYED_FOR
            ):
                what = f"its key is still in the key directory, and was destroyed at {destroyed_at}"
                self.result.find(what, row=row)

    def _check_stale(self) -> None:
        """No epoch may wrap a bucket key again under which a data key was destroyed."""
        what = "is not marked as stale, and a data key under it was destroyed or moved"
        arguments = {"ledger": self._journal.ledger, "margin": DESTROYED_FOR}
        for bucket, generation in self._journal.query(_NOT_STALE, arguments):
            self.result.find(what, row=_place(bucket, generation))


def _bucket_key(row: _Row) -> BucketKey:
    assert row.algorithm is not None
    assert row.key_id is not None
    return BucketKey(
        row.bucket,
        row.generation,
        row.algorithm,
        row.epoch,
        row.key_id,
        bytes(row.wrapped),
        row.stale,
    )


def _place(bucket: int, generation: int) -> str:
    return f"bucket key {bucket}/{generation}"

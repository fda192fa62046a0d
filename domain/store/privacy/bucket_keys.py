"""The bucket keys of a ledger in memory: they wrap its data keys, and epochs wrap them.

All rows of a ledger are read together, 1,024 small ones, when one is needed that is not known and
before a new data key if they were read a while ago: so an append costs no further query. A key is
unwrapped when it is first used. Reading order: BucketRows, BucketKeys.newest, BucketKeys.find,
make_buckets.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import Any, Protocol

from domain.store.errors import WrongEpochKey, WrongKey
from domain.store.journal.bucket_keys import (
    BUCKETS,
    INSERT_BUCKETS,
    INSERT_EPOCH,
    LOCK_EPOCHS,
    SELECT_BUCKETS,
    SELECT_LAST_EPOCH,
    SELECT_NEWEST_EPOCH,
    BucketKey,
    bucket_from_row,
    insert_columns,
)
from domain.store.journal.journal import Journal
from domain.store.postgres.connection import Cursor
from domain.store.privacy.cipher_suites import KEY_BYTES, KeyedSuite, suite_named
from domain.store.privacy.epoch_keys import Epoch, EpochKeys

CACHE_SECONDS = 15.0
"""How long the newest generations are used without reading the rows again."""

RETRY_SECONDS = 1.0
"""How long the rows are not read again for an epoch whose key could not be opened."""

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs a statement that reads. Returns: its rows."""

Name = tuple[int, int]
"""Bucket and generation."""


class BucketRows(Protocol):
    """The rows of one ledger; `StoredBuckets` has them in the database."""

    def read(self) -> list[BucketKey]: ...
    def make(self, keys: EpochKeys, algorithm: str) -> None: ...
    def newest_epoch(self) -> tuple[int, str] | None: ...


class BucketKeys:
    """The bucket keys of one ledger. Thread-safe."""

    def __init__(
        self,
        ledger: str,
        epoch_keys: EpochKeys,
        rows: BucketRows,
        *,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        """Reads nothing yet."""
        self._ledger = ledger
        self._epochs = epoch_keys
        self._stored = rows
        self._cache_seconds = cache_seconds
        self._until = 0.0
        self._rows: dict[Name, BucketKey] = {}
        self._newest: dict[int, int] = {}
        self._keyed: dict[tuple[int, int, str], KeyedSuite] = {}
        self._keys: dict[Name, bytes] = {}
        self._opened: dict[int, Epoch] = {}
        self._closed: dict[int, float] = {}  # epoch -> until when it is taken for one without a key
        self._lock = threading.RLock()

    @property
    def epoch_keys(self) -> EpochKeys:
        """The keys that wrap them."""
        return self._epochs

    def newest(self, bucket: int, algorithm: str) -> tuple[int, KeyedSuite]:
        """The generation of a bucket that wraps new data keys, and its cipher in a suite.

        Makes the buckets of a ledger that has none. Raises: WrongKey, WrongEpochKey.
        """
        with self._lock:
            if self._until < time.monotonic():
                self._refresh()
            if bucket not in self._newest:
                self._stored.make(self._epochs, algorithm)
                self._refresh()
            generation = self._newest[bucket]
            return generation, self.find(bucket, generation, algorithm)

    def find(self, bucket: int, generation: int | None, algorithm: str) -> KeyedSuite:
        """The cipher of a bucket key in a suite. Raises: WrongKey if there is none."""
        keyed = self._keyed.get((bucket, generation or 0, algorithm))
        if keyed is not None and self._until >= time.monotonic():
            return keyed
        with self._lock:
            name = bucket, generation or 0
            # Also when they are old, so that no key of a generation that is gone stays in memory.
            if name not in self._rows or self._until < time.monotonic():
                self._refresh()
            key = self._unwrap(name)
            keyed = self._keyed[(*name, algorithm)] = suite_named(algorithm).keyed(key)
            return keyed

    def unreadable_from(self, now: datetime) -> date:
        """The day from which nothing opens what is erased now; see `EpochKeys`.

        Raises: WrongEpochKey, psycopg2.Error.
        """
        newest = self._stored.newest_epoch()
        if newest is None:
            self._stored.make(self._epochs, self._epochs.algorithm)
            newest = self._stored.newest_epoch()
            assert newest is not None
        return self._epochs.unreadable_from(self._epochs.open(*newest), now)

    def forget(self) -> None:
        """Drop everything from memory."""
        with self._lock:
            self._until = 0.0
            self._rows.clear()
            self._newest.clear()
            self._keyed.clear()
            self._keys.clear()
            self._opened.clear()

    def _refresh(self) -> None:
        rows = self._stored.read()
        self._opened.clear()
        self._rows = {(row.bucket, row.generation): row for row in rows}
        self._newest = {row.bucket: row.generation for row in rows}  # in order of generation
        for name in self._keys.keys() - self._rows.keys():
            del self._keys[name]
        self._keyed = {name: one for name, one in self._keyed.items() if name[:2] in self._rows}
        self._until = time.monotonic() + self._cache_seconds

    def _unwrap(self, name: Name) -> bytes:
        found = self._keys.get(name)
        if found is None:
            found = self._keys[name] = self._open_current(name)
        return found

    def _open_current(self, name: Name) -> bytes:
        """Open a key, with the rows as they are now if its epoch cannot be opened."""
        try:
            return self._open(name)
        except WrongEpochKey:
            if self._closed.get(self._rows[name].epoch, 0.0) > time.monotonic():
                raise
        self._refresh()  # the rows may be of before the end of their epoch
        try:
            return self._open(name)
        except WrongEpochKey:
            self._closed[self._rows[name].epoch] = time.monotonic() + RETRY_SECONDS
            raise

    def _open(self, name: Name) -> bytes:
        row = self._rows.get(name)
        if row is None:
            raise WrongKey(reason=f"there is no key {name[1]} of bucket {name[0]}")
        epoch = self._opened.get(row.epoch)
        if epoch is None:
            epoch = self._opened[row.epoch] = self._epochs.open(row.epoch, row.key_id)
        return unwrap_bucket(self._ledger, row, epoch.key)


def wrap_bucket(
    ledger: str, name: Name, key: bytes, epoch: Epoch, algorithm: str, *, stale: bool = False
) -> BucketKey:
    """The row of a bucket key under the key of an epoch."""
    wrapped = suite_named(algorithm).encrypt(epoch.key, key, _context(ledger, *name))
    return BucketKey(*name, algorithm, *epoch.name, wrapped, stale)


def unwrap_bucket(ledger: str, row: BucketKey, epoch_key: bytes) -> bytes:
    """The bucket key of a row. Raises: WrongKey."""
    context = _context(ledger, row.bucket, row.generation)
    return suite_named(row.algorithm).decrypt(epoch_key, row.wrapped, context)


def new_bucket(ledger: str, name: Name, epoch: Epoch, algorithm: str) -> BucketKey:
    """The row of a new bucket key."""
    return wrap_bucket(ledger, name, os.urandom(KEY_BYTES), epoch, algorithm)


def _context(ledger: str, bucket: int, generation: int) -> bytes:
    return f"certledger bucket key v1|{ledger}|{bucket}|{generation}".encode()


def make_buckets(
    cursor: Cursor, ledger: str, keys: EpochKeys, algorithm: str, now: datetime
) -> None:
    """Insert the first generation of every bucket that has none, in an open transaction.

    Begins the first epoch if there is none. Raises: WrongEpochKey, psycopg2.Error.
    """
    cursor.execute(LOCK_EPOCHS)
    cursor.execute(SELECT_NEWEST_EPOCH)
    newest = cursor.fetchone()
    epoch = keys.open(*newest) if newest else add_epoch(cursor, keys, None, now)
    rows = [new_bucket(ledger, (bucket, 1), epoch, algorithm) for bucket in range(BUCKETS)]
    insert_buckets(cursor, ledger, epoch, rows, now)


def add_epoch(cursor: Cursor, keys: EpochKeys, before: Epoch | None, now: datetime) -> Epoch:
    """Begin an epoch, under LOCK_EPOCHS. before: the newest so far. Raises: WrongEpochKey."""
    cursor.execute(SELECT_LAST_EPOCH)
    [(last,)] = cursor.fetchall()
    ends_at = before and before.ends_at
    epoch = keys.make(last + 1, keys.end_after(ends_at, max(now, ends_at or now)))
    cursor.execute(INSERT_EPOCH, (*epoch.name, epoch.ends_at, now))
    return epoch


def insert_buckets(
    cursor: Cursor, ledger: str, epoch: Epoch, rows: Sequence[BucketKey], now: datetime
) -> None:
    """Insert bucket keys that are wrapped under an epoch; those that exist stay."""
    arguments = (ledger, epoch.name.number, now, *insert_columns(rows))
    cursor.execute(INSERT_BUCKETS, arguments)


class StoredBuckets:
    """The bucket keys of a ledger in the database."""

    def __init__(
        self,
        ledger: str,
        query: Query,
        unit_of_work: Callable[[], AbstractContextManager[Cursor]] | None = None,
    ) -> None:
        """unit_of_work: a transaction that commits; None for a reader, which makes none."""
        self._ledger = ledger
        self._query = query
        self._unit_of_work = unit_of_work

    def read(self) -> list[BucketKey]:
        """All rows, in order. Raises: Unavailable, psycopg2.Error."""
        return list(map(bucket_from_row, self._query(SELECT_BUCKETS, (self._ledger,))))

    def make(self, keys: EpochKeys, algorithm: str) -> None:
        """Make the missing ones. Raises: WrongKey for a reader; WrongEpochKey, psycopg2.Error."""
        if self._unit_of_work is None:
            raise WrongKey(reason="the ledger has no bucket keys")
        with self._unit_of_work() as cursor:
            make_buckets(cursor, self._ledger, keys, algorithm, datetime.now(UTC))

    def newest_epoch(self) -> tuple[int, str] | None:
        """The newest epoch. Raises: as `read`."""
        for number, key_id in self._query(SELECT_NEWEST_EPOCH, ()):
            return number, key_id
        return None


def bucket_keys_of(journal: Journal, epoch_keys: EpochKeys) -> BucketKeys:
    """The bucket keys of a journal's ledger."""
    rows = StoredBuckets(journal.ledger, journal.query, journal.unit_of_work)
    return BucketKeys(journal.ledger, epoch_keys, rows)

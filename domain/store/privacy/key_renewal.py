"""Renews the keys that wrap others: ends epochs, and destroys the keys that open what was erased.

One process of a database does it at a time. Each round, any of which may be interrupted:

1. Some time before the newest epoch is over, the next one begins.
2. Bucket keys of earlier epochs are wrapped under the newest one, unless they are stale: then the
   bucket gets a new generation, under the newest epoch, and its data keys are wrapped under that.
3. A stale generation that wraps nothing is deleted, once no process can wrap under it any more.
4. Stored indexes of persons and logins come under the newest epoch, once every process knows it;
   a rebuild does the same for the views.
5. An epoch that is over and that nothing is under is destroyed: its files are overwritten and
   unlinked. Not in the minute after the next one began: a standby that takes over then may lack
   the last seconds, and still needs them.

So a data key that was destroyed in an epoch is wrapped, in whatever copy of the database, under a
bucket key that no later epoch ever wrapped; and nobody can try texts against its keyed hashes. Rows
change under the head lock of their ledger only, a page at a time, so that writers wait for a page
at most. Reading order: KeyRenewal.round, `_turn`, `_rewrap_buckets`, `_renew`, `_destroy`; what
comes under the newest epoch: index_renewal.py.
"""

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from domain.store.errors import WrongEpochKey
from domain.store.journal.bucket_keys import (
    LOCK_EPOCHS,
    SELECT_BUCKETS,
    SELECT_NEEDED_EPOCHS,
    SELECT_NEWEST_EPOCH,
    BucketKey,
    bucket_from_row,
)
from domain.store.journal.data_keys import SELECT_KEYS, DataKey, key_from_row
from domain.store.keys.seals import Sealer
from domain.store.postgres.connection import Connection, Cursor, connect
from domain.store.privacy.bucket_keys import (
    add_epoch,
    insert_buckets,
    new_bucket,
    unwrap_bucket,
    wrap_bucket,
)
from domain.store.privacy.cipher_suites import KeyedSuite, suite_named
from domain.store.privacy.epoch_keys import Epoch, EpochKeys, EpochName, parse_file_name
from domain.store.privacy.field_encryption import data_key_context
from domain.store.privacy.index_renewal import IndexRenewal, ledger_transaction, transaction

REST = timedelta(seconds=60)
"""Age of a bucket's new generation at which no process wraps under the one before: they read the
generations again after CACHE_SECONDS. The database refuses a later attempt. The age of an epoch,
too, at which the one before may go."""

PAGE = 500
"""Data keys that are wrapped again while a ledger's writer waits, about 20 ms."""

_ONE_PROCESS = "SELECT pg_try_advisory_lock(hashtextextended('certledger key renewal', 0))"

_LEDGERS = "SELECT ledger FROM certledger.ledgers ORDER BY ledger"

_REWRAP_BUCKETS = """UPDATE certledger.bucket_keys b
SET epoch = %s, algorithm = r.algorithm, wrapped = decode(r.wrapped, 'hex')
FROM unnest(%s::int[], %s::int[], %s::text[], %s::text[])
    AS r (bucket, generation, algorithm, wrapped)
WHERE b.ledger = %s AND b.bucket = r.bucket AND b.generation = r.generation AND NOT b.stale"""

_OLDER_KEYS = (
    SELECT_KEYS
    + """WHERE ledger = %s AND bucket = %s AND bucket_generation < %s AND wrapped IS NOT NULL
    ORDER BY owner, class, generation LIMIT %s"""
)

_REWRAP_KEYS = """UPDATE certledger.data_keys k
SET wrapped = decode(r.wrapped, 'hex'), bucket_generation = %s
FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[])
    AS r (owner, class, generation, wrapped)
WHERE k.ledger = %s AND k.owner = r.owner AND k.class = r.class AND k.generation = r.generation
AND k.wrapped IS NOT NULL"""

_DELETE_OLDER = """DELETE FROM certledger.bucket_keys b USING certledger.bucket_keys n
WHERE b.ledger = %s AND n.ledger = b.ledger AND n.bucket = b.bucket AND n.generation > b.generation
AND n.created_at <= %s AND NOT EXISTS (
    SELECT FROM certledger.data_keys k WHERE k.ledger = b.ledger AND k.bucket = b.bucket
    AND k.bucket_generation = b.generation AND k.wrapped IS NOT NULL)"""

_LIVE = """SELECT epoch, key_id, ends_at, made_at FROM certledger.epochs
WHERE destroyed_at IS NULL ORDER BY epoch"""

_END_EPOCHS = """UPDATE certledger.epochs e SET destroyed_at = %s
WHERE e.destroyed_at IS NULL AND e.epoch = ANY(%s)
AND NOT EXISTS (SELECT FROM certledger.bucket_keys b WHERE b.epoch = e.epoch)
AND NOT EXISTS (SELECT FROM certledger.person_claims p WHERE split_part(p.index, ':', 1)
    IN ('hmac-sha256.' || e.epoch, 'hmac-sm3.' || e.epoch))
AND NOT EXISTS (SELECT FROM certledger.logins l WHERE split_part(l.key_id, '.', 2) = e.epoch::text)
RETURNING e.epoch"""

_DESTROYED = """SELECT epoch, key_id FROM certledger.epochs e
WHERE destroyed_at IS NOT NULL
AND NOT EXISTS (SELECT FROM certledger.bucket_keys b WHERE b.epoch = e.epoch)
AND NOT EXISTS (SELECT FROM certledger.logins l WHERE split_part(l.key_id, '.', 2) = e.epoch::text)
"""
"""Who has the database may mark an epoch as destroyed that something is under that nothing else
brings back: its file stays. It stays to its end, too, whatever they have deleted."""

_STALE = "SELECT EXISTS (SELECT FROM certledger.bucket_keys WHERE stale)"

log = logging.getLogger("certledger.keys")


class _Live(NamedTuple):
    """A row of _LIVE."""

    number: int
    key_id: str
    ends_at: datetime
    made_at: datetime


class KeyRenewal:
    """The work of one database. Used by one thread."""

    def __init__(
        self,
        epoch_keys: EpochKeys,
        algorithm: str,
        sealer: Sealer,
        *,
        in_use: Callable[[Cursor], Collection[int]] = lambda cursor: (),
        rest: timedelta = REST,
        page: int = PAGE,
    ) -> None:
        """algorithm: of new wrappings. sealer: of rows of logins.

        in_use: numbers of epochs that something outside the store is under, such as a view.
        rest, page: see REST and PAGE; tests give others.
        """
        self._keys = epoch_keys
        self._algorithm = algorithm
        self._in_use = in_use
        self._rest = rest
        self._page = page
        self._indexes = IndexRenewal(epoch_keys, sealer, page)

    def round(self, connection: Connection, now: datetime) -> bool:
        """Do what is due, unless another process does.

        connection: in autocommit mode, and the same each time; it holds the lock of this work.
        Returns: whether nothing is left to be done at this time.
        Raises: WrongEpochKey, WrongKey, psycopg2.Error.
        """
        with connection.cursor() as cursor:
            cursor.execute(_ONE_PROCESS)
            if not cursor.fetchone()[0]:  # type: ignore[index]  # it returns one row
                return True
            newest = self._turn(cursor, now)
            if newest is None:
                return True
            cursor.execute(_LEDGERS)
            ledgers = [ledger for (ledger,) in cursor.fetchall()]
            for ledger in ledgers:
                self._renew(cursor, ledger, newest, now)
            *older, last = self._live(cursor)
            if older and last.made_at <= now - self._rest:
                self._indexes.renew(cursor, ledgers, [(e.number, e.key_id) for e in older], newest)
            is_over = self._destroy(cursor, now)
            cursor.execute(_STALE)
            return is_over and not cursor.fetchone()[0]  # type: ignore[index]

    def _live(self, cursor: Cursor) -> list[_Live]:
        cursor.execute(_LIVE)
        return [_Live(*row) for row in cursor.fetchall()]

    def _turn(self, cursor: Cursor, now: datetime) -> Epoch | None:
        """The newest epoch, after the next one began if it was time; None before the first."""
        with transaction(cursor):
            cursor.execute(LOCK_EPOCHS)
            cursor.execute(SELECT_NEWEST_EPOCH)
            found = cursor.fetchone()
            if found is None:
                return None
            newest = self._keys.open(*found)
            if not self._keys.is_followed(newest, now):
                return newest
            newest = add_epoch(cursor, self._keys, newest, now)
        log.info("epoch %d began, until %s", newest.name.number, newest.ends_at.isoformat())
        return newest

    def _renew(self, cursor: Cursor, ledger: str, newest: Epoch, now: datetime) -> None:
        """Bring the keys of one ledger under the newest epoch, except for what has to go."""
        rows = self._rewrap_buckets(cursor, ledger, newest, now)
        generations: dict[int, list[BucketKey]] = {}
        for row in rows:
            generations.setdefault(row.bucket, []).append(row)
        for of_bucket in generations.values():
            if len(of_bucket) > 1:
                while self._rewrap_page(cursor, ledger, of_bucket):
                    pass
        if any(len(of_bucket) > 1 for of_bucket in generations.values()):
            with ledger_transaction(cursor, ledger):
                cursor.execute(_DELETE_OLDER, (ledger, now - self._rest))

    def _rewrap_buckets(
        self, cursor: Cursor, ledger: str, newest: Epoch, now: datetime
    ) -> list[BucketKey]:
        """Wrap bucket keys under the newest epoch, and begin generations for stale ones.

        Returns: all bucket keys of the ledger, in order.
        """
        with ledger_transaction(cursor, ledger):
            rows = _buckets(cursor, ledger)
            older = [row for row in rows if row.epoch < newest.name.number and not row.stale]
            last = {row.bucket: row for row in rows}
            stale = [row for row in last.values() if row.stale]
            if not older and not stale:
                return rows
            if older:
                self._wrap_under(cursor, ledger, newest, older)
            if stale:
                fresh = [
                    new_bucket(ledger, (row.bucket, row.generation + 1), newest, self._algorithm)
                    for row in stale
                ]
                insert_buckets(cursor, ledger, newest, fresh, now)
            return _buckets(cursor, ledger)

    def _wrap_under(
        self, cursor: Cursor, ledger: str, newest: Epoch, rows: list[BucketKey]
    ) -> None:
        keys = {row: unwrap_bucket(ledger, row, self._epoch_key(row)) for row in rows}
        wrapped = [
            wrap_bucket(ledger, (row.bucket, row.generation), key, newest, self._algorithm)
            for row, key in keys.items()
        ]
        columns = (
            [row.bucket for row in wrapped],
            [row.generation for row in wrapped],
            [row.algorithm for row in wrapped],
            [row.wrapped.hex() for row in wrapped],
        )
        cursor.execute(_REWRAP_BUCKETS, (newest.name.number, *columns, ledger))

    def _rewrap_page(self, cursor: Cursor, ledger: str, rows: list[BucketKey]) -> int:
        """Wrap some data keys of a bucket under its newest generation. Returns: how many."""
        newest = rows[-1]
        with ledger_transaction(cursor, ledger):
            cursor.execute(_OLDER_KEYS, (ledger, newest.bucket, newest.generation, self._page))
            keys = list(map(key_from_row, cursor.fetchall()))
            if keys:
                opened = {r.generation: unwrap_bucket(ledger, r, self._epoch_key(r)) for r in rows}
                wrapped = [_rewrapped(ledger, key, opened, newest.generation) for key in keys]
                columns = (
                    [key.owner for key in keys],
                    [key.data_class for key in keys],
                    [key.generation for key in keys],
                    [each.hex() for each in wrapped],
                )
                cursor.execute(_REWRAP_KEYS, (newest.generation, *columns, ledger))
        return len(keys)

    def _epoch_key(self, row: BucketKey) -> bytes:
        return self._keys.open(row.epoch, row.key_id).key

    def _destroy(self, cursor: Cursor, now: datetime) -> bool:
        """Destroy the keys of epochs that nothing needs; mend the files of the others.

        Returns: whether none is left that should have been destroyed.
        """
        *older, last = self._live(cursor)
        over = {live.number for live in older if self._end_of(live) <= now}
        ended: set[int] = set()
        if last.made_at <= now - self._rest and over:
            with transaction(cursor):
                cursor.execute(LOCK_EPOCHS)
                cursor.execute(_END_EPOCHS, (now, sorted(over - {*self._in_use(cursor)})))
                ended = {number for (number,) in cursor.fetchall()}
        cursor.execute(_DESTROYED)
        gone = set(cursor.fetchall())
        here = {parse_file_name(path) for path in self._keys.files()} & gone
        if due := sorted(name for name in here if self._is_over(name, now)):
            log.info("%d files of epochs destroyed", self._keys.destroy(due))
        cursor.execute(SELECT_NEEDED_EPOCHS)
        if written := self._keys.mend(cursor.fetchall()):
            log.info("%d files of epochs written again", written)
        return ended == over

    def _is_over(self, name: EpochName, now: datetime) -> bool:
        """Whether the end in a file has come; of one that was destroyed by half, it has."""
        try:
            return self._keys.open(*name).ends_at <= now
        except WrongEpochKey:
            return True

    def _end_of(self, live: _Live) -> datetime:
        """As its file says, which nobody can change who has the database only."""
        try:
            return self._keys.open(live.number, live.key_id).ends_at
        except WrongEpochKey:
            return live.ends_at


def _rewrapped(ledger: str, key: DataKey, opened: dict[int, bytes], generation: int) -> bytes:
    """A data key under another generation of its bucket; it keeps its suite."""
    assert key.wrapped is not None
    assert key.bucket_generation is not None
    context = data_key_context(ledger, key.name)
    plain = _cipher(key, opened[key.bucket_generation]).decrypt(key.wrapped, context)
    return _cipher(key, opened[generation]).encrypt(plain, context)


def _cipher(key: DataKey, bucket_key: bytes) -> KeyedSuite:
    return suite_named(key.algorithm).keyed(bucket_key)


def _buckets(cursor: Cursor, ledger: str) -> list[BucketKey]:
    cursor.execute(SELECT_BUCKETS, (ledger,))
    return list(map(bucket_from_row, cursor.fetchall()))


def check_epochs(dsn: str, epoch_keys: EpochKeys) -> None:
    """Open the key of every epoch that something is wrapped under; done at the start of a service.

    Raises: WrongEpochKey; psycopg2.Error.
    """
    connection = connect(dsn, name="certledger keys")
    try:
        with connection.cursor() as cursor:

            def read() -> list[tuple[int, str]]:
                cursor.execute(SELECT_NEEDED_EPOCHS)
                return cursor.fetchall()

            needed = check_needed_epochs(read, epoch_keys)
    finally:
        connection.close()
    strange = {path.name for path in epoch_keys.files()}
    strange -= {f"epoch_{number}_{key_id}" for number, key_id in needed}
    if strange:
        log.info("files of epochs that nothing here needs: %s", ", ".join(sorted(strange)))


def check_needed_epochs(
    read: Callable[[], list[tuple[int, str]]], epoch_keys: EpochKeys
) -> list[tuple[int, str]]:
    """Open the keys of the epochs that SELECT_NEEDED_EPOCHS names.

    read: its rows as they are now. Returns: the rows. Raises: WrongEpochKey.
    """
    needed = read()
    try:
        epoch_keys.check(needed)
    except WrongEpochKey:
        needed = read()  # another process may have ended one meanwhile
        epoch_keys.check(needed)
    return needed


def count_overdue(cursor: Cursor, before: datetime) -> int:
    """How many epochs ended before a time and still have a key. Raises: psycopg2.Error."""
    cursor.execute(
        "SELECT count(*) FROM certledger.epochs WHERE destroyed_at IS NULL AND ends_at < %s",
        (before,),
    )
    [(count,)] = cursor.fetchall()
    return int(count)

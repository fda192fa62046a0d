"""The epochs of a database whose keys there still are, in memory.

Keyed hashes of personal text are stored under the key of an epoch (`index_ciphers`, and
`domain.store.keys.command_hashes`), so that they go with it. For a while there are two epochs: what
is stored may be under either, and what is written is under one that every process knows by then.
Reading order: LiveEpochs.writing, `all`, `refresh`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg2
import psycopg2.extensions

from domain.store.errors import WrongEpochKey
from domain.store.journal.bucket_keys import LOCK_EPOCHS, SELECT_NEWEST_EPOCH
from domain.store.postgres.connection import Cursor, connect
from domain.store.privacy.bucket_keys import add_epoch
from domain.store.privacy.epoch_keys import Epoch, EpochKeys, EpochName

CACHE_SECONDS = 15.0
"""How long the epochs are used without reading the rows again."""

RETRY_SECONDS = 1.0
"""How long the epochs of before are used where the database does not answer."""

SETTLED_SECONDS = 60.0
"""Age from which an epoch is written under: every process knows by then that it began."""

SELECT_LIVE_EPOCHS = f"""SELECT epoch, key_id,
    clock_timestamp() - made_at >= interval '{SETTLED_SECONDS} seconds'
FROM certledger.epochs WHERE destroyed_at IS NULL ORDER BY epoch DESC"""

_IDLE = psycopg2.extensions.TRANSACTION_STATUS_IDLE

Row = tuple[int, str, bool]
"""Number and id of the key of an epoch, and whether it is settled."""


class _ReadEpochs(NamedTuple):
    """epochs: newest first, those whose keys open. writing: the one to write under."""

    epochs: tuple[Epoch, ...]
    writing: Epoch


class LiveEpochs:
    """The epochs that there are, as of at most CACHE_SECONDS ago. Thread-safe.

    Its properties and methods raise WrongEpochKey if no key opens, and psycopg2.Error if the
    database does not answer and never has.
    """

    def __init__(self, read: Callable[[], list[Row]], epoch_keys: EpochKeys) -> None:
        """Reads nothing yet. read: the rows of SELECT_LIVE_EPOCHS, of which there is one."""
        self._read = read
        self._keys = epoch_keys
        self._known: _ReadEpochs | None = None
        self._failed: WrongEpochKey | None = None
        self._until = 0.0
        self._is_watched = False
        self._lock = threading.Lock()

    @property
    def writing(self) -> Epoch:
        """The epoch to write under."""
        return self._current().writing

    @property
    def all(self) -> tuple[Epoch, ...]:
        """Every epoch that something may be stored under, newest first."""
        return self._current().epochs

    def writing_key(self) -> tuple[int, bytes]:
        """Number and key of the epoch to write under."""
        epoch = self.writing
        return epoch.name.number, epoch.key

    def key_of(self, number: int) -> bytes | None:
        """The key of an epoch by its number; None if it is gone."""
        if number > self.newest():  # it began while this process was stopped
            self.refresh()
        epochs = (epoch for epoch in self.all if epoch.name.number == number)
        return next((epoch.key for epoch in epochs), None)

    def newest(self) -> int:
        """The number of the newest epoch."""
        return self.all[0].name.number

    def ensure_known(self, number: int | None) -> None:
        """Learn of the newest epoch of the database, if that is not known yet.

        A process that was stopped, or cannot open the key, would not find what others have stored
        under it. number: None for a database without epochs. Raises: WrongEpochKey, psycopg2.Error.
        """
        if number is None or number <= self.newest():
            return
        self.refresh()
        if number > self.newest():
            raise self._failed or WrongEpochKey(reason=f"epoch {number} is over")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """For a block in which somebody calls `refresh`: nothing else waits for the database."""
        self.refresh()
        self._is_watched = True
        try:
            yield
        finally:
            self._is_watched = False

    def _current(self) -> _ReadEpochs:
        known = self._known
        if known is None:
            return self.refresh()
        if not self._is_watched and self._until < time.monotonic():
            try:
                return self.refresh()
            except psycopg2.Error:  # a batch of commands learns of what began meanwhile
                self._until = time.monotonic() + RETRY_SECONDS
        return known

    def refresh(self) -> _ReadEpochs:
        """Read the rows again. Raises: WrongEpochKey, psycopg2.Error."""
        with self._lock:
            rows = self._read()
            opened = {epoch.name: epoch for epoch in (self._known.epochs if self._known else ())}
            epochs: list[Epoch] = []
            self._failed = None
            for number, key_id, _ in rows:
                known = opened.get(EpochName(number, key_id))
                try:
                    epochs.append(known or self._keys.open(number, key_id))
                except WrongEpochKey as error:  # it may have been destroyed since
                    self._failed = self._failed or error
            if not epochs:
                raise self._failed or WrongEpochKey(reason="there is no epoch")
            open_rows = [row for row in rows if EpochName(*row[:2]) in {e.name for e in epochs}]
            name = to_write_under(open_rows)
            writing = next(epoch for epoch in epochs if epoch.name == name)
            self._known = _ReadEpochs(tuple(epochs), writing)
            self._until = time.monotonic() + CACHE_SECONDS
            return self._known


def to_write_under(rows: Sequence[Row]) -> EpochName:
    """The newest epoch that is settled; if none is, the one that is known for longest."""
    settled = [row for row in rows if row[2]]
    number, key_id, _ = settled[0] if settled else rows[-1]
    return EpochName(number, key_id)


def live_epochs_of(dsn: str, epoch_keys: EpochKeys) -> LiveEpochs:
    """The epochs of a database, read on a connection for each time."""

    def read() -> list[Row]:
        with (
            closing(connect(dsn, name="certledger epochs")) as connection,
            connection.cursor() as cursor,
        ):
            return read_live_epochs(cursor, epoch_keys)

    return LiveEpochs(read, epoch_keys)


def read_live_epochs(cursor: Cursor, epoch_keys: EpochKeys) -> list[Row]:
    """The rows of SELECT_LIVE_EPOCHS; the first epoch begins if there is none.

    cursor: in autocommit mode, or in a transaction. Raises: WrongEpochKey, psycopg2.Error.
    """
    cursor.execute(SELECT_LIVE_EPOCHS)
    rows: list[Row] = cursor.fetchall()
    if rows:
        return rows
    is_open = cursor.connection.info.transaction_status != _IDLE
    cursor.execute("SAVEPOINT epochs" if is_open else "BEGIN")
    try:
        cursor.execute(LOCK_EPOCHS)
        cursor.execute(SELECT_NEWEST_EPOCH)
        if cursor.fetchone() is None:
            add_epoch(cursor, epoch_keys, None, datetime.now(UTC))
    except BaseException:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK TO epochs" if is_open else "ROLLBACK")
        raise
    cursor.execute("RELEASE epochs" if is_open else "COMMIT")
    cursor.execute(SELECT_LIVE_EPOCHS)
    return cursor.fetchall()

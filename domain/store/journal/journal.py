"""The journal of one ledger: append under the head lock, read in order of position.

The writer assigns positions under the head lock, without gaps and in commit order. So a reader at
position n has read every event up to n, and no event with a smaller position appears later.
Reading order: Journal.transaction, `optimistic_batch` and `commit_optimistic`, then its reads.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import psycopg2
import psycopg2.errors

from domain.store.errors import (
    InvalidLedgerName,
    NoJournalKey,
    SiteCodeTaken,
    UnknownLedger,
)
from domain.store.journal.batch import Batch
from domain.store.journal.key_ranges import KEY_STREAM_SQL, KEY_TOPICS, with_key_ranges
from domain.store.journal.last_seen import LastSeen
from domain.store.journal.logins import SELECT_LOGINS, LoginRow, login_from_row
from domain.store.journal.read_cache import SELECT_CLAIMS_UNDER, HeadConflict, ReadCache
from domain.store.journal.records import Head, KnownCommand, RecordedEvent
from domain.store.journal.sealed_rows import (
    COMMAND_COLUMNS,
    EVENT_COLUMNS,
    HEAD_COLUMNS,
    check_positions,
    check_versions,
    command_from_row,
    event_from_row,
    head_from_row,
)
from domain.store.journal.statements import ReadRequest
from domain.store.journal.transaction import OptimisticBatch, Transaction, commit_optimistic
from domain.store.keys.login_keys import LoginName
from domain.store.keys.seals import LedgerSealer
from domain.store.postgres.connection import (
    Cursor,
    PgConnection,
    connect,
    leave_pool,
    shared_pool,
)
from domain.store.postgres.errors import unavailable

_LEDGER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PAGE = 1000  # events per query: about a megabyte
_NO_READS = ReadRequest()

# Pools shared by all ledgers of the process. A ledger uses up to two writer connections at a time:
# one commits a batch, the other executes the next one.
_WRITER, _WRITERS = "certledger writer", 64
_READER, _READERS = "certledger reader", 16

# A writer prepares its statements once, perhaps while the tables are empty, and may run them for
# years: the plans have to probe indexes, whatever the statistics were at that time.
_WRITER_SETTINGS = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}

_LEAF_AT = "SELECT leaf_hash FROM certledger.journal WHERE ledger = %s AND position = %s"

R = TypeVar("R", bound=ReadCache)

# recorded_at never decreases along position, so binary search finds a time without an index.
_POSITION_AT = """
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, position + 1 FROM certledger.ledgers WHERE ledger = %(ledger)s
    UNION ALL
    SELECT CASE WHEN j.recorded_at <= %(time)s THEN j.position ELSE s.low END,
           CASE WHEN j.recorded_at <= %(time)s THEN s.high ELSE j.position END
    FROM search s JOIN certledger.journal j
        ON j.ledger = %(ledger)s AND j.position = (s.low + s.high) / 2
    WHERE s.high - s.low > 1
)
SELECT max(low) FROM search"""


class Journal:
    """One ledger's events. Thread-safe; opens connections when they are first needed.

    Whatever it reads has a right seal: a read raises SealBroken instead of returning an event,
    head or command that has none, or events of which one is missing.
    """

    def __init__(
        self,
        dsn: str,
        ledger: str,
        sealer: LedgerSealer | None,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Name the ledger; opens no connection yet.

        dsn: any login that is a member of certledger_app, the owner included.
        sealer: None where the journal key is not known; then no seal is checked and nothing can be
            written.
        clock: aware time for recorded_at; the database server's own if None, so that several
            processes on several machines agree.
        Raises: InvalidLedgerName.
        """
        check_ledger_name(ledger)
        self.dsn = dsn
        self.ledger = ledger
        self._sealer = sealer
        self._ranges_upto: int | None = None
        self.last_seen = LastSeen()
        self._clock = clock
        self._writers = shared_pool(dsn, _WRITER, _WRITERS, _WRITER_SETTINGS)
        self._readers = shared_pool(dsn, _READER, _READERS)
        self._closed = False

    def close(self) -> None:
        """Release the connection pools; do not use the journal afterwards. May be repeated."""
        if not self._closed:
            self._closed = True
            leave_pool(self.dsn, _WRITER)
            leave_pool(self.dsn, _READER)

    def create_ledger(self, site_code: str | None = None) -> None:
        """Insert the ledger's head row if there is none. May be repeated.

        site_code: first 13 characters of its certificate numbers; set once, never changed.
        Raises: SiteCodeTaken if it belongs to another ledger or this one has another;
            Unavailable if the server cannot be reached.
        """
        try:
            with unavailable(self.ledger):
                rows = self.change(
                    "INSERT INTO certledger.ledgers (ledger, site_code) VALUES (%(l)s, %(s)s) "
                    "ON CONFLICT (ledger) DO UPDATE "
                    "SET site_code = coalesce(ledgers.site_code, excluded.site_code) "
                    "RETURNING site_code",
                    {"l": self.ledger, "s": site_code},
                )
        except psycopg2.errors.UniqueViolation:
            raise SiteCodeTaken(site_code=site_code) from None
        if site_code is not None and rows[0][0] != site_code:
            raise SiteCodeTaken(site_code=site_code)

    # --- seals -----------------------------------------------------------------------------------

    @property
    def sealer(self) -> LedgerSealer | None:
        """Makes and checks the seals of the ledger; None if the key is not known.

        It accepts each key in its range only; the ranges are read when first needed.
        Raises: SealBroken, Unavailable.
        """
        sealer = self._sealer
        if sealer is not None and self._ranges_upto is None:
            rows = self.query(KEY_STREAM_SQL, (self.ledger,))
            sealer = self._sealer = with_key_ranges(sealer, rows)
            self._ranges_upto = max((row[0] for row in rows), default=0)
        return sealer

    @property
    def unranged_sealer(self) -> LedgerSealer | None:
        """As `sealer`, but it accepts every known key everywhere; for an audit of wrong facts."""
        return None if self._sealer is None else self._sealer.with_ranges(None)

    def notice_keys(self, events: Sequence[RecordedEvent]) -> None:
        """Read the ranges of keys again if one of the events changes them."""
        upto = self._ranges_upto
        if upto is not None and any(e.topic in KEY_TOPICS and e.position > upto for e in events):
            self._ranges_upto = None

    def _writing_sealer(self) -> LedgerSealer:
        sealer = self.sealer
        if sealer is None:
            raise NoJournalKey(ledger=self.ledger)
        return sealer

    # --- writing ---------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, request: ReadRequest = _NO_READS) -> Iterator[Transaction]:
        """Hold the head lock for a block; commit what the block accepted when it ends.

        request: read in the same message that takes the lock.
        An exception in the block rolls everything back. The events that `append` returns are
        final only after the block has ended without one.
        Raises: UnknownLedger; SealBroken for a wrong head; NoJournalKey, WrongServiceKey;
            OutcomeUnknown if the connection was lost after the COMMIT was sent; psycopg2.Error if
            the database failed and surely nothing was recorded.
        """
        sealer = self._writing_sealer()

        def start(connection: PgConnection) -> Transaction:
            now = self._clock() if self._clock else None
            seen = self.last_seen.head
            read = Transaction(connection, sealer, request, now)
            return self._continued(connection, seen, read)

        with self._writers.started(start) as transaction:
            yield transaction
            transaction.commit()
        self.last_seen.advance(transaction.batch.new_head)
        self.notice_keys(transaction.batch.events)

    @contextmanager
    def optimistic_batch(
        self, request: ReadRequest, preceding: Batch | None
    ) -> Iterator[OptimisticBatch]:
        """A batch to execute without the head lock; the block writes nothing.

        request: read beforehand, in one message. preceding: the batch in flight.
        Raises: UnknownLedger; HeadConflict if another writer appends, before or in the block;
            SealBroken for a wrong head; NoJournalKey, WrongServiceKey; psycopg2.Error.
        """
        sealer = self._writing_sealer()

        def start(connection: PgConnection) -> OptimisticBatch:
            now = self._clock() if self._clock else None
            seen = self.last_seen.head
            read = OptimisticBatch(connection, sealer, request, now, preceding)
            return self._continued(connection, seen, read)

        with self._writers.started(start) as optimistic:
            try:
                yield optimistic
            finally:
                optimistic.end()

    def commit_optimistic(self, batch: Batch) -> None:
        """Write and commit a batch that was executed optimistically.

        Raises: HeadConflict if another writer has appended, or psycopg2.Error: nothing was
            recorded; OutcomeUnknown if the connection was lost after the COMMIT was sent.
        """
        with self._writers.connection() as connection:
            commit_optimistic(connection, batch)
        self.last_seen.advance(batch.new_head)
        self.notice_keys(batch.events)

    def _continued(self, connection: PgConnection, seen: Head | None, read: R) -> R:
        """Check that a head read on a connection continues what this process had seen.

        Raises: HeadConflict if it does not; `last_seen.lost` was called then.
        """

        def leaf_at(position: int) -> bytes | None:
            with connection.cursor() as cursor:
                cursor.execute(_LEAF_AT, (self.ledger, position))
                row = cursor.fetchone()
                return None if row is None else bytes(row[0])

        reconnected = self.last_seen not in connection.compared
        head = read.committed_head
        if not self.last_seen.compare(seen, head, leaf_at, reconnected=reconnected):
            raise HeadConflict
        connection.compared.add(self.last_seen)
        return read

    # --- reading ---------------------------------------------------------------------------------

    def head(self) -> Head:
        """Last position (0 when empty) and its recorded_at. Raises: UnknownLedger, SealBroken."""
        rows = self.query(
            f"SELECT {HEAD_COLUMNS} FROM certledger.ledgers WHERE ledger = %s", (self.ledger,)
        )
        if not rows:
            raise UnknownLedger(ledger=self.ledger)
        return head_from_row(rows[0], self.sealer)

    def check_history(self) -> bool:
        """Whether the journal continues what this process has seen of it.

        If it does not, `last_seen.lost` was called. Raises: Unavailable, UnknownLedger, SealBroken.
        """

        def leaf_at(position: int) -> bytes | None:
            rows = self.query(_LEAF_AT, (self.ledger, position))
            return bytes(rows[0][0]) if rows else None

        seen = self.last_seen.head
        return self.last_seen.compare(seen, self.head(), leaf_at, reconnected=True)

    def read(
        self, after: int, limit: int, topics: Sequence[str] = (), upto: int | None = None
    ) -> list[RecordedEvent]:
        """Events in order of position: after < position <= upto, at most `limit` of them.

        topics: only these; all if empty. upto: no bound if None.
        Raises: SealBroken, also if one is missing; with topics nobody can tell.
        """
        sql = f"SELECT {EVENT_COLUMNS} FROM certledger.journal WHERE ledger = %s AND position > %s"
        arguments: list[Any] = [self.ledger, after]
        if upto is not None:
            sql += " AND position <= %s"
            arguments.append(upto)
        if topics:
            sql += " AND topic = ANY(%s)"
            arguments.append(list(topics))
        sql += " ORDER BY position LIMIT %s"
        events = self._events(self.query(sql, (*arguments, limit)))
        if self._sealer is not None and not topics:
            check_positions(events, after, self.ledger)
        return events

    def _events(self, rows: list[tuple[Any, ...]]) -> list[RecordedEvent]:
        sealer = self.sealer
        events = [event_from_row(row, sealer) for row in rows]
        self.notice_keys(events)
        return events

    def events(
        self, after: int = 0, upto: int | None = None, page: int = _PAGE
    ) -> Iterator[RecordedEvent]:
        """All events after a position in order, read page by page until there are no more.

        Raises: SealBroken.
        """
        while found := self.read(after, page, (), upto):
            yield from found
            after = found[-1].position

    def stream(
        self,
        stream: str,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[RecordedEvent]:
        """Events of one stream in order of version (backwards if desc), gt < version <= lte.

        Raises: SealBroken, also if one is missing between others.
        """
        sql = f"SELECT {EVENT_COLUMNS} FROM certledger.journal WHERE ledger = %s AND stream = %s"
        arguments: list[Any] = [self.ledger, stream]
        for bound, operator in ((gt, ">"), (lte, "<=")):
            if bound is not None:
                sql += f" AND version {operator} %s"
                arguments.append(bound)
        sql += " ORDER BY version" + (" DESC" if desc else "")
        if limit is not None:
            sql += " LIMIT %s"
            arguments.append(limit)
        events = self._events(self.query(sql, arguments))
        if self._sealer is not None:
            ordered = events[::-1] if desc else events
            after = ordered[0].version - 1 if ordered and desc else gt
            check_versions(ordered, after, self.ledger)
        return events

    def position_at(self, time: datetime) -> int:
        """Last position recorded at or before an aware time; 0 if there is none."""
        rows = self.query(_POSITION_AT, {"ledger": self.ledger, "time": time})
        return rows[0][0] or 0

    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]:
        """The keys of the claims of a kind that begin like this and are taken, in order.

        prefix: in ASCII, not empty. Raises: Unavailable.
        """
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        rows = self.query(SELECT_CLAIMS_UNDER, (self.ledger, kind, prefix, end))
        return tuple(sorted(key for (key,) in rows))

    def command(self, principal: str, key: str) -> KnownCommand | None:
        """The recorded command of a principal and Idempotency-Key; None if there is none.

        Raises: SealBroken.
        """
        rows = self.query(
            f"SELECT {COMMAND_COLUMNS} FROM certledger.commands "
            "WHERE ledger = %s AND principal = %s AND key = %s",
            (self.ledger, principal, key),
        )
        return command_from_row((principal, key), rows[0], self.sealer) if rows else None

    def logins(self, names: Sequence[LoginName]) -> list[LoginRow]:
        """The rows of logins that there are. Raises: SealBroken, Unavailable."""
        rows = self.query(SELECT_LOGINS, (self.ledger, tuple(map(tuple, names))))
        return [login_from_row(row, self.sealer) for row in rows]

    def query(self, sql: str, arguments: Any = None) -> list[tuple[Any, ...]]:
        """Rows of one read-only statement.

        Raises: Unavailable if the server cannot be reached; psycopg2.Error otherwise.
        """

        def work(cursor: Cursor) -> list[tuple[Any, ...]]:
            cursor.execute(sql, arguments)
            return cursor.fetchall()

        with unavailable(self.ledger):
            return self._readers.run(work)

    def change(self, sql: str, arguments: Any = None) -> list[tuple[Any, ...]]:
        """Run one writing statement in its own transaction. Returns: its RETURNING rows, if any.

        Raises: psycopg2.Error; if the connection was lost, the outcome is unknown.
        """
        with self.unit_of_work() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def unit_of_work(self) -> Iterator[Cursor]:
        """A transaction outside the journal, such as a view's; commits when the block ends.

        Raises: psycopg2.Error.
        """
        with self._readers.started(_begin) as cursor, cursor:
            yield cursor
            cursor.execute("COMMIT")


def check_ledger_name(name: str) -> None:
    """Raises: InvalidLedgerName."""
    if not _LEDGER_NAME.fullmatch(name):
        form = "1 to 63 of a-z 0-9 . _ - and a letter or digit first"
        raise InvalidLedgerName(ledger=name, form=form)


def _begin(connection: PgConnection) -> Cursor:
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    return cursor


def ledgers(dsn: str) -> tuple[str, ...]:
    """Names of all ledgers of a database, in order. Raises: psycopg2.Error."""
    with _connected(dsn) as cursor:
        cursor.execute("SELECT ledger FROM certledger.ledgers ORDER BY ledger")
        return tuple(row[0] for row in cursor.fetchall())


def is_ledger(dsn: str, name: str) -> bool:
    """Whether a database has a ledger of that name.

    Raises: Unavailable if the server cannot be reached; psycopg2.Error otherwise.
    """
    with unavailable(name), _connected(dsn) as cursor:
        cursor.execute("SELECT 1 FROM certledger.ledgers WHERE ledger = %s", (name,))
        return cursor.fetchone() is not None


@contextmanager
def _connected(dsn: str) -> Iterator[Cursor]:
    connection = connect(dsn, name="certledger")
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()

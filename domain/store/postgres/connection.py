"""Connections to PostgreSQL: every one with the program's own, small rights.

Each connection starts as the role `certledger_app`, whoever logged in, so that a program started
with the owner's password still cannot change the past. Nothing waits for ever: locks, statements,
idle transactions and dead peers all have a limit. Reading order: connect, Pool, shared_pool.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras

APP_ROLE = "certledger_app"

_SETTINGS = {
    "synchronous_commit": "on",  # an acknowledged event survives the loss of the server's power
    "search_path": "certledger,views",
    "timezone": "UTC",
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    # A writer that stops between lock and commit would stop its whole ledger.
    "idle_in_transaction_session_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",  # what is prepared here has one good plan
    "jit": "off",  # every statement here is short: compiling one takes longer than running it
}

_KEEPALIVES = {
    "connect_timeout": 5,  # seconds
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}

_IDLE_SECONDS = 60.0

log = logging.getLogger(__name__)

psycopg2.extras.register_uuid()

_IDLE = psycopg2.extensions.TRANSACTION_STATUS_IDLE

PgCursor = psycopg2.extensions.cursor


class PgConnection(psycopg2.extensions.connection):
    """A connection that knows which statements were prepared on it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared: set[str] = set()


def connect(
    dsn: str,
    *,
    name: str = "certledger",
    role: str | None = APP_ROLE,
    settings: dict[str, str] | None = None,
) -> PgConnection:
    """A connection in autocommit: transactions are written out where they are wanted.

    dsn: libpq keywords or URL. name: shown in pg_stat_activity. role: None keeps the login's
    own rights (migrations only). settings: server settings that differ from ours.
    Raises: psycopg2.OperationalError if the server cannot be reached.
    """
    arguments = connect_arguments(dsn, name=name, role=role, settings=settings)
    connection: PgConnection = psycopg2.connect(connection_factory=PgConnection, **arguments)
    connection.autocommit = True
    return connection


def connect_arguments(
    dsn: str, *, name: str, role: str | None, settings: dict[str, str] | None
) -> dict[str, Any]:
    """What `connect` gives to libpq."""
    given = psycopg2.extensions.parse_dsn(dsn)
    wanted = _SETTINGS | (settings or {})
    if role is not None:
        wanted["role"] = role
    ours = " ".join(f"-c {key}={_escaped(value)}" for key, value in wanted.items())
    options = f"{given.pop('options', '')} {ours}".strip()
    # Whatever the environment or the role says: every text, envelopes too, travels as UTF-8.
    ours_alone = {"options": options, "client_encoding": "UTF8"}
    return {"application_name": name} | _KEEPALIVES | given | ours_alone


def _escaped(value: str) -> str:
    """A value as libpq's `options` wants it: spaces and backslashes escaped."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def is_connection_failure(error: psycopg2.Error) -> bool:
    """Whether the connection failed, and not the statement.

    Not to be told by the connection: psycopg2 may still call it open, and the error a plain
    DatabaseError, when the server has vanished in the middle of an answer.
    """
    code = error.pgcode
    if code is not None:
        return code.startswith(("08", "57P"))
    lost = (psycopg2.OperationalError, psycopg2.InterfaceError)
    return isinstance(error, lost) or type(error) is psycopg2.DatabaseError


def close_quietly(connection: PgConnection | None) -> None:
    """Close without complaint; the connection may be dead already."""
    if connection is not None:
        try:
            connection.close()
        except psycopg2.Error:
            log.debug("a dead connection would not close", exc_info=True)


class PoolTimeout(psycopg2.OperationalError):
    """No connection became free in time."""


class Pool:
    """A few connections shared by many threads; waits for one instead of refusing.

    size: most connections open at once. The one used last is lent first, and one that nobody
    needed for a minute is closed. A connection found dead when it is taken is replaced, so a
    restarted server is noticed by nobody but the statement that was running.
    """

    def __init__(self, open_one: Callable[[], PgConnection], *, size: int) -> None:
        self._open_one = open_one
        self._size = size
        self._idle: deque[tuple[PgConnection, float]] = deque()  # with the time of its last use
        self._open = 0
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def connection(self, *, timeout_seconds: float = 30.0) -> Iterator[PgConnection]:
        """Lend a connection for a block; a transaction left open is rolled back.

        Raises: PoolTimeout, psycopg2.InterfaceError if the pool is closed.
        """
        connection = self._take(timeout_seconds)
        try:
            yield connection
        finally:
            self._give_back(connection)

    def run(self, work: Callable[[PgCursor], Any]) -> Any:
        """Run a piece of reading work; once more if an idle connection turned out to be dead.

        work: must not write, because it may run twice.
        """
        for last_attempt in (False, True):
            with self.connection() as connection:
                try:
                    with connection.cursor() as cursor:
                        return work(cursor)
                except psycopg2.Error as error:
                    if last_attempt or not is_connection_failure(error):
                        raise
                    close_quietly(connection)
            self._drop_idle()
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close every idle connection; lent ones are closed when they come back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._drop_idle()

    def _take(self, timeout_seconds: float) -> PgConnection:
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                if self._closed:
                    raise psycopg2.InterfaceError("the connection pool is closed")
                while self._idle:
                    connection, _ = self._idle.pop()
                    if not connection.closed:
                        return connection
                    self._open -= 1
                if self._open < self._size:
                    self._open += 1
                    break
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise PoolTimeout(f"no connection became free in {timeout_seconds} s")
        try:
            return self._open_one()
        except BaseException:
            self._forget_one()
            raise

    def _give_back(self, connection: PgConnection) -> None:
        try:
            if not connection.closed and connection.info.transaction_status != _IDLE:
                connection.cursor().execute("ROLLBACK")
        except psycopg2.Error:
            close_quietly(connection)
        if self._closed or connection.closed:
            close_quietly(connection)
            self._forget_one()
            return
        now = time.monotonic()
        unused: list[PgConnection] = []
        with self._changed:
            self._idle.append((connection, now))
            while self._idle[0][1] < now - _IDLE_SECONDS:
                unused.append(self._idle.popleft()[0])
            self._open -= len(unused)
            self._changed.notify()
        for one in unused:
            close_quietly(one)

    def _forget_one(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify()

    def _drop_idle(self) -> None:
        with self._changed:
            idle, self._idle = self._idle, deque()
            self._open -= len(idle)
            self._changed.notify_all()
        for connection, _ in idle:
            close_quietly(connection)


_shared: dict[tuple[str, str], tuple[Pool, int]] = {}
_shared_lock = threading.Lock()


def shared_pool(dsn: str, name: str, size: int, settings: dict[str, str] | None = None) -> Pool:
    """The process's one pool for a database and a purpose; give it back with `leave_pool`.

    A process that keeps a hundred ledgers open needs as many connections as are at work, not a
    few for each. size and settings (as of `connect`) count when the pool is made.
    """
    with _shared_lock:
        pool, users = _shared.get((dsn, name), (None, 0))
        if pool is None:
            pool = Pool(lambda: connect(dsn, name=name, settings=settings), size=size)
        _shared[dsn, name] = pool, users + 1
        return pool


def leave_pool(dsn: str, name: str) -> None:
    """Give a shared pool back; the last one out closes it."""
    with _shared_lock:
        pool, users = _shared.pop((dsn, name))
        if users > 1:
            _shared[dsn, name] = pool, users - 1
            return
    pool.close()

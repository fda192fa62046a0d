"""Opens connections to PostgreSQL with least privilege, and pools them.

Every connection sets the role `certledger_app`, whichever login it uses, so that a program started
with the owner's password still cannot change the past. Locks, statements, idle transactions and
dead peers all have a time limit. Reading order: connect, Pool, shared_pool.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar
from weakref import WeakSet

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from domain.store.postgres.errors import is_connection_failure

Connection: TypeAlias = psycopg2.extensions.connection
"""Any connection of the driver; `PgConnection` is one that `connect` opened."""

Cursor: TypeAlias = psycopg2.extensions.cursor

T = TypeVar("T")

APP_ROLE = "certledger_app"

_SETTINGS = {
    "synchronous_commit": "on",  # an acknowledged event survives the loss of the server's power
    "search_path": "certledger,views",
    "timezone": "UTC",
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    # A writer that hangs between lock and commit would block its whole ledger.
    "idle_in_transaction_session_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",  # each prepared statement has one good plan
    "jit": "off",  # the statements are short: compiling one takes longer than running it
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

psycopg2.extras.register_uuid()  # type: ignore[no-untyped-call]  # the stubs leave it untyped

_IDLE = psycopg2.extensions.TRANSACTION_STATUS_IDLE


class PgConnection(psycopg2.extensions.connection):
    """A connection that knows which statements are prepared on it.

    compared: what was seen of ledgers before, for those whose history was compared on it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared: set[str] = set()
        self.compared: WeakSet[object] = WeakSet()


def connect(
    dsn: str,
    *,
    name: str = "certledger",
    role: str | None = APP_ROLE,
    settings: dict[str, str] | None = None,
) -> PgConnection:
    """Open a connection in autocommit mode: callers write BEGIN and COMMIT themselves.

    dsn: libpq keywords or URL. name: shown in pg_stat_activity. role: None keeps the login's
    own rights (migrations only). settings: server settings that override the defaults above.
    Raises: psycopg2.OperationalError if the server cannot be reached.
    """
    arguments = connect_arguments(dsn, name=name, role=role, settings=settings)
    connection: PgConnection = psycopg2.connect(connection_factory=PgConnection, **arguments)
    connection.autocommit = True
    return connection


def connect_arguments(
    dsn: str, *, name: str, role: str | None, settings: dict[str, str] | None
) -> dict[str, Any]:
    """The libpq parameters of `connect`."""
    of_dsn = psycopg2.extensions.parse_dsn(dsn)
    session = _SETTINGS | (settings or {})
    if role is not None:
        session["role"] = role
    flags = " ".join(f"-c {key}={_escaped(value)}" for key, value in session.items())
    options = f"{of_dsn.pop('options', '')} {flags}".strip()
    # Set here, because PGCLIENTENCODING or the role may name another encoding than the envelopes'.
    fixed = {"options": options, "client_encoding": "UTF8"}
    return {"application_name": name} | _KEEPALIVES | of_dsn | fixed


def _escaped(value: str) -> str:
    """A value for libpq's `options`: spaces and backslashes escaped."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def close_quietly(connection: Connection | None) -> None:
    """Close a connection that may be dead already; never raises."""
    if connection is not None:
        try:
            connection.close()
        except psycopg2.Error:
            log.debug("closing a dead connection failed", exc_info=True)


class PoolTimeout(psycopg2.OperationalError):
    """No connection became free in time."""


class Pool:
    """A bounded connection pool for many threads; a caller waits until a connection is free.

    size: most connections open at once. The most recently used one is lent first, and one that was
    idle for a minute is closed. A connection found closed when it is taken is replaced; one that
    turns out to be dead is retried by `run` and `started`, so that a server restart fails only the
    statements that were running.
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
        """Lend a connection for a block; roll back a transaction that the block leaves open.

        Raises: PoolTimeout, psycopg2.InterfaceError if the pool is closed.
        """
        connection = self._take(timeout_seconds)
        try:
            yield connection
        finally:
            self._give_back(connection)

    @contextmanager
    def started(self, start: Callable[[PgConnection], T]) -> Iterator[T]:
        """Lend a connection for a block and yield the result of `start`, its first statement.

        An idle connection may have died with its server: if `start` finds that, it runs once more
        on a new connection. The block itself runs once. start: must not write.
        Raises: psycopg2.Error.
        """
        for is_last_attempt in (False, True):
            with self.connection() as connection:
                try:
                    started = start(connection)
                except psycopg2.Error as error:
                    if is_last_attempt or not is_connection_failure(error):
                        raise
                    close_quietly(connection)
                else:
                    yield started
                    return
            self._drop_idle()

    def run(self, work: Callable[[Cursor], T]) -> T:
        """Run a read-only piece of work; repeat it once if an idle connection turned out dead.

        work: must not write, because it may run twice.
        """

        def start(connection: PgConnection) -> T:
            with connection.cursor() as cursor:
                return work(cursor)

        with self.started(start) as result:
            return result

    def close(self) -> None:
        """Close idle connections now, and lent ones when they are returned."""
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
        expired: list[PgConnection] = []
        with self._changed:
            self._idle.append((connection, now))
            while self._idle[0][1] < now - _IDLE_SECONDS:
                expired.append(self._idle.popleft()[0])
            self._open -= len(expired)
            self._changed.notify()
        for one in expired:
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
    """The process's one pool for a database and a purpose, reference-counted; see `leave_pool`.

    A process with a hundred open ledgers needs as many connections as are in use at a time, not a
    few for each ledger. size, settings (of `connect`): used only when the pool is created.
    """
    with _shared_lock:
        pool, users = _shared.get((dsn, name), (None, 0))
        if pool is None:
            pool = Pool(lambda: connect(dsn, name=name, settings=settings), size=size)
        _shared[dsn, name] = pool, users + 1
        return pool


def leave_pool(dsn: str, name: str) -> None:
    """Release a shared pool; the last release closes it."""
    with _shared_lock:
        pool, users = _shared.pop((dsn, name))
        if users > 1:
            _shared[dsn, name] = pool, users - 1
            return
    pool.close()

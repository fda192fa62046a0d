"""Runs prepared queries on the event loop, without a thread.

Handing a query to a thread costs two switches between threads that compete for the interpreter
lock, under load more than the query itself. Here the loop watches the connection's socket and does
other work until the result arrives. Reading order: `AsyncQueryPool`, then `AsyncConnection`.
"""

import asyncio
import select
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions

from domain.store.postgres.connection import (
    APP_ROLE,
    Cursor,
    PgConnection,
    close_quietly,
    connect_arguments,
)
from domain.store.postgres.errors import is_connection_failure, is_stale_statement
from domain.store.postgres.literals import array

_OPEN_SECONDS = 5.0

# Statements are prepared once, perhaps while the tables are empty, and stay prepared: the plan has
# to probe indexes whatever the tables contained on that day.
_SETTINGS = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}

Rows = list[tuple[Any, ...]]


class AsyncQueryPool:
    """A few connections with prepared statements. Used from one event loop."""

    def __init__(
        self,
        dsn: str,
        statements: Mapping[str, str],
        *,
        size: int,
        name: str,
        server_seconds: float = 60.0,
    ) -> None:
        """Opens nothing yet.

        statements: SQL by name, each with one parameter, an array of text. size: connections, and
        so queries that run at the same time. server_seconds: after which the server cancels a
        query, should this process be gone.
        """
        settings = _SETTINGS | {"statement_timeout": f"{round(server_seconds * 1000)}ms"}
        arguments = connect_arguments(dsn, name=name, role=APP_ROLE, settings=settings)
        self._free = deque(AsyncConnection(arguments, statements) for _ in range(size))
        self._connections = tuple(self._free)
        self._waiting: deque[asyncio.Future[AsyncConnection]] = deque()

    async def ask(self, statement: str, keys: Sequence[str], until: float) -> Rows:
        """Rows of a statement; repeats it once if the connection or the statement went stale.

        until: deadline on `loop.time`. Raises: TimeoutError, psycopg2.Error.
        """
        connection = await self._take(until)
        try:
            try:
                return await connection.ask(statement, keys, until)
            except psycopg2.Error as error:
                if not is_connection_failure(error) and not is_stale_statement(error):
                    raise
                connection.drop()
            return await connection.ask(statement, keys, until)
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close every connection; running queries fail."""
        for connection in self._connections:
            connection.drop()

    async def _take(self, until: float) -> "AsyncConnection":
        if self._free:
            return self._free.popleft()
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[AsyncConnection] = loop.create_future()
        self._waiting.append(turn)
        late = loop.call_at(until, _fail, turn, TimeoutError())
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back(turn.result())
            raise
        finally:
            late.cancel()

    def _give_back(self, connection: "AsyncConnection") -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._free.append(connection)


class AsyncConnection:
    """One connection that runs one query at a time; opened when first needed."""

    def __init__(self, arguments: dict[str, Any], statements: Mapping[str, str]) -> None:
        """arguments: what `connect_arguments` returns."""
        self._arguments = arguments
        self._statements = statements
        self._connection: PgConnection | None = None
        self._socket = -1
        self._cursor: Cursor | None = None
        self._answer: asyncio.Future[Rows] | None = None
        self._is_sending = False

    async def ask(self, statement: str, keys: Sequence[str], until: float) -> Rows:
        """Rows of a statement for these keys. Raises: TimeoutError, psycopg2.Error."""
        loop = asyncio.get_running_loop()
        if self._connection is None:
            await self._open(loop, until)
        assert self._cursor is not None  # set together with the connection
        answer: asyncio.Future[Rows] = loop.create_future()
        self._answer = answer
        late = loop.call_at(until, _fail, answer, TimeoutError())
        try:
            self._cursor.execute(f"EXECUTE {statement} (%s)", (array(keys),))
            self._on_ready()
            return await answer
        except (TimeoutError, asyncio.CancelledError):
            self.drop()  # it is still running the query that was given up
            raise
        finally:
            self._answer = None
            late.cancel()

    def drop(self) -> None:
        """Close the connection; the next query opens another."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # Before the descriptor is reused; a dead connection no longer reports its own.
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        close_quietly(connection)
        if self._answer is not None:
            _fail(self._answer, psycopg2.InterfaceError("the connection was closed"))

    async def _open(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Connect in a thread, because resolving a host name may block."""
        seconds = min(_OPEN_SECONDS, until - loop.time())
        opening = loop.run_in_executor(None, _connected, self._arguments, self._statements, seconds)
        try:
            self._connection = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        except psycopg2.OperationalError as error:
            if loop.time() >= until:  # the query's deadline, not the connection's
                raise TimeoutError from error
            raise
        self._cursor = self._connection.cursor()
        self._is_sending = False
        self._socket = self._connection.fileno()
        loop.add_reader(self._socket, self._on_ready)

    def _on_ready(self) -> None:
        """Advance the query; called when the socket becomes readable or writable."""
        connection, cursor, answer = self._connection, self._cursor, self._answer
        if connection is None or cursor is None:
            return
        try:
            state = connection.poll()
            if state == psycopg2.extensions.POLL_OK and answer is not None and not answer.done():
                answer.set_result(cursor.fetchall())
        except psycopg2.Error as error:
            if answer is not None:
                _fail(answer, error)
            if is_connection_failure(error):
                self.drop()
            return
        if self._is_sending != (state == psycopg2.extensions.POLL_WRITE):
            self._is_sending = not self._is_sending
            loop = asyncio.get_running_loop()
            if self._is_sending:
                loop.add_writer(self._socket, self._on_ready)
            else:
                loop.remove_writer(self._socket)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _close_opened(opening: asyncio.Future[PgConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        close_quietly(opening.result())


def _connected(
    arguments: dict[str, Any], statements: Mapping[str, str], seconds: float
) -> PgConnection:
    """An asynchronous connection with its statements prepared; this call blocks.

    Raises: psycopg2.Error.
    """
    until = time.monotonic() + seconds
    connection: PgConnection = psycopg2.connect(
        connection_factory=PgConnection, async_=True, **arguments
    )
    try:
        _wait(connection, until)
        cursor = connection.cursor()  # keep a reference: the connection holds only a weak one
        for statement, sql in statements.items():
            cursor.execute(f"PREPARE {statement} (text[]) AS {sql}")
            _wait(connection, until)
    except BaseException:
        close_quietly(connection)
        raise
    return connection


def _wait(connection: PgConnection, until: float) -> None:
    """Wait until the running operation of a connection ends. Raises: psycopg2.Error."""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        is_reading = state == psycopg2.extensions.POLL_READ
        watch = select.poll()  # select.select accepts no descriptor above 1023
        watch.register(connection.fileno(), select.POLLIN if is_reading else select.POLLOUT)
        if not watch.poll(max(0.0, until - time.monotonic()) * 1000):
            raise psycopg2.OperationalError("the server did not answer in time")

"""Questions to PostgreSQL that the event loop itself waits for, without a thread.

Handing a query to a thread costs two switches between threads that want the same interpreter lock:
under load more than the query. Here the loop watches the connection's socket and does other work
until the answer is there. Reading order: `AsyncQueryPool`, then `AsyncConnection`.
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
    PgConnection,
    close_quietly,
    connect_arguments,
)
from domain.store.postgres.errors import is_connection_failure, is_stale_statement
from domain.store.postgres.literals import array

_OPEN_SECONDS = 5.0

# What is asked here is prepared, perhaps while the tables are empty, and then asked for years: it
# must probe indexes whatever the tables looked like on that day.
_SETTINGS = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}

Found = list[tuple[Any, ...]]


class AsyncQueryPool:
    """A few connections on which prepared questions are asked. Used from one event loop."""

    def __init__(
        self,
        dsn: str,
        statements: Mapping[str, str],
        *,
        size: int,
        name: str,
        server_seconds: float = 60.0,
    ) -> None:
        """Open nothing yet.

        statements: SQL by name, each with one parameter, an array of text. size: connections, and
        so questions under way at the same time. server_seconds: after which the server drops a
        question of its own accord, should we be gone.
        """
        settings = _SETTINGS | {"statement_timeout": f"{round(server_seconds * 1000)}ms"}
        arguments = connect_arguments(dsn, name=name, role=APP_ROLE, settings=settings)
        self._free = deque(AsyncConnection(arguments, statements) for _ in range(size))
        self._lines = tuple(self._free)
        self._waiting: deque[asyncio.Future[AsyncConnection]] = deque()

    async def ask(self, statement: str, keys: Sequence[str], until: float) -> Found:
        """Rows of a statement; asked once more if the connection turned out to be of no use.

        until: when to give up, as of `loop.time`. Raises: TimeoutError, psycopg2.Error.
        """
        line = await self._take(until)
        try:
            try:
                return await line.ask(statement, keys, until)
            except psycopg2.Error as error:
                if not is_connection_failure(error) and not is_stale_statement(error):
                    raise
                line.drop()
            return await line.ask(statement, keys, until)
        finally:
            self._give_back(line)

    def close(self) -> None:
        """Close every connection; who still waits for an answer gets an error."""
        for line in self._lines:
            line.drop()

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

    def _give_back(self, line: "AsyncConnection") -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(line)
                return
        self._free.append(line)


class AsyncConnection:
    """One connection, on which one question is asked at a time; opened when it is needed."""

    def __init__(self, arguments: dict[str, Any], statements: Mapping[str, str]) -> None:
        """arguments: of `connect_arguments`."""
        self._arguments = arguments
        self._statements = statements
        self._connection: PgConnection | None = None
        self._socket = -1
        self._cursor: Any = None
        self._answer: asyncio.Future[Found] | None = None
        self._is_sending = False

    async def ask(self, statement: str, keys: Sequence[str], until: float) -> Found:
        """Rows of a statement for these keys. Raises: TimeoutError, psycopg2.Error."""
        loop = asyncio.get_running_loop()
        if self._connection is None:
            await self._open(loop, until)
        answer = self._answer = loop.create_future()
        late = loop.call_at(until, _fail, answer, TimeoutError())
        try:
            self._cursor.execute(f"EXECUTE {statement} (%s)", (array(keys),))
            self._look()
            return await answer
        except (TimeoutError, asyncio.CancelledError):
            self.drop()  # it is still answering a question that nobody asks any more
            raise
        finally:
            self._answer = None
            late.cancel()

    def drop(self) -> None:
        """Close the connection; the next question opens another."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # Before its number is given to another socket; a dead connection no longer tells it.
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        close_quietly(connection)
        if self._answer is not None:
            _fail(self._answer, psycopg2.InterfaceError("the connection was closed"))

    async def _open(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Connect on a thread, because resolving a name may block."""
        seconds = min(_OPEN_SECONDS, until - loop.time())
        opening = loop.run_in_executor(None, _connected, self._arguments, self._statements, seconds)
        try:
            self._connection = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        except psycopg2.OperationalError as error:
            if loop.time() >= until:  # it was the question that ran out of time
                raise TimeoutError from error
            raise
        self._cursor = self._connection.cursor()
        self._is_sending = False
        self._socket = self._connection.fileno()
        loop.add_reader(self._socket, self._look)

    def _look(self) -> None:
        """See what the server said; called whenever it said something, or can be told more."""
        connection, answer = self._connection, self._answer
        if connection is None:
            return
        try:
            state = connection.poll()
            if state == psycopg2.extensions.POLL_OK and answer is not None and not answer.done():
                answer.set_result(self._cursor.fetchall())
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
                loop.add_writer(self._socket, self._look)
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
    """A connection of the kind that does not block, ready, its statements prepared; blocking.

    Raises: psycopg2.Error.
    """
    until = time.monotonic() + seconds
    connection: PgConnection = psycopg2.connect(
        connection_factory=PgConnection, async_=True, **arguments
    )
    try:
        _wait(connection, until)
        cursor = connection.cursor()  # the connection only knows where its cursor is
        for statement, sql in statements.items():
            cursor.execute(f"PREPARE {statement} (text[]) AS {sql}")
            _wait(connection, until)
    except BaseException:
        close_quietly(connection)
        raise
    return connection


def _wait(connection: PgConnection, until: float) -> None:
    """Wait for what was begun on a connection. Raises: psycopg2.Error."""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        reads = state == psycopg2.extensions.POLL_READ
        watch = select.poll()  # select.select takes no descriptor above 1023
        watch.register(connection.fileno(), select.POLLIN if reads else select.POLLOUT)
        if not watch.poll(max(0.0, until - time.monotonic()) * 1000):
            raise psycopg2.OperationalError("the server did not answer in time")

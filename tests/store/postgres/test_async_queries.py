"""Questions on the event loop: shared among few connections, each answered, each in its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg2
import pytest
import uvloop

from domain.store.embedded.server import EmbeddedPostgres
from domain.store.postgres.async_queries import AsyncQueryPool
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from tests.support.postgres import Database

ECHO = "SELECT key FROM unnest($1) AS key"
SLOW = "SELECT key FROM unnest($1) AS key WHERE pg_sleep(key::float) IS NOT NULL"
NUMBERS = "SELECT key, 12 / key::int FROM unnest($1) AS key"
STATEMENTS = {"echo": ECHO, "slow": SLOW, "numbers": NUMBERS}


@pytest.fixture
def database(database: Database) -> Database:
    """With the role that connections take."""
    migrate(database.dsn)
    return database


def asking(
    database: Database, work: Callable[[AsyncQueryPool], Awaitable[Any]], size: int = 2
) -> Any:
    """What comes of some work on the event loop of the service."""

    async def run() -> Any:
        lines = AsyncQueryPool(database.dsn, STATEMENTS, size=size, name="lines of a test")
        try:
            return await work(lines)
        finally:
            lines.close()

    return uvloop.run(run())


def soon(seconds: float = 20) -> float:
    return asyncio.get_running_loop().time() + seconds


def kill(database: Database, how: str = "pg_terminate_backend(pid)") -> int:
    """End every connection of the lines, as an administrator may; how many there were."""
    with connect(database.dsn, role=None) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {how} FROM pg_stat_activity WHERE application_name = 'lines of a test'"
        )
        return len(cursor.fetchall())


def test_every_key_comes_back_whatever_is_in_it(database: Database):
    keys = ["a", "", "{}", "NULL", 'a"b', "a\\b", "a,b", "'", "%s", " x ", "编号\n", "é" * 5000]

    async def work(lines: AsyncQueryPool) -> Any:
        return await lines.ask("echo", keys, soon())

    assert [key for (key,) in asking(database, work)] == keys


def test_more_than_fits_into_a_socket_goes_through(database: Database):
    keys = [f"{n:0100}" for n in range(50_000)]

    async def work(lines: AsyncQueryPool) -> Any:
        return await lines.ask("echo", keys, soon())

    assert len(asking(database, work)) == len(keys)


def test_an_error_of_the_server_is_raised_and_the_next_query_is_answered(database: Database):
    async def work(lines: AsyncQueryPool) -> Any:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            await lines.ask("numbers", ["0"], soon())
        with pytest.raises(ValueError):
            await lines.ask("echo", ["\x00"], soon())
        return await lines.ask("numbers", ["4"], soon())

    assert asking(database, work, size=1) == [("4", 3)]


def test_a_lost_connection_is_replaced_and_nobody_notices(database: Database):
    async def work(lines: AsyncQueryPool) -> Any:
        await asyncio.gather(*(lines.ask("slow", ["0.05"], soon()) for _ in range(2)))
        assert await asyncio.to_thread(kill, database) == 2
        idle = await lines.ask("echo", ["a"], soon())
        asked = asyncio.create_task(lines.ask("slow", ["0.5"], soon()))
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(kill, database) >= 1
        return idle, await asked

    assert asking(database, work) == ([("a",)], [("0.5",)])


def test_a_question_is_given_up_in_time_and_its_connection_with_it(database: Database):
    async def work(lines: AsyncQueryPool) -> Any:
        began = time.perf_counter()
        with pytest.raises(TimeoutError):
            await lines.ask("slow", ["30"], soon(0.3))
        assert time.perf_counter() - began < 3
        return await lines.ask("echo", ["a"], soon())

    assert asking(database, work, size=1) == [("a",)]


def test_a_slow_question_leaves_the_other_connections_free(database: Database):
    async def work(lines: AsyncQueryPool) -> Any:
        slow = asyncio.create_task(lines.ask("slow", ["1"], soon()))
        await asyncio.sleep(0)
        quick = [await lines.ask("echo", [str(n)], soon()) for n in range(20)]
        assert not slow.done()
        await slow
        return quick

    assert asking(database, work) == [[(str(n),)] for n in range(20)]


def test_who_waits_for_a_connection_waits_no_longer_than_they_said(database: Database):
    async def work(lines: AsyncQueryPool) -> Any:
        slow = asyncio.create_task(lines.ask("slow", ["1"], soon()))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(lines.ask("echo", ["left"], soon()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(TimeoutError):
            await lines.ask("echo", ["late"], soon(0.2))
        patient = asyncio.create_task(lines.ask("echo", ["patient"], soon()))
        await slow
        return await patient

    assert asking(database, work, size=1) == [("patient",)]


def test_tables_rebuilt_with_other_columns_are_queried_again(database: Database):
    statements = {"changing": "SELECT * FROM views.changing WHERE key = ANY($1)"}

    def make(columns: str) -> None:
        with connect(database.dsn, role=None) as connection, connection.cursor() as cursor:
            cursor.execute("DROP VIEW IF EXISTS views.changing")
            cursor.execute(f"CREATE VIEW views.changing AS SELECT {columns}")
            cursor.execute("GRANT SELECT ON views.changing TO certledger_app")

    async def run() -> Any:
        lines = AsyncQueryPool(database.dsn, statements, size=1, name="lines of a test")
        before = await lines.ask("changing", ["a"], soon())
        await asyncio.to_thread(make, "text 'a' AS key, 2 AS more")
        after = await lines.ask("changing", ["a"], soon())
        lines.close()
        return before, after

    make("text 'a' AS key")
    assert uvloop.run(run()) == ([("a",)], [("a", 2)])


def test_an_unreachable_server_is_an_error_at_once_and_is_tried_again_later(
    server_dir: Any,
):
    server = EmbeddedPostgres(server_dir)
    dsn = server.start()
    migrate(dsn)
    statements = {"echo": ECHO}

    async def run() -> Any:
        lines = AsyncQueryPool(dsn, statements, size=1, name="lines of a test")
        await lines.ask("echo", ["before"], soon())
        await asyncio.to_thread(server.stop)
        began = time.perf_counter()
        with pytest.raises(psycopg2.OperationalError):
            await lines.ask("echo", ["meanwhile"], soon())
        assert time.perf_counter() - began < 5
        await asyncio.to_thread(server.start)
        found = await lines.ask("echo", ["after"], soon())
        lines.close()
        return found

    try:
        assert uvloop.run(run()) == [("after",)]
    finally:
        server.stop()

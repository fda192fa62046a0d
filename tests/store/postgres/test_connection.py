"""The pool: bounded, and a server restart fails only the statements that were running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg2
import pytest

from domain.store.postgres.connection import (
    Cursor,
    PgConnection,
    Pool,
    PoolTimeout,
    connect,
    leave_pool,
    shared_pool,
)
from domain.store.postgres.migrate import migrate
from tests.support.postgres import Database

NAME = "pool of a test"


@pytest.fixture
def dsn(database: Database) -> str:
    migrate(database.dsn)
    return database.dsn


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    pool = Pool(lambda: connect(dsn, name=NAME), size=2)
    yield pool
    pool.close()


def kill_connections(database: Database) -> int:
    sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
    return len(database.execute(sql, NAME, user="postgres"))


def select_backend(cursor: Cursor) -> int:
    cursor.execute("SELECT pg_backend_pid()")
    [(pid,)] = cursor.fetchall()
    assert isinstance(pid, int)
    return pid


def open_idle(pool: Pool) -> None:
    """Fill the pool with two idle connections."""
    with pool.connection(), pool.connection():
        pass


def test_the_most_recent_connection_is_reused(pool: Pool) -> None:
    assert pool.run(select_backend) == pool.run(select_backend)


def test_a_statement_on_dead_idle_connections_runs_on_a_new_one(
    pool: Pool, database: Database
) -> None:
    open_idle(pool)
    assert kill_connections(database) == 2
    pool.run(select_backend)
    assert kill_connections(database) == 1


def test_a_block_on_dead_idle_connections_runs_once_on_a_new_one(
    pool: Pool, database: Database
) -> None:
    open_idle(pool)
    assert kill_connections(database) == 2
    runs = 0

    def begin(connection: PgConnection) -> Cursor:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        return cursor

    with pool.started(begin) as cursor:
        runs += 1
        select_backend(cursor)
    assert runs == 1


def test_a_connection_lost_within_a_block_is_not_retried(pool: Pool, database: Database) -> None:
    runs = 0
    with pytest.raises(psycopg2.OperationalError), pool.started(lambda c: c.cursor()) as cursor:
        runs += 1
        kill_connections(database)
        select_backend(cursor)
    assert runs == 1
    pool.run(select_backend)


def test_an_error_of_the_statement_is_not_retried(pool: Pool) -> None:
    runs = 0

    def divide(cursor: Cursor) -> None:
        nonlocal runs
        runs += 1
        cursor.execute("SELECT 1 / 0")

    with pytest.raises(psycopg2.errors.DivisionByZero):
        pool.run(divide)
    assert runs == 1


def test_a_transaction_left_open_is_rolled_back(pool: Pool) -> None:
    with pool.connection() as connection:
        connection.cursor().execute("BEGIN; CREATE TEMP TABLE left_over (x int)")
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pg_temp.left_over')")
        assert cursor.fetchone() == (None,)


def test_a_caller_waits_for_a_free_connection_no_longer_than_its_timeout(pool: Pool) -> None:
    with pool.connection() as first, pool.connection() as second:
        with pytest.raises(PoolTimeout), pool.connection(timeout_seconds=0.05):
            pass
        found: list[PgConnection] = []

        def take() -> None:
            with pool.connection(timeout_seconds=20) as connection:
                found.append(connection)

        waiting = threading.Thread(target=take)
        waiting.start()
    waiting.join(20)
    assert found[0] in (first, second)


def test_a_shared_pool_is_closed_by_its_last_user(dsn: str) -> None:
    pool = shared_pool(dsn, NAME, 1)
    assert shared_pool(dsn, NAME, 1) is pool
    leave_pool(dsn, NAME)
    pool.run(select_backend)
    leave_pool(dsn, NAME)
    with pytest.raises(psycopg2.InterfaceError):
        pool.run(select_backend)

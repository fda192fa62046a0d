"""The schema is migrated once, however many processes migrate at the same time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg2
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from domain.store.errors import DatabaseNotUnicode, DatabaseTooNew, MigrationChanged
from domain.store.postgres.migrate import Migration, migrate, migrations
from tests.support.postgres import Database, fresh_database

NEXT = Migration(9998, "9998_next.sql", "CREATE TABLE certledger.next (n int)", "c0ffee")
BROKEN = Migration(
    9999, "9999_broken.sql", "CREATE TABLE certledger.half (n int); SELECT 1 / 0", "bad"
)


def tables(database: Database) -> set[str]:
    rows = database.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'certledger' ORDER BY 1"
    )
    return {name for (name,) in rows}


def test_the_files_are_numbered_without_gaps() -> None:
    assert [step.number for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_second_run_has_nothing_to_do(database_on_each: Database) -> None:
    assert migrate(database_on_each.dsn) == tuple(step.name for step in migrations())
    assert migrate(database_on_each.dsn) == ()
    assert tables(database_on_each) == {
        "audit_reports",
        "checkpoints",
        "claims",
        "commands",
        "bucket_keys",
        "data_keys",
        "epochs",
        "journal",
        "ledgers",
        "logins",
        "migrations",
        "person_claims",
        "snapshots",
        "tracking",
    }


def test_of_many_at_once_one_migrates_and_the_others_find_nothing_to_do(
    database: Database,
) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: migrate(database.dsn), range(8)))
    assert sorted(map(len, results)) == [0] * 7 + [len(migrations())]


def test_databases_of_one_server_share_the_role_even_when_made_at_once(
    postgres: EmbeddedPostgres,
) -> None:
    with (
        fresh_database(postgres) as one,
        fresh_database(postgres) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        results = list(pool.map(lambda database: migrate(database.dsn), (one, two)))
    assert [len(result) for result in results] == [len(migrations())] * 2


def test_a_migration_that_was_changed_afterwards_is_named(database: Database) -> None:
    migrate(database.dsn)
    changed = (replace(migrations()[0], checksum="other"), *migrations()[1:])
    with pytest.raises(MigrationChanged) as refusal:
        migrate(database.dsn, changed)
    assert refusal.value.name == "0001_journal.sql"


def test_a_database_of_a_newer_program_is_left_alone(database: Database) -> None:
    migrate(database.dsn, (*migrations(), NEXT))
    with pytest.raises(DatabaseTooNew) as refusal:
        migrate(database.dsn)
    assert refusal.value.number == 9998


def test_a_step_that_fails_leaves_nothing_of_itself_or_of_those_before_it(
    database: Database,
) -> None:
    migrate(database.dsn)
    before = tables(database)
    with pytest.raises(psycopg2.errors.DivisionByZero):
        migrate(database.dsn, (*migrations(), NEXT, BROKEN))
    assert tables(database) == before
    assert migrate(database.dsn, (*migrations(), NEXT)) == ("9998_next.sql",)


def test_a_database_that_writes_text_another_way_is_refused(postgres: EmbeddedPostgres) -> None:
    options = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'"
    with fresh_database(postgres, options) as latin:
        with pytest.raises(DatabaseNotUnicode) as refusal:
            migrate(latin.dsn)
        assert refusal.value.encoding == "LATIN1"
        assert tables(latin) == set()

"""What the tables do by themselves is compared with what the program made.

Covers: domain/store/postgres/definitions.py
"""

from __future__ import annotations

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.postgres import definitions
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from tests.support.definitions import FILE, definitions_of
from tests.support.postgres import Database


def altered(database: Database) -> list[str]:
    connection = connect(database.dsn)
    try:
        with connection.cursor() as cursor:
            return definitions.altered(cursor)
    finally:
        connection.close()


def test_the_file_has_what_the_migrations_make(database: Database) -> None:
    """After a migration: python -m tests.support.definitions"""
    migrate(database.dsn)
    assert FILE.read_text(encoding="utf-8") == definitions_of(database.dsn)
    assert altered(database) == []


OURS = "certledger.refuse_change()"
EMPTY = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
ALTERED = {
    "a body": (f"CREATE OR REPLACE FUNCTION {OURS} {EMPTY}", [f"function {OURS}"]),
    "rights": (f"ALTER FUNCTION {OURS} SECURITY DEFINER", [f"function {OURS}"]),
    "a setting": (f"ALTER FUNCTION {OURS} SET search_path = public", [f"function {OURS}"]),
    "another function": (
        f"CREATE FUNCTION certledger.f() {EMPTY}",
        ["function certledger.f()"],
    ),
    "a trigger that is gone": (
        "DROP TRIGGER no_update ON certledger.journal",
        ["trigger certledger.journal.no_update"],
    ),
    "a trigger that is off": (
        "ALTER TABLE certledger.journal DISABLE TRIGGER no_delete",
        ["trigger certledger.journal.no_delete"],
    ),
    "a trigger for some rows": (
        "DROP TRIGGER only_release ON certledger.claims; "
        "CREATE TRIGGER only_release BEFORE UPDATE ON certledger.claims FOR EACH ROW "
        "WHEN (NEW.kind = 'x') EXECUTE FUNCTION certledger.only_release(); "
        "ALTER TABLE certledger.claims ENABLE ALWAYS TRIGGER only_release",
        ["trigger certledger.claims.only_release"],
    ),
    "a trigger with a function of others": (
        f"CREATE FUNCTION public.f() {EMPTY}; CREATE TRIGGER t BEFORE INSERT ON certledger.journal "
        "FOR EACH ROW EXECUTE FUNCTION public.f()",
        ["foreign_function public.f()", "trigger certledger.journal.t"],
    ),
    "a default of others": (
        "CREATE FUNCTION public.g() RETURNS text LANGUAGE sql AS 'SELECT 1::text'; "
        "ALTER TABLE certledger.checkpoints ALTER COLUMN note SET DEFAULT public.g()",
        ["foreign_function public.g()"],
    ),
    "a rule": (
        "CREATE RULE nothing AS ON INSERT TO certledger.claims DO INSTEAD NOTHING",
        ["rule certledger.claims.nothing"],
    ),
    "row security": (
        "ALTER TABLE certledger.journal ENABLE ROW LEVEL SECURITY",
        ["row_security certledger.journal"],
    ),
}


@pytest.mark.parametrize(("statement", "names"), ALTERED.values(), ids=ALTERED)
def test_what_a_superuser_changes_is_named(
    database: Database, statement: str, names: list[str]
) -> None:
    migrate(database.dsn)
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
    assert altered(database) == names

"""Migrates a database to the schema of this program.

Each file of `migrations/` runs once, in order, and its checksum is stored: a file that was changed
after it ran is an error, because two databases could then differ and both claim to be current.
Runs with the owner's rights; the service itself runs with least privilege (see connection.py).
"""

import hashlib
import re
import time
from dataclasses import dataclass
from importlib import resources

import psycopg2
import psycopg2.errors

from domain.store.errors import DatabaseNotUnicode, DatabaseTooNew, MigrationChanged
from domain.store.postgres.connection import (
    APP_ROLE,
    Cursor,
    PgConnection,
    close_quietly,
    connect,
)

_LOCK = 0x63657274  # "cert": one number, the same in every program that migrates
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_ROLE_ATTEMPTS = 20
_ROLE_PAUSE_SECONDS = 0.05

_PRELUDE = """
CREATE SCHEMA IF NOT EXISTS certledger;
CREATE TABLE IF NOT EXISTS certledger.migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

_ROLE = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN
        CREATE ROLE {APP_ROLE} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT pg_has_role(current_user, '{APP_ROLE}', 'MEMBER') THEN
        EXECUTE format('GRANT {APP_ROLE} TO %I', current_user);
    ELSIF current_setting('server_version_num')::int >= 160000 THEN
        -- Since 16, the creator of a role is a member but may not SET ROLE to it.
        IF NOT pg_has_role(current_user, '{APP_ROLE}', 'SET') THEN
            EXECUTE format('GRANT {APP_ROLE} TO %I', current_user);
        END IF;
    END IF;
END $$
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. checksum: SHA-256 of the file's bytes, hex."""

    number: int
    name: str
    sql: str
    checksum: str


def migrations() -> tuple[Migration, ...]:
    """Every step, in order."""
    folder = resources.files("domain.store.postgres.migrations")
    found = []
    for file in folder.iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            sql = file.read_bytes()
            checksum = hashlib.sha256(sql).hexdigest()
            found.append(Migration(int(match[1]), file.name, sql.decode(), checksum))
    return tuple(sorted(found, key=lambda step: step.number))


def migrate(dsn: str, steps: tuple[Migration, ...] | None = None) -> tuple[str, ...]:
    """Apply the missing steps. Safe at every start, from many processes at once.

    steps: the known steps; all files of `migrations/` if None.
    Returns: the names of the steps applied by this call.
    Raises: DatabaseNotUnicode, MigrationChanged, DatabaseTooNew; psycopg2.Error if a step
        fails, and then all steps of this call are rolled back.
    """
    wanted = migrations() if steps is None else steps
    settings = {"lock_timeout": "60s", "statement_timeout": "0"}
    connection = connect(dsn, name="certledger migrate", role=None, settings=settings)
    try:
        encoding = connection.get_parameter_status("server_encoding")
        if encoding != "UTF8":
            raise DatabaseNotUnicode(encoding=encoding)
        _ensure_role(connection)
        connection.autocommit = False
        with connection, connection.cursor() as cursor:
            # Held to the end of the transaction: a second migration waits here, then finds
            # nothing left to do.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor.execute(_PRELUDE)
            return _apply(cursor, wanted)
    finally:
        close_quietly(connection)


def _apply(cursor: Cursor, wanted: tuple[Migration, ...]) -> tuple[str, ...]:
    cursor.execute("SELECT number, checksum FROM certledger.migrations ORDER BY number")
    done = dict(cursor.fetchall())
    known = {step.number for step in wanted}
    for number in done:
        if number not in known:
            raise DatabaseTooNew(number=number)
    applied = []
    for step in wanted:
        if step.number in done:
            if done[step.number] != step.checksum:
                raise MigrationChanged(name=step.name)
            continue
        cursor.execute(step.sql)
        cursor.execute(
            "INSERT INTO certledger.migrations (number, name, checksum) VALUES (%s, %s, %s)",
            (step.number, step.name, step.checksum),
        )
        applied.append(step.name)
    return tuple(applied)


def _ensure_role(connection: PgConnection) -> None:
    """Create the group role, which all databases of a cluster share.

    The advisory lock belongs to one database, so two databases may do this at the same moment; the
    loser gets a duplicate or a "tuple concurrently updated" and retries.
    """
    for attempt in range(_ROLE_ATTEMPTS):
        try:
            with connection.cursor() as cursor:
                cursor.execute(_ROLE)
            return
        except (
            psycopg2.errors.DuplicateObject,
            psycopg2.errors.UniqueViolation,
            psycopg2.errors.InternalError_,
        ):
            if attempt == _ROLE_ATTEMPTS - 1:
                raise
            time.sleep(_ROLE_PAUSE_SECONDS)

"""Servers and databases for the tests."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from domain.store.embedded.server import OWNER, SUPERUSER, EmbeddedPostgres

OLDEST_SUPPORTED = 15


@dataclass(frozen=True)
class Database:
    """One fresh database of a test server. `dsn` is its owner's, `admin_dsn` the superuser's."""

    server: EmbeddedPostgres
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(OWNER, self.name)

    @property
    def admin_dsn(self) -> str:
        return self.server.dsn(SUPERUSER, self.name)

    def dsn_of(self, user: str) -> str:
        return self.server.dsn(user, self.name)

    @contextmanager
    def connect(self, user: str = OWNER, *, autocommit: bool = True) -> Iterator[Connection]:
        connection = psycopg2.connect(self.dsn_of(user))
        connection.autocommit = autocommit
        try:
            yield connection
        finally:
            connection.close()

    def execute(self, sql: str, *arguments: object, user: str = OWNER) -> list[tuple]:
        """Runs one autocommitted statement and returns its rows, if any."""
        return query(self.dsn_of(user), sql, *arguments)


def query(dsn: str, sql: str, *arguments: object) -> list[tuple]:
    """Runs one statement on its own connection, autocommitted, and returns its rows, if any."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@contextmanager
def fresh_database(server: EmbeddedPostgres, options: str = "") -> Iterator[Database]:
    """A database for one use, dropped afterwards with its remaining connections.

    options: of CREATE DATABASE.
    """
    database = Database(server, f"test_{uuid.uuid4().hex[:16]}")
    admin = Database(server, "postgres")
    admin.execute(f"CREATE DATABASE {database.name} OWNER {OWNER} {options}", user=SUPERUSER)
    try:
        yield database
    finally:
        admin.execute(f"DROP DATABASE {database.name} WITH (FORCE)", user=SUPERUSER)


class InstalledPostgres(EmbeddedPostgres):
    """Another major version, as installed by the system's packages."""

    locale_arguments = ("--locale=C",)  # the builtin provider came with 17

    def __init__(self, binaries: Path, major_version: int, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.major_version = major_version
        self._binaries = binaries

    @property
    def binaries(self) -> Path:
        return self._binaries


def installed_versions() -> dict[int, Path]:
    """Installed major versions other than the embedded one, with their program directories."""
    found = {}
    for program in Path("/usr/lib/postgresql").glob("*/bin/initdb"):
        version = program.parts[-3]
        if re.fullmatch("[0-9]+", version) and int(version) >= OLDEST_SUPPORTED:
            found[int(version)] = program.parent
    found.pop(EmbeddedPostgres.major_version, None)
    return dict(sorted(found.items()))

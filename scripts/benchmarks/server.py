"""The server of a run: one embedded PostgreSQL with fsync on, deleted afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from domain.store.embedded.server import OWNER, SUPERUSER, EmbeddedPostgres, bin_dir
from domain.store.journal.journal import Journal
from domain.store.keys.seals import Sealer, read_seal_key, seal_key
from domain.store.postgres.migrate import migrate

LEDGER = "bench"
SEALER = Sealer(seal_key(bytes(range(32))))
"""Seals the journals that are written without a service."""
_SETTINGS = {"max_connections": "200"}  # contenders, their pools and pgbench at the same time


def journal_of(dsn: str, ledger: str = LEDGER, *, key_file: str | None = None) -> Journal:
    """A journal of a benchmark. Close it. key_file: journal key of the service that opened it."""
    sealer = Sealer(read_seal_key(Path(key_file).read_text().strip())) if key_file else SEALER
    return Journal(dsn, ledger, sealer.of(ledger))


@dataclass(frozen=True)
class Server:
    """A running server, and databases on it."""

    postgres: EmbeddedPostgres

    @property
    def socket_dir(self) -> str:
        assert self.postgres.socket_dir is not None
        return str(self.postgres.socket_dir)

    def dsn(self, database: str, user: str = OWNER) -> str:
        return self.postgres.dsn(user, database)

    def database(self, name: str) -> str:
        """A fresh empty database; its DSN."""
        self.execute("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.execute("postgres", f"CREATE DATABASE {name} OWNER {OWNER}")
        return self.dsn(name)

    def ledger_database(self, name: str, ledger: str = LEDGER) -> str:
        """A fresh database with our schema and one empty ledger; its DSN."""
        dsn = self.database(name)
        migrate(dsn)
        journal = journal_of(dsn, ledger)
        journal.create_ledger()
        journal.close()
        return dsn

    def execute(self, database: str, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Run one autocommitted statement as superuser. Returns: its rows, if any."""
        connection = psycopg2.connect(self.dsn(database, SUPERUSER))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def settle(self) -> None:
        """Checkpoint, so that a contender does not pay for its predecessor's dirty pages."""
        self.execute("postgres", "CHECKPOINT")

    def conditions(self) -> dict[str, Any]:
        """Version, and the settings that determine durability."""
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes",
                 "shared_buffers", "wal_sync_method")  # fmt: skip
        rows = self.execute(
            "postgres",
            "SELECT name, current_setting(name) FROM unnest(ARRAY["
            + ", ".join(f"'{name}'" for name in names)
            + "]) AS name",
        )
        found = dict(rows)
        return {"postgresql": found.pop("server_version"), **found}


@contextmanager
def server(reuse_in: Path | None = None) -> Iterator[Server]:
    """A server in its own directory, which is always removed afterwards.

    reuse_in: a directory that persists and is reused if it exists.
    """
    data_dir = reuse_in or Path(tempfile.mkdtemp(prefix="certledger-bench-"))
    try:
        with EmbeddedPostgres(data_dir, settings=_SETTINGS) as postgres:
            yield Server(postgres)
    finally:
        if reuse_in is None:
            shutil.rmtree(data_dir, ignore_errors=True)


def program(name: str) -> str:
    """Path of one of PostgreSQL's own programs."""
    return str(bin_dir() / name)

"""Writes `definitions.txt` after a migration: python -m tests.support.definitions"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from domain.store.embedded.server import EmbeddedPostgres
from domain.store.postgres import definitions
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from tests.support.source import ROOT

FILE = ROOT / "domain" / "store" / "postgres" / "definitions.txt"


def definitions_of(dsn: str) -> str:
    """The file's text for a migrated database."""
    with closing(connect(dsn)) as connection, connection.cursor() as cursor:
        return "\n".join([*sorted(definitions.of_store(cursor)), ""])


def main() -> None:
    with TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        dsn = server.start()
        try:
            migrate(dsn)
            FILE.write_text(definitions_of(dsn), encoding="utf-8")
        finally:
            server.stop()


if __name__ == "__main__":
    main()

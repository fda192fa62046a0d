"""A migrated database with one ledger in it, and a journal on it."""

from collections.abc import Iterator

import pytest

from domain.store.journal.journal import Journal
from domain.store.postgres.migrate import migrate
from tests.support.keys import journal_of
from tests.support.postgres import Database


@pytest.fixture
def dsn(database: Database) -> str:
    """Of a fresh database with the current schema."""
    migrate(database.dsn)
    return database.dsn


@pytest.fixture
def journal(dsn: str) -> Iterator[Journal]:
    """An empty journal of the ledger `omc`."""
    journal = journal_of(dsn, "omc")
    journal.create_ledger()
    yield journal
    journal.close()

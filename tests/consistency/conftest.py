"""A migrated database with the ledger `omc`."""

from __future__ import annotations

import pytest

from domain.store.postgres.migrate import migrate
from tests.consistency.faults import reject_poison
from tests.support.keys import journal_of
from tests.support.postgres import Database


@pytest.fixture
def dsn(database: Database) -> str:
    """A fresh database with an empty ledger `omc`, which rejects poisoned events."""
    migrate(database.dsn)
    journal = journal_of(database.dsn, "omc")
    journal.create_ledger()
    journal.close()
    reject_poison(database.dsn)
    return database.dsn

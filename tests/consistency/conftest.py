"""A migrated database for the histories of its ledger `omc`."""

from __future__ import annotations

import pytest

from domain.store.journal.journal import Journal
from domain.store.postgres.migrate import migrate
from tests.consistency.faults import forbid_poison
from tests.support.postgres import Database


@pytest.fixture
def dsn(database: Database) -> str:
    """Of a fresh database with an empty ledger `omc`, where poisoned events are refused."""
    migrate(database.dsn)
    journal = Journal(database.dsn, "omc")
    journal.create_ledger()
    journal.close()
    forbid_poison(database.dsn)
    return database.dsn

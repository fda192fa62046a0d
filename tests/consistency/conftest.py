"""A migrated database with the ledger `omc`, and copies of an honest one to tamper with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domain.store.postgres.migrate import migrate
from tests.consistency.faults import reject_poison
from tests.consistency.live_ledger import LiveLedger, running_on
from tests.support.honest import Copy
from tests.support.honest_fixtures import copy, honest
from tests.support.keys import journal_of
from tests.support.postgres import Database

__all__ = ["copy", "dsn", "honest"]


@pytest.fixture
def dsn(database: Database) -> str:
    """A fresh database with an empty ledger `omc`, which rejects poisoned events."""
    migrate(database.dsn)
    journal = journal_of(database.dsn, "omc")
    journal.create_ledger()
    journal.close()
    reject_poison(database.dsn)
    return database.dsn


@pytest.fixture
def live(copy: Copy) -> Iterator[LiveLedger]:
    """A service that runs on a copy of the honest database."""
    with running_on(copy) as running:
        yield running

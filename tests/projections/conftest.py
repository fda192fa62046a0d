"""A migrated database and a ledger's journal on it, with the views' tables in place."""

from collections.abc import Callable, Iterator

import pytest

from domain.store.postgres.migrate import migrate
from tests.projections.grammar import ProjectedLedger
from tests.support.postgres import Database


@pytest.fixture
def dsn(database: Database) -> str:
    """Of a fresh database with the current schema."""
    migrate(database.dsn)
    return database.dsn


@pytest.fixture
def open_ledger(dsn: str) -> Iterator[Callable[..., ProjectedLedger]]:
    """Makes ledgers on the database; closed after the test."""
    ledgers: list[ProjectedLedger] = []

    def make(ledger: str = "omc", **options: object) -> ProjectedLedger:
        ledgers.append(ProjectedLedger(dsn, ledger, **options))
        return ledgers[-1]

    yield make
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., ProjectedLedger]) -> ProjectedLedger:
    """The ledger `omc`."""
    return open_ledger()

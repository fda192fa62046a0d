"""A ledger with due work, and what keeps its worklist up to date."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domain.store.postgres.migrate import migrate
from projections.runner_process import new_runner
from tests.projections.grammar import ProjectedLedger
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database


@pytest.fixture
def dsn(database: Database) -> str:
    """Of a fresh database with the current schema."""
    migrate(database.dsn)
    return database.dsn


@pytest.fixture
def ledger(dsn: str) -> Iterator[ProjectedLedger]:
    """The ledger `omc`, whose views are followed."""
    ledger = ProjectedLedger(dsn)
    with new_runner(dsn, SECRETS):
        yield ledger
    ledger.close()

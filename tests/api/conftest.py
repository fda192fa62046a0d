"""A running service for the tests of its HTTP interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.support.lookup_workers import Running, running_with_lookup_worker
from tests.support.postgres import fresh_database
from tests.support.service import LedgerClient, new_ledger, running, settings_for


@pytest.fixture(scope="module", params=["main process", "lookup worker"])
def beginning(request: pytest.FixtureRequest) -> Running:
    """Runs a service whose connections start in its main process, or in a lookup worker."""
    return running if request.param == "main process" else running_with_lookup_worker


@pytest.fixture(scope="session")
def service_url(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The service on a database of its own, shared by the test session."""
    folder: Path = tmp_path_factory.mktemp("service")
    with fresh_database(postgres) as database, running(settings_for(database.dsn, folder)) as url:
        yield url


@pytest.fixture(scope="session")
def client(service_url: str) -> Iterator[httpx.Client]:
    """A client of that service, without a token."""
    with httpx.Client(base_url=service_url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def ledger(client: httpx.Client) -> LedgerClient:
    """A ledger of the test's own, opened on 2026-03-01."""
    return new_ledger(client, "2026-03-01T08:00:00+08:00")


@pytest.fixture(scope="module")
def module_ledger(client: httpx.Client) -> LedgerClient:
    """A ledger for all tests of a module."""
    return new_ledger(client, "2026-03-01T08:00:00+08:00")

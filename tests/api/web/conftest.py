"""A running service with a small history, for the tests of its pages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.api.web.example_history import History, record_history
from tests.support.postgres import fresh_database
from tests.support.service import running, settings_for

ROWS_A_PAGE = 2
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_addresses = (f"198.51.100.{n}" for n in itertools.cycle(range(1, 255)))


@pytest.fixture(scope="session")
def history(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    """The service and what happened in it; pages of lists hold two rows."""
    folder: Path = tmp_path_factory.mktemp("pages")
    with fresh_database(postgres) as database:
        settings = settings_for(database.dsn, folder, page_rows_max=ROWS_A_PAGE, lookup_limit=True)
        with (
            running(settings) as url,
            httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
        ):
            yield record_history(url, client)


@pytest.fixture
def address() -> str:
    """A client address of its own for a test, as a proxy sends it: lookups are limited by it."""
    return next(_addresses)


@pytest.fixture
def http(history: History, address: str) -> Iterator[httpx.Client]:
    """A client that asks for pages as a browser does; its cookies are the test's own."""
    headers = {"Accept": HTML, "Origin": history.url, "X-Forwarded-For": address}
    with httpx.Client(base_url=history.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client

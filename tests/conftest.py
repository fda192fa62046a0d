"""Fixtures shared by all tests: PostgreSQL servers, fresh databases, a browser."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.support.browser import require_chromium
from tests.support.postgres import (
    Database,
    InstalledPostgres,
    fresh_database,
    installed_versions,
)

# The tests must not depend on the settings of the developer's shell.
for name in list(os.environ):
    allowed = name in ("CERTLEDGER_ALLOW_NO_BROWSER", "CERTLEDGER_ALLOW_NO_GO")
    if name.startswith(("CERTLEDGER_", "PG")) and not allowed:
        del os.environ[name]


DATABASE_FIXTURES = {"postgres", "postgres_servers", "server_dir"}
"""What starts a PostgreSQL server; every other fixture gets one through these."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need PostgreSQL, by the fixtures they use directly or through others."""
    for item in items:
        if DATABASE_FIXTURES & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.database)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser"):
        require_chromium()


@contextmanager
def _short_directory() -> Iterator[Path]:
    # Not under tmp_path: a socket path has a length limit, and another account needs access.
    path = Path(tempfile.mkdtemp(prefix="certledger-test-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def server_dir() -> Iterator[Path]:
    """A directory for a server that belongs to one test."""
    with _short_directory() as path:
        yield path


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The embedded server, one for the whole session."""
    with _short_directory() as path, EmbeddedPostgres(path) as server:
        yield server


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A fresh database for one test."""
    with fresh_database(postgres) as database:
        yield database


@pytest.fixture(scope="module")
def module_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A fresh database for all tests of a module."""
    with fresh_database(postgres) as database:
        yield database


@pytest.fixture(
    scope="session",
    params=[EmbeddedPostgres.major_version, *installed_versions()],
    ids=lambda version: f"postgres{version}",
)
def postgres_servers(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """Each available major version: the embedded one, and those installed on the system."""
    if request.param == EmbeddedPostgres.major_version:
        yield request.getfixturevalue("postgres")
        return
    binaries = installed_versions()[request.param]
    with (
        _short_directory() as path,
        InstalledPostgres(binaries, request.param, path) as server,
    ):
        yield server


@pytest.fixture
def database_on_each(postgres_servers: EmbeddedPostgres) -> Iterator[Database]:
    """A fresh database for one test, which runs once on each available major version."""
    with fresh_database(postgres_servers) as database:
        yield database


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium driven by playwright; mark the tests that use it `browser`.

    Module scope: while it is open, playwright runs an event loop in this thread.
    """
    program = require_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Only the tests' own requests leave the machine.
        arguments = ["--disable-gpu", "--disable-quic", "--disable-sync"]
        if os.geteuid() == 0:  # then Chromium's sandbox cannot be set up
            arguments.append("--no-sandbox")
        launched = playwright.chromium.launch(executable_path=program, args=arguments)
        yield launched
        launched.close()

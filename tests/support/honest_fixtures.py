"""The fixtures `honest` and `copy`; a conftest imports them for the tests of its folder.

Apart from `tests.support.honest`, because a fixture hides what a test calls directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.support.honest import Copy, Honest, copy_of, honest_database


@pytest.fixture(scope="session")
def honest(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Honest]:
    """The honest database, which nobody alters: tests alter copies of it."""
    with honest_database(postgres, tmp_path_factory.mktemp("honest")) as made:
        yield made


@pytest.fixture
def copy(honest: Honest, tmp_path: Path) -> Iterator[Copy]:
    """A copy for one test, with its folder in tmp_path."""
    with copy_of(honest, tmp_path) as made:
        yield made

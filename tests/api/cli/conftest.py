"""Copies of an honest database, for the commands that check one, and settings for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.settings import Settings
from tests.api.cli.test_main import SETTINGS
from tests.support.honest_fixtures import copy, honest
from tests.support.postgres import Database

__all__ = ["copy", "honest"]


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Of the test's own database and data directory."""
    given = {k.removeprefix("CERTLEDGER_").lower(): v for k, v in SETTINGS.items()}
    return Settings(database_url=database.dsn, data_dir=tmp_path, **given)

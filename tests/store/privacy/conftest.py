"""A ledger with its wrapped keys, for the tests of epochs."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.store.journal.journal import Journal
from domain.store.privacy.epoch_keys import EpochKeys
from domain.store.privacy.key_renewal import KeyRenewal
from tests.store.facts import MASTER_KEYS
from tests.store.wrapped_keys import Safe
from tests.support.keys import SEALER


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture
def safe(journal: Journal, directories: tuple[Path, Path]) -> Safe:
    keys = EpochKeys(MASTER_KEYS, directories)
    return Safe(journal, keys, datetime.now(UTC), KeyRenewal(keys, "aes-256-gcm", SEALER))

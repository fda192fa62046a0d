"""A running service ends an epoch by itself, and shows when nobody does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.worker.key_renewal_job import KeyRenewalJob
from domain.service.ledger import LedgerSecrets
from domain.store.privacy.bucket_keys import make_buckets
from domain.store.privacy.epoch_keys import EpochKeys
from tests.support.keys import journal_of
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until


@pytest.fixture
def secrets(tmp_path: Path) -> LedgerSecrets:
    """With a key directory of its own."""
    return replace(SECRETS, epoch_keys=EpochKeys(SECRETS.epoch_keys.master_keys, (tmp_path,)))


def test_an_epoch_that_is_over_is_ended(
    dsn: str, database: Database, secrets: LedgerSecrets, tmp_path: Path
) -> None:
    journal = journal_of(dsn)
    journal.create_ledger()
    before = datetime.now(UTC) - timedelta(days=31)
    with journal.unit_of_work() as cursor:
        make_buckets(cursor, "omc", secrets.epoch_keys, "aes-256-gcm", before)
    journal.close()
    [first] = tmp_path.iterdir()
    with KeyRenewalJob(dsn, secrets, rest=timedelta(0)):
        wait_until(lambda: not first.exists())
    assert [path.name[:8] for path in tmp_path.iterdir()] == ["epoch_2_"]
    rows = "SELECT epoch, count(*) FROM certledger.bucket_keys GROUP BY epoch"
    assert database.execute(rows) == [(2, 1024)]

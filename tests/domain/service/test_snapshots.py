"""Snapshots of states on PostgreSQL.

Covers: domain/service/snapshots.py, domain/store/journal/snapshot_table.py
"""

import psycopg2
import pytest

from domain.service.snapshots import INTERVAL, TOPIC, Snapshot, SnapshotStore, restore, take
from domain.states.folds import Series
from domain.store.journal.journal import Journal
from domain.store.journal.snapshot_table import select_snapshots
from domain.store.postgres.migrate import migrate
from tests.support.keys import journal_of
from tests.support.postgres import Database

STREAM = "series-national-2026-4"


@pytest.fixture
def journal(database: Database) -> Journal:
    migrate(database.dsn)
    journal = journal_of(database.dsn, "omc")
    journal.create_ledger()
    return journal


def series(version: int) -> Series:
    return Series("national-2026-4", version=version)


def test_the_last_snapshot_up_to_a_version_is_restored(journal: Journal) -> None:
    store = SnapshotStore(journal)
    assert store.latest(STREAM) is None
    for version in (INTERVAL, 2 * INTERVAL):
        store.put(STREAM, series(version))
    assert store.latest(STREAM) == series(2 * INTERVAL)
    assert store.latest(STREAM, lte=2 * INTERVAL - 1) == series(INTERVAL)
    assert store.latest(STREAM, lte=INTERVAL - 1) is None
    assert SnapshotStore(journal_of(journal.dsn, "other")).latest(STREAM) is None


def test_a_version_has_one_snapshot(journal: Journal) -> None:
    store = SnapshotStore(journal)
    store.put(STREAM, series(INTERVAL))
    with pytest.raises(psycopg2.errors.UniqueViolation):
        store.put(STREAM, series(INTERVAL))


def test_a_snapshot_is_stored_as_plain_json(journal: Journal) -> None:
    SnapshotStore(journal).put(STREAM, series(INTERVAL))
    (row,) = select_snapshots(journal, STREAM)
    assert (row.version, row.topic) == (INTERVAL, TOPIC)
    assert Snapshot.model_validate_json(row.state) == take(STREAM, series(INTERVAL))


def test_a_snapshot_of_a_class_whose_fields_changed_is_not_used() -> None:
    snapshot = take(STREAM, series(INTERVAL))
    assert restore(snapshot) == series(INTERVAL)
    assert restore(snapshot.model_copy(update={"shape": "0" * 16})) is None

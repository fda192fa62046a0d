"""The audit of a journal of several ranges, by one process and by two.

Covers: domain/store/tlog/audit.py, domain/store/tlog/fast_audit.py
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.journal.journal import Journal
from domain.store.postgres.migrate import migrate
from domain.store.tlog import merkle
from domain.store.tlog.audit import AuditReport, verify
from domain.store.tlog.checkpoints import CheckpointSigner
from domain.store.tlog.fast_audit import RANGE_EVENTS, audit_range
from domain.store.tlog.signed_note import Signer
from tests.store.drafts import append
from tests.support.keys import journal_of
from tests.support.postgres import Database

pytestmark = pytest.mark.slow

SIGNER = Signer("certledger.example/omc", b"k" * 32)
VKEY = SIGNER.verifier.vkey

SIGNED = (5, RANGE_EVENTS - 1, RANGE_EVENTS, RANGE_EVENTS + 1, 2 * RANGE_EVENTS + 50)
SIZE = 2 * RANGE_EVENTS + 100


@pytest.fixture(scope="module")
def long_journal(module_database: Database) -> Iterator[Journal]:
    """Three ranges, the last one short, with checkpoints inside ranges and at their ends."""
    migrate(module_database.dsn)
    journal = journal_of(module_database.dsn, "omc")
    journal.create_ledger()
    written = 0
    for size in (*SIGNED, SIZE):
        with journal.transaction() as transaction:
            transaction.append(
                append(f"application-{n // 10}", n % 10 + 1) for n in range(written, size)
            )
        written = size
        if size in SIGNED:
            CheckpointSigner(journal, SIGNER).sign()
    yield journal
    journal.close()


@contextmanager
def changed(database: Database, position: int, verb: str, what: str = "") -> Iterator[None]:
    """Change one event as a superuser for a block, and restore it afterwards.

    verb: apart from the rest, because a statement that changes the journal has no place in any
    program.
    """
    one = "WHERE position = %s"
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute(f"CREATE TABLE kept AS SELECT * FROM certledger.journal {one}", (position,))
        try:
            cursor.execute(f"{verb} certledger.journal {what} {one}", (position,))
            yield
        finally:
            cursor.execute(f"{'DELETE'} FROM certledger.journal {one}", (position,))
            cursor.execute("INSERT INTO certledger.journal SELECT * FROM kept")
            cursor.execute("DROP TABLE kept")
            cursor.execute("ALTER TABLE certledger.journal ENABLE TRIGGER ALL")


def findings_of(report: AuditReport) -> list[str]:
    return [str(problem) for problem in report.findings]


@pytest.mark.parametrize("hashes_only", [True, False])
@pytest.mark.parametrize("processes", [1, 2])
def test_every_signed_size_is_compared_within_and_between_ranges(
    long_journal: Journal, processes: int, hashes_only: bool
) -> None:
    report = verify(long_journal, VKEY, hashes_only=hashes_only, processes=processes)
    assert (report.size, report.checkpoints, findings_of(report)) == (SIZE, len(SIGNED), [])
    assert report.root == merkle.root(event.leaf_hash for event in long_journal.events())


@pytest.mark.parametrize(
    "position", [1, RANGE_EVENTS, RANGE_EVENTS + 1, 2 * RANGE_EVENTS + 1, SIZE]
)
@pytest.mark.parametrize("hashes_only", [True, False])
def test_a_flipped_byte_is_named_in_every_range(
    long_journal: Journal, module_database: Database, position: int, hashes_only: bool
) -> None:
    flip = "SET envelope = set_byte(envelope, 99, get_byte(envelope, 99) # 1)"
    with changed(module_database, position, "UPDATE", flip):
        report = verify(long_journal, VKEY, hashes_only=hashes_only, processes=2)
    assert f"position {position}: the envelope does not have the stored hash" in findings_of(report)
    assert report.first_bad_position == position
    assert verify(long_journal, VKEY).is_good


@pytest.mark.parametrize("position", [1, RANGE_EVENTS, RANGE_EVENTS + 1, SIZE])
@pytest.mark.parametrize("hashes_only", [True, False])
def test_a_missing_event_is_named_in_every_range(
    long_journal: Journal, module_database: Database, position: int, hashes_only: bool
) -> None:
    with changed(module_database, position, "DELETE FROM"):
        report = verify(long_journal, hashes_only=hashes_only)
    assert report.first_bad_position == position
    assert findings_of(report)[0].startswith(f"position {position}: is missing; ")


def test_a_change_of_any_byte_of_an_event_is_found(
    long_journal: Journal, module_database: Database
) -> None:
    size = len(long_journal.read(6, 1)[0].envelope)
    assert size > 400
    assert audit_range(long_journal, 4, 8, (), hashes_only=True) is not None
    with module_database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")

        def flip(column: str, index: int) -> None:
            new = f"set_byte({column}, {index}, get_byte({column}, {index}) # 64)"
            cursor.execute(f"{'UPDATE'} certledger.journal SET {column} = {new} WHERE position = 7")

        for column, bytes_ in (("envelope", size), ("leaf_hash", 32)):
            for index in range(bytes_):
                flip(column, index)
                assert audit_range(long_journal, 4, 8, (), hashes_only=True) is None, (
                    column,
                    index,
                )
                flip(column, index)
        cursor.execute("ALTER TABLE certledger.journal ENABLE TRIGGER ALL")
    assert audit_range(long_journal, 4, 8) is not None


def test_a_hash_of_another_length_is_found(
    long_journal: Journal, module_database: Database
) -> None:
    # Without its constraint: as much as a superuser can do.
    limit = "journal_leaf_hash_check"
    alter = "ALTER TABLE certledger.journal"
    module_database.execute(f"{alter} DROP CONSTRAINT {limit}", user=SUPERUSER)
    for new in ("leaf_hash || '\\x00'::bytea", "substr(leaf_hash, 1, 31)"):
        with changed(module_database, 7, "UPDATE", f"SET leaf_hash = {new}"):
            assert verify(long_journal, hashes_only=True).first_bad_position == 7
    check = f"ADD CONSTRAINT {limit} CHECK (octet_length(leaf_hash) = 32)"
    module_database.execute(f"{alter} {check}", user=SUPERUSER)
    assert verify(long_journal, VKEY, hashes_only=True).is_good

"""Checkpoints detect what a superuser of the database alters."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from api.app import open_service
from api.transparency.checkpoint_signing import checkpoint_path
from api.transparency.log_keys import log_seed, make_log_key
from domain.store.journal.envelope import leaf_hash
from domain.store.tlog.audit import AuditReport, verify
from domain.store.tlog.signed_note import Signer
from tests.support.commands import fees, open_ledger
from tests.support.keys import journal_of
from tests.support.ledgers import submit
from tests.support.postgres import Database
from tests.support.service import settings_for

ORIGIN = "example.org/omc"


@pytest.fixture
def signed(database: Database, tmp_path: Path) -> tuple[Database, str, str]:
    """A ledger that a service has signed: the database, the log's key, and its checkpoint file."""
    settings = settings_for(database.dsn, tmp_path)
    make_log_key(settings, "omc")
    with ExitStack() as closing:
        service = open_service(settings, closing)
        ledger = service.ledgers.create("omc", "S000033000123")
        submit(ledger, open_ledger(log_origin=ORIGIN), key="1")
        submit(ledger, fees(), key="2")
    vkey = Signer(ORIGIN, log_seed(settings, "omc")).verifier.vkey
    return database, vkey, checkpoint_path(settings, "omc").read_text()


def audit(database: Database, vkey: str, note: str) -> AuditReport:
    journal = journal_of(database.dsn, "omc")
    try:
        return verify(journal, vkey, [note])
    finally:
        journal.close()


def test_a_stopped_service_has_signed_its_last_event(signed: tuple[Database, str, str]) -> None:
    database, vkey, note = signed
    report = audit(database, vkey, note)
    assert report.is_good
    assert report.checkpoints >= 1
    assert f"\n{report.size}\n" in note


def test_an_edit_with_recomputed_hashes_is_found(signed: tuple[Database, str, str]) -> None:
    database, vkey, note = signed
    rows = database.execute("SELECT envelope FROM certledger.journal WHERE position = 2")
    forged = bytes(rows[0][0]).replace(b"30000", b"10000")
    with database.connect("postgres") as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute(
            "UPDATE certledger.journal SET envelope = %s, leaf_hash = %s WHERE position = 2",
            (forged, leaf_hash(forged)),
        )
    report = audit(database, vkey, note)
    assert not report.is_good
    findings = " ".join(str(finding) for finding in report.findings)
    assert "signed" in findings, findings


def test_a_deleted_tail_is_found_by_the_checkpoint_file(
    signed: tuple[Database, str, str],
) -> None:
    database, vkey, note = signed
    with database.connect("postgres") as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
        cursor.execute("ALTER TABLE certledger.checkpoints DISABLE TRIGGER ALL")
        cursor.execute("ALTER TABLE certledger.ledgers DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM certledger.journal WHERE position = 2")
        cursor.execute("DELETE FROM certledger.checkpoints")
        cursor.execute("UPDATE certledger.ledgers SET position = 1")
    report = audit(database, vkey, note)
    assert not report.is_good

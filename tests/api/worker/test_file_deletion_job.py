"""Uploads and reports lie sealed on the disk, and are gone soon after an erasure.

Covers: api/worker/file_deletion_job.py, api/worker/database_job.py,
domain/audit/attachments_check.py
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openpyxl import load_workbook

from api.worker.file_deletion_job import FileDeletionJob
from domain.audit.attachments_check import AttachmentsCheck
from domain.audit.events import run
from domain.audit.results import CheckResult, at_once
from domain.documents.materials import MaterialKind
from domain.service.files import Files
from domain.service.ledger import Ledger, Ledgers
from domain.store.blobs import Blobs
from tests.support.commands import document_of, name_of
from tests.support.http_journey import (
    HANDED_IN_AT,
    Journey,
    certify,
    hold,
    portrait,
    publish_and_close,
    scan,
    schedule,
    score,
    seat,
)
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.service import LedgerClient, new_ledger, running, settings_for
from tests.support.waiting import wait_until

LATER = "2026-03-20T09:00:00+08:00"
REPORTED_AT = "2026-10-16T09:00:00+08:00"
PHOTO, WORK = MaterialKind.PHOTO, MaterialKind.WORK_HISTORY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data directory of the service."""
    return tmp_path / "data"


@pytest.fixture
def ledger(database: Database, folder: Path) -> Iterator[LedgerClient]:
    """A ledger of a running service that does due work."""
    folder.mkdir()
    with (
        running(settings_for(database.dsn, folder)) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield new_ledger(client, "2026-03-01T08:00:00+08:00")


@pytest.fixture
def reader(database: Database, ledger: LedgerClient) -> Iterator[Ledger]:
    """The same ledger, without the service."""
    ledgers = Ledgers(database.dsn, SECRETS)
    yield ledgers.get(ledger.name)
    ledgers.close()


def paid(ledger: LedgerClient, n: int) -> Journey:
    journey = Journey(ledger, n)
    journey.register()
    journey.apply()
    journey.pay()
    return journey


def erase(journey: Journey) -> None:
    """The photo's class goes at once; records of the assessment are kept."""
    journey.candidate(LATER).write(f"{journey.application}/withdrawal", {"reason": "不考了"})
    journey.erase(LATER)


def stored(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in (folder / "blobs").rglob("??*") if path.is_file()
    }


def audit(reader: Ledger, folder: Path) -> CheckResult:
    check = AttachmentsCheck(Blobs(folder / "blobs"), reader.journal, reader.vault)
    upto = reader.journal.head().position
    run(reader.journal, [check], upto, at_once)
    return check.result


def test_no_byte_of_an_upload_is_on_the_disk_in_clear(
    ledger: LedgerClient, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the data directory, and not in a spool file."""
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    journey = paid(ledger, 1)
    data = scan(33)
    photo = portrait(77)
    assert journey.upload("work_history", data, "w.png", "image/png", HANDED_IN_AT).is_success
    name = f"{name_of(1)}_{document_of(1)}.jpg"
    assert journey.upload("photo", photo, name, "image/jpeg", HANDED_IN_AT).is_success
    assert list(spool.rglob("*")) == []
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(stored(folder)) == 2
    for plain in (data, photo):
        digest = hashlib.sha256(plain)
        for secret in (plain[8:40], digest.digest(), digest.hexdigest().encode()):
            assert not any(secret in content for content in found)
    agency = ledger.caller("agency")
    assert agency.get("applications/A1/documents/work_history").content == data
    assert agency.get("applications/A1/documents/photo").content == photo


def test_a_refused_or_repeated_upload_leaves_no_file(ledger: LedgerClient, folder: Path) -> None:
    journey = paid(ledger, 1)
    form = {"data": {"kind": "work_history"}, "files": {"file": ("w.png", scan(1), "image/png")}}
    candidate = journey.candidate(HANDED_IN_AT)
    path = f"{journey.application}/documents"
    first = candidate.send(path, key="once", **form)
    again = candidate.send(path, key="once", **form)
    assert (first.status_code, again.content) == (201, first.content)
    other = {**form, "data": {"kind": "identity_proof"}}
    assert candidate.send(path, **other).json()["code"] == "same_file_twice"
    assert len(stored(folder)) == 1


def test_after_an_erasure_the_files_of_its_classes_are_gone_and_nothing_is_missing(
    ledger: LedgerClient, folder: Path, reader: Ledger, tmp_path: Path
) -> None:
    journeys = [paid(ledger, n) for n in (1, 2)]
    for journey in journeys:
        photo_name = f"{name_of(journey.n)}_{document_of(journey.n)}.jpg"
        for shade in (5, 6):  # the second takes the place of the first
            journey.upload("photo", portrait(shade), photo_name, "image/jpeg", HANDED_IN_AT)
        journey.upload("work_history", scan(7), "w.png", "image/png", HANDED_IN_AT)
    files = Files(reader, Blobs(folder / "blobs"))
    left = {files.document("A2", kind).sha256 for kind in (PHOTO, WORK)}
    left.add(files.document("A1", WORK).sha256)
    shutil.copytree(folder / "blobs", tmp_path / "backup")
    assert audit(reader, folder).counts["files"] == 6
    erase(journeys[0])
    agency = ledger.caller("agency")
    gone = agency.get("applications/A1/documents/photo")
    assert (gone.status_code, gone.json()["code"]) == (410, "person_erased")
    wait_until(lambda: len(stored(folder)) == 4)
    assert left <= stored(folder).keys()
    gone = agency.get("applications/A1/documents/photo")
    assert (gone.status_code, gone.json()["code"]) == (410, "person_erased")
    assert agency.get("applications/A1/documents/work_history").content == scan(7)
    assert agency.get("applications/A2/documents/photo").content == portrait(6)
    result = audit(reader, folder)
    assert result.is_good
    assert (result.counts["files"], result.counts["files erased"]) == (4, 2)
    # A restored attachment store: the next process deletes them once more.
    shutil.copytree(tmp_path / "backup", folder / "blobs", dirs_exist_ok=True)
    assert audit(reader, folder).is_good
    ledgers = Ledgers(reader.journal.dsn, SECRETS)
    with FileDeletionJob(reader.journal.dsn, ledgers, Blobs(folder / "blobs"), poll_seconds=0.1):
        wait_until(lambda: len(stored(folder)) == 4)
    ledgers.close()


@pytest.mark.parametrize("change", ["flipped", "deleted"])
def test_the_audit_finds_the_file_of_a_living_person_that_was_changed(
    ledger: LedgerClient, folder: Path, reader: Ledger, change: str
) -> None:
    journey = paid(ledger, 1)
    journey.upload("work_history", scan(5), "w.png", "image/png", HANDED_IN_AT)
    [file] = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    if change == "flipped":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    [finding] = audit(reader, folder).findings
    words = {"flipped": "is not what was stored", "deleted": "is missing"}[change]
    assert str(finding).endswith(f"attachment {file.name}: {words}")


def test_a_file_is_not_deleted_because_a_view_says_so(
    ledger: LedgerClient, folder: Path, reader: Ledger
) -> None:
    """Otherwise an altered view could have every file deleted."""
    journey = paid(ledger, 1)
    journey.upload("work_history", scan(5), "w.png", "image/png", HANDED_IN_AT)
    files = Files(reader, Blobs(folder / "blobs"))
    for position in range(1, reader.journal.head().position + 2):
        assert not files.delete_erased(position)
    assert len(stored(folder)) == 1


def test_a_file_that_cannot_be_deleted_holds_up_no_other_ledger(
    ledger: LedgerClient, folder: Path
) -> None:
    both = [ledger, new_ledger(ledger.client, "2026-03-01T08:00:00+08:00")]
    files = []
    for each in sorted(both, key=lambda one: one.name):
        journey, before = paid(each, 1), stored(folder).keys()
        name = f"{name_of(1)}_{document_of(1)}.jpg"
        journey.upload("photo", portrait(5), name, "image/jpeg", HANDED_IN_AT)
        [sha256] = stored(folder).keys() - before
        files.append(folder / "blobs" / sha256[:2] / sha256)
        if len(files) == 1:
            files[0].unlink()
            files[0].mkdir()  # no file, so deleting it fails
        erase(journey)
    wait_until(lambda: not files[1].exists())
    files[0].rmdir()
    files[0].touch()
    wait_until(lambda: not files[0].exists())


def test_a_report_is_stored_sealed_and_shows_what_is_kept(
    ledger: LedgerClient, folder: Path
) -> None:
    journeys = [Journey(ledger, n).enrol() for n in (1, 2)]
    schedule(ledger)
    tickets = [seat(journey) for journey in journeys]
    hold(ledger)
    score(ledger, {ticket: ("78", "81.5") for ticket in tickets})
    publish_and_close(ledger)
    for journey in journeys:
        certify(journey)
    registrar = ledger.backdated("registrar").at(REPORTED_AT)
    body = {"report_id": "REP1", "batch_type": "new", "application_ids": ["A2", "A1"]}
    registrar.write("reports", body)

    def rows() -> dict[str, tuple[object, ...]]:
        file = registrar.get("reports/REP1/file")
        cells = list(load_workbook(io.BytesIO(file.content)).worksheets[0].values)
        return {str(row[7]): row for row in cells[1:]}

    before = rows()
    assert {row[2] for row in before.values()} == {document_of(1), document_of(2)}
    for content in stored(folder).values():
        assert document_of(1).encode() not in content
        assert name_of(1).encode() not in content
    journeys[0].erase(REPORTED_AT)
    assert rows() == before, "a certificate in force keeps name and number"

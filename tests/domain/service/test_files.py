"""Files lie sealed under keys of whom they concern, and no other bytes of them are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.documents.materials import MaterialKind
from domain.service.files import Files, SealedFile
from domain.service.ledger import Ledger, Ledgers
from domain.service.receipt import Receipt
from domain.steps.enrolment import PersonErased
from domain.steps.review import SameFileTwice
from domain.store.blobs import Blobs
from domain.store.errors import BlobDamaged, FileKeyChanged, UnknownBlob
from domain.values.sealed_fields import DataClass
from tests.support.actors import Actor, candidate
from tests.support.commands import (
    apply_for,
    erase,
    hand_in,
    material,
    open_ledger,
    pay,
    register,
    set_fees,
    withdraw,
)
from tests.support.ledgers import SECRETS, PostgresWorld, a_real_ledger, request_of
from tests.support.postgres import Database
from tests.support.world import START

HANDED_IN = START + timedelta(hours=1)
LATER = START + timedelta(hours=2)
SCAN = b"%PDF-1.7 the diploma of a synthetic candidate" * 20
WORK, PROOF, PHOTO = (
    MaterialKind.WORK_HISTORY,
    MaterialKind.IDENTITY_PROOF,
    MaterialKind.PHOTO,
)


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """Two candidates who paid."""
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        set_fees(world)
        for n in (1, 2):
            world.do(register(n), by=candidate(n))
            world.do(apply_for(n), by=candidate(n))
            world.do(pay(n))
        yield world


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def store(files: Files, n: int, kind: MaterialKind = WORK, content: bytes = SCAN) -> SealedFile:
    data_class = DataClass.CERTIFICATE if kind is PHOTO else DataClass.STATEMENTS
    return files.store(content, f"application-A{n}", f"P{n}", data_class)


def record(
    ledger: Ledger,
    sealed: SealedFile,
    n: int,
    kind: MaterialKind = WORK,
    content: bytes = SCAN,
    by: Actor | None = None,
) -> Receipt:
    """Record a stored file as a document."""
    plain = hashlib.sha256(content).hexdigest()
    command = hand_in(kind, n, material=material(kind, sha256=plain)).model_copy(
        update={"sealed_sha256": sealed.sha256}
    )
    return ledger.submit(
        command,
        by or candidate(n),
        key=sealed.sha256,
        request=request_of(command),
        files=sealed.keys,
        occurred_at=HANDED_IN,
    ).result(timeout=20)


def upload(
    world: PostgresWorld, files: Files, n: int, kind: MaterialKind = WORK, content: bytes = SCAN
) -> SealedFile:
    sealed = store(files, n, kind, content)
    record(world.ledger, sealed, n, kind, content)
    return sealed


def stored_bytes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def test_a_document_is_stored_sealed_and_served_in_clear(
    world: PostgresWorld, blobs: Blobs, tmp_path: Path
) -> None:
    files = Files(world.ledger, blobs)
    sealed = upload(world, files, 1)
    [stored] = stored_bytes(tmp_path)
    assert hashlib.sha256(stored).hexdigest() == sealed.sha256
    assert SCAN[:20] not in stored
    assert files.document_content("A1", WORK) == (SCAN, "application/pdf")
    [event] = world.ledger.journal.stream("application-A1")[-1:]
    assert event.data["sha256"] == sealed.sha256
    assert event.data["plain_sha256"]["key"] == "person/P1/statements/1"
    assert hashlib.sha256(SCAN).hexdigest().encode() not in event.envelope


def test_a_photo_lies_under_the_key_of_the_certificate(world: PostgresWorld, blobs: Blobs) -> None:
    files = Files(world.ledger, blobs)
    upload(world, files, 1, PHOTO)
    assert files.document("A1", PHOTO).key == "person/P1/certificate/1"
    assert files.document_content("A1", PHOTO)[0] == SCAN


def test_the_same_bytes_of_two_persons_have_nothing_in_common(
    world: PostgresWorld, blobs: Blobs, tmp_path: Path
) -> None:
    files = Files(world.ledger, blobs)
    assert upload(world, files, 1).sha256 != upload(world, files, 2).sha256
    one, other = stored_bytes(tmp_path)
    assert one[5:] != other[5:]


def test_the_same_bytes_are_no_second_document_of_one_application(
    world: PostgresWorld, blobs: Blobs
) -> None:
    """Two sealed files are never equal: their plain hashes are compared."""
    files = Files(world.ledger, blobs)
    upload(world, files, 1)
    second = store(files, 1, PROOF)
    with pytest.raises(SameFileTwice):
        record(world.ledger, second, 1, PROOF)
    photo = store(files, 1, PHOTO)
    with pytest.raises(SameFileTwice):
        record(world.ledger, photo, 1, PHOTO)
    other = upload(world, files, 1, content=SCAN + b"newer")
    assert files.document("A1", WORK).sha256 == other.sha256
    record(world.ledger, second, 1, PROOF)
    assert files.document_content("A1", PROOF)[0] == SCAN


def test_after_an_erasure_a_file_is_gone_whether_its_bytes_are_or_not(
    world: PostgresWorld, blobs: Blobs
) -> None:
    files = Files(world.ledger, blobs)
    sealed = upload(world, files, 1, PHOTO)
    upload(world, files, 2, PHOTO)
    world.do(withdraw(1), by=candidate(1), at=LATER)
    erase(world, 1)
    with pytest.raises(PersonErased):
        files.document_content("A1", PHOTO)
    files.discard(sealed.sha256)
    files.discard(sealed.sha256)
    with pytest.raises(PersonErased):
        files.document_content("A1", PHOTO)
    assert files.document_content("A2", PHOTO)[0] == SCAN


def test_a_damaged_file_is_another_fault_than_a_missing_one(
    world: PostgresWorld, blobs: Blobs, tmp_path: Path
) -> None:
    files = Files(world.ledger, blobs)
    sealed = upload(world, files, 1)
    file = tmp_path / "blobs" / sealed.sha256[:2] / sealed.sha256
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    with pytest.raises(BlobDamaged):
        files.document_content("A1", WORK)
    file.unlink()
    with pytest.raises(UnknownBlob):
        files.document_content("A1", WORK)


# --- keys that no transaction has stored yet ------------------------------------------------------


def test_two_files_sealed_before_either_is_recorded_share_their_new_key(
    world: PostgresWorld, blobs: Blobs
) -> None:
    files = Files(world.ledger, blobs)
    first, second = store(files, 1, PHOTO), store(files, 1, PHOTO, SCAN + b"retouched")
    assert first.keys == second.keys
    record(world.ledger, first, 1, PHOTO)
    record(world.ledger, second, 1, PHOTO, SCAN + b"retouched")
    assert files.document_content("A1", PHOTO)[0] == SCAN + b"retouched"


def test_a_file_whose_new_key_another_process_was_faster_with_is_sealed_again(
    world: PostgresWorld, database: Database, blobs: Blobs
) -> None:
    other = Ledgers(database.dsn, SECRETS)
    try:
        ledger = other.get("omc")
        late = store(Files(world.ledger, blobs), 1, PHOTO)
        fast = store(Files(ledger, blobs), 1, PHOTO)
        assert late.keys != fast.keys
        record(ledger, fast, 1, PHOTO)
        with pytest.raises(FileKeyChanged):
            record(world.ledger, late, 1, PHOTO)
        again = store(Files(world.ledger, blobs), 1, PHOTO)
        assert again.keys == fast.keys
        record(world.ledger, again, 1, PHOTO)
    finally:
        other.close()
    assert Files(world.ledger, blobs).document_content("A1", PHOTO)[0] == SCAN


def test_a_refused_file_leaves_no_key_behind(world: PostgresWorld, blobs: Blobs) -> None:
    files = Files(world.ledger, blobs)
    sealed = store(files, 1, PHOTO)
    with pytest.raises(Exception, match="somebody else"):
        record(world.ledger, sealed, 1, PHOTO, by=candidate(2))
    assert world.ledger.journal.query(
        "SELECT count(*) FROM certledger.data_keys WHERE owner = 'person/P1' AND class = %s",
        ("certificate",),
    ) == [(0,)]


# --- tables about several persons -----------------------------------------------------------------


def test_a_table_is_stored_row_by_row_and_loses_the_row_of_who_is_erased(
    world: PostgresWorld, blobs: Blobs, tmp_path: Path
) -> None:
    files = Files(world.ledger, blobs)
    world.do(register(3), by=candidate(3))  # no application, so nothing keeps their data
    rows = [("P3", ["邱健刚", "S1"]), ("P2", ["付雪玲", "S2"])]
    sealed = files.store_rows("report-R1", rows)
    assert {str(held.name) for held in sealed.keys} == {
        "person/P3/identity/1",
        "person/P2/identity/1",
    }
    [stored] = stored_bytes(tmp_path)
    assert hashlib.sha256(stored).hexdigest() == sealed.sha256
    assert "邱健刚".encode() not in stored
    assert files.rows(sealed.sha256, "report-R1") == [row for _, row in rows]
    erase(world, 3)
    assert files.rows(sealed.sha256, "report-R1") == [None, ["付雪玲", "S2"]]


def test_a_file_about_nobody_in_particular_lies_under_the_key_of_its_matter(
    world: PostgresWorld, blobs: Blobs
) -> None:
    sealed = Files(world.ledger, blobs).store(b"a bill", "report-R1", None, None)
    assert [str(held.name) for held in sealed.keys] == ["matter/report-R1/1"]

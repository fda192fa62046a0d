"""Imports into a real ledger: idempotent, resumable, and tolerant of bad rows."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.imports.importer import Import, ImportStopped
from api.settings import Settings
from api.transparency.log_keys import make_log_key
from domain.documents.materials import MaterialKind
from domain.service.files import Files
from domain.service.ledger import Ledger
from domain.store.blobs import Blobs
from domain.store.errors import Unavailable
from domain.store.tlog.audit import verify
from tests.support.cohort import COHORT, empty_ledger, load
from tests.support.keys import COMMAND_KEY, IDEMPOTENCY_KEY, JOURNAL_KEY, LOGIN_KEY, text_of
from tests.support.postgres import Database
from tests.support.waiting import wait_until

ROOT = COHORT.parents[1]
PERSONS = 12
"""How many people the small copy of the cohort has."""


@pytest.fixture
def ledger(database: Database, tmp_path: Path) -> Iterator[tuple[Ledger, Blobs]]:
    with empty_ledger(database, tmp_path) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The ledger and the first people of the cohort, as files that a test may change."""
    small = tmp_path / "small"
    small.mkdir()
    for name in ("ledger.json", "staff.csv", "editions.csv", "edition_adoptions.csv"):
        shutil.copy(COHORT / name, small / name)
    shutil.copytree(COHORT / "rules", small / "rules")
    lines = (COHORT / "persons.csv").read_text(encoding="utf-8").splitlines()
    wanted = {line.split(",")[0] for line in lines[1 : PERSONS + 1]}
    (small / "persons.csv").write_text("\n".join(lines[: PERSONS + 1]) + "\n", encoding="utf-8")
    with (COHORT / "applications.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    first = {row[3]: row for row in reversed(rows) if row[3] in wanted}
    with (small / "applications.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(first[person] for person in sorted(wanted))])
    return small


def recorded(ledger: Ledger) -> list[dict[str, Any]]:
    return [json.loads(event.envelope) for event in ledger.journal.events()]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_repeated_import_changes_nothing(ledger: tuple[Ledger, Blobs], folder: Path) -> None:
    first = load(*ledger, folder)
    before = recorded(ledger[0])
    again = load(*ledger, folder)
    assert (first.accepted, first.already_there, first.refused) == (first.done, 0, [])
    assert (again.accepted, again.already_there, again.refused) == (0, first.done, [])
    assert recorded(ledger[0]) == before


def test_a_row_keeps_its_time_and_its_actor(ledger: tuple[Ledger, Blobs], folder: Path) -> None:
    load(*ledger, folder)
    with (folder / "persons.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    entry = next(e for e in recorded(ledger[0]) if e["topic"] == "person_registered.v1")
    assert entry["data"]["person_id"] == first["id"]
    assert entry["actor"] == {
        "subject": ledger[0].logins.find(first["by"]),
        "role": "candidate",
        "organisation": "public",
        "on_behalf_of": None,
        "authority": None,
    }
    assert entry["occurred_at"] == "2026-03-02T07:26:34.000000Z"
    assert first["name"] not in json.dumps(entry, ensure_ascii=False)
    assert ledger[0].identity(first["id"]).name == first["name"]


def test_a_row_that_depends_on_a_refused_row_is_refused_by_its_own_rule(
    ledger: tuple[Ledger, Blobs], folder: Path
) -> None:
    lines = (folder / "persons.csv").read_text(encoding="utf-8").splitlines()
    first = lines[1].split(",")
    change(folder / "persons.csv", f",{first[6]},", f",{first[6][:-1]}0,")
    summary = load(*ledger, folder)
    lines = [str(refused) for refused in summary.refused]
    assert len(lines) == 2
    assert lines[0].startswith("applications.csv, line ")
    assert lines[0].endswith(": There is no person P0031 in this ledger. (not_found)")
    assert lines[1].startswith("persons.csv, line 2: The resident_id number was refused: ")
    assert summary.accepted == summary.done - 2


def test_a_corrected_row_is_accepted_by_the_next_import(
    ledger: tuple[Ledger, Blobs], folder: Path
) -> None:
    good = (folder / "persons.csv").read_text(encoding="utf-8")
    number = good.splitlines()[1].split(",")[6]
    change(folder / "persons.csv", number, number[:-1] + "0")
    assert len(load(*ledger, folder).refused) == 2
    (folder / "persons.csv").write_text(good, encoding="utf-8")
    mended = load(*ledger, folder)
    assert (mended.accepted, mended.refused) == (2, [])


def test_the_same_id_with_other_content_is_refused(
    ledger: tuple[Ledger, Blobs], folder: Path
) -> None:
    load(*ledger, folder)
    change(folder / "rules" / "fees-2026.1.json", "98000", "99000")
    both = load(*ledger, folder).refused
    assert [str(refused) for refused in both] == [
        f"{name}, line 2, column id: was imported before with other content; "
        "a correction needs a new id"
        for name in ("edition_adoptions.csv", "editions.csv")
    ]


def test_an_erased_person_stays_erased_when_the_files_are_imported_again(
    ledger: tuple[Ledger, Blobs], folder: Path
) -> None:
    load(*ledger, folder)
    with (folder / "persons.csv").open(encoding="utf-8", newline="") as file:
        registered = [row["id"] for row in csv.DictReader(file)]
    applied = {
        e["data"]["person_id"]: e["data"]["application_id"]
        for e in recorded(ledger[0])
        if e["topic"] == "application_opened.v1"
    }
    person = registered[0]
    withdrawn = f"W1,2026-10-01 09:00,agency.01,,{applied[person]},本人要求\n"
    erased = f"E1,2026-10-02 09:00,registrar.01,,{person},本人申请\n"
    (folder / "withdrawals.csv").write_text(
        "id,occurred_at,by,role,application_id,reason\n" + withdrawn, encoding="utf-8"
    )
    (folder / "erasures.csv").write_text(
        "id,occurred_at,by,role,person_id,reason\n" + erased, encoding="utf-8"
    )
    confirmed = f"EC1,2026-10-02 10:00,regulator.01,regulator,{person},E1\n"
    (folder / "erasure_confirmations.csv").write_text(
        "id,occurred_at,by,role,person_id,proposal\n" + confirmed, encoding="utf-8"
    )
    assert load(*ledger, folder).refused == []
    again = load(*ledger, folder)
    assert (again.accepted, again.refused) == (0, [])
    assert ledger[0].state("person", person).erased


def test_documents_are_stored_in_the_blob_store(ledger: tuple[Ledger, Blobs]) -> None:
    load(*ledger, COHORT)
    handed_in = [e["data"] for e in recorded(ledger[0]) if e["topic"] == "document_submitted.v1"]
    names = {data["sha256"]: data["size_bytes"] for data in handed_in}
    assert len(names) > 40
    for sha256, size in names.items():
        assert len(ledger[1].get(sha256)) == len("CLF1") + 1 + 12 + size + 16


def test_a_document_lies_under_the_key_of_the_applicant_whatever_a_refused_row_says(
    ledger: tuple[Ledger, Blobs], folder: Path
) -> None:
    """The row of the application comes again, with another person, just before the document."""
    lines = (COHORT / "payments.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    paid = [line for line in lines if line.startswith("编号") or ",A26030031," in line]
    (folder / "payments.csv").write_text("".join(paid), encoding="utf-8")
    assert load(*ledger, folder).refused == []
    change(folder / "applications.csv", ",P0031,", ",P0010,")
    shutil.copytree(COHORT / "files", folder / "files")
    lines = (COHORT / "documents.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "documents.csv").write_text("".join(lines[:2]), encoding="utf-8")
    assert len(load(*ledger, folder).refused) == 1
    content, _ = Files(*ledger).document_content("A26030031", MaterialKind.IDENTITY_PROOF)
    assert content == (folder / "files" / "identity_proof-5.pdf").read_bytes()


def test_an_unreachable_ledger_stops_the_import_and_names_the_row(
    ledger: tuple[Ledger, Blobs], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Import("omc")
    assert job.read([folder]) == []

    def unreachable(*_: object, **__: object) -> None:
        raise Unavailable(ledger="omc")

    with monkeypatch.context() as patch:
        patch.setattr(ledger[0], "submit", unreachable)
        with pytest.raises(ImportStopped) as stopped:
            job.send(*ledger)
    assert stopped.value.file == "ledger.json"
    assert "Run it again to go on." in str(stopped.value)
    assert load(*ledger, folder).refused == []


@pytest.mark.slow
def test_a_killed_import_continues_where_it_stopped(database: Database, tmp_path: Path) -> None:
    settings = {
        "CERTLEDGER_DATABASE_URL": database.dsn,
        "CERTLEDGER_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "CERTLEDGER_INDEX_KEY": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "CERTLEDGER_LOGIN_KEY": text_of(LOGIN_KEY),
        "CERTLEDGER_COMMAND_KEY": text_of(COMMAND_KEY),
        "CERTLEDGER_IDEMPOTENCY_KEY": text_of(IDEMPOTENCY_KEY),
        "CERTLEDGER_LINK_KEY": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "CERTLEDGER_JOURNAL_KEY": text_of(JOURNAL_KEY),
        "CERTLEDGER_TOKEN_JWKS_URL": "http://127.0.0.1:9/unused",
        "CERTLEDGER_DATA_DIR": str(tmp_path),
    }
    make_log_key(Settings(data_dir=tmp_path), "omc")
    command = [sys.executable, "-m", "api.cli", "import", str(COHORT), "--ledger", "omc"]
    environment = os.environ | settings | {"PYTHONPATH": str(ROOT)}

    def position() -> int:
        made = database.execute("SELECT to_regclass('certledger.ledgers') IS NOT NULL")[0][0]
        found = database.execute("SELECT position FROM certledger.ledgers") if made else []
        return found[0][0] if found else 0

    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: position() > 1500, timeout_s=60)
    running.send_signal(signal.SIGKILL)
    running.wait()
    cut = position()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    accepted, there = (int(part.split()[0]) for part in done.stdout.split(", ")[:2])
    assert accepted > 0
    assert there > 0
    assert "0 refused" in done.stdout
    with empty_ledger(database, tmp_path) as (ledger, _):
        assert cut < ledger.journal.head().position
        assert verify(ledger.journal).is_good
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.startswith(f"0 accepted, {accepted + there} already there, 0 refused")

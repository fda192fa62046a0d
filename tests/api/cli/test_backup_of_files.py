"""What uploads and reports leave on the disk, in backups, and after an erasure.

The product is used as operators have it: a service with its own database, and `certledger backup`
and `certledger verify` next to it.
Covers: api/cli/backup.py, api/worker/file_deletion_job.py, domain/service/files.py
"""

from __future__ import annotations

import hashlib
import io
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from openpyxl import load_workbook

from tests.support.attacker import holders
from tests.support.commands import document_of, name_of
from tests.support.editions import adopt_over_http, no_retention
from tests.support.http_journey import HANDED_IN_AT, Journey, certified, portrait
from tests.support.service import TOKEN_KEY, LedgerClient, new_ledger
from tests.support.service_processes import run, served
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPORTED_AT = "2026-10-16T09:00:00+08:00"
ERASED_AT = "2026-10-17T09:00:00+08:00"
SHADE = 77  # of the living candidate's photo
DOCUMENTS = [
    f"applications/A1/documents/{kind}" for kind in ("photo", "identity_proof", "work_history")
]
REPORT = "reports/REP1/file"


class Story(NamedTuple):
    """Candidate 1 was erased, candidate 2 was not.

    plain: what would betray a file that is there in clear. before, after: backups.
    """

    data: Path
    ledger: LedgerClient
    plain: list[bytes]
    before: Path
    after: Path


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """A running service that has erased candidate 1, and what it had before."""
    with (
        # A short path: the path of the database's socket is limited.
        tempfile.TemporaryDirectory(prefix="certledger-files-", dir="/tmp") as folder,
        served(data := Path(folder), "--empty", CERTLEDGER_TOKEN_KEY=TOKEN_KEY) as (process, url),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
        journey = reported(ledger)
        living(ledger)
        plain = in_clear(*read(ledger), portrait(SHADE))
        before = backup(data, "before")
        adopt_over_http(ledger, no_retention())
        journey.erase(ERASED_AT)
        wait_until(lambda: len(stored(data)) == len(stored(before)) - len(DOCUMENTS))
        yield Story(data, ledger, plain, before, backup(data, "after"))
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def reported(ledger: LedgerClient) -> Journey:
    """Candidate 1, whose national certificate was reported, accepted and revoked."""
    journey, numbers = certified(ledger)
    registrar = journey.staff("registrar", REPORTED_AT)
    body = {"report_id": "REP1", "batch_type": "new", "application_ids": ["A1"]}
    registrar.write("reports", body)
    answer = f"证书编号,受理结果,原因\r\n{numbers['national']},接受,\r\n".encode()
    files = {"file": ("answer.csv", answer, "text/csv")}
    assert registrar.send("reports/REP1/answers", files=files).json()["recorded"] == 1
    revocation = {"reason_class": "holder_request", "reason": "本人申请"}
    for kind in numbers:
        registrar.write(f"{journey.application}/certificates/{kind}/revocation", revocation)
    return journey


def living(ledger: LedgerClient) -> Journey:
    """Candidate 2, who hands in a photo."""
    journey = Journey(ledger, 2)
    journey.register()
    journey.apply()
    journey.pay()
    name = f"{name_of(2)}_{document_of(2)}.jpg"
    assert journey.upload("photo", portrait(SHADE), name, "image/jpeg", HANDED_IN_AT).is_success
    return journey


def stored(folder: Path) -> dict[str, Path]:
    """The files of an attachment store by their names."""
    return {path.name: path for path in (folder / "blobs").rglob("*") if path.is_file()}


def in_clear(*contents: bytes) -> list[bytes]:
    """What would betray some files: a piece of each, and its hash."""
    hashes = [hashlib.sha256(content) for content in contents]
    pieces = [content[len(content) // 2 :][:32] for content in contents]
    return [*pieces, *(h.digest() for h in hashes), *(h.hexdigest().encode() for h in hashes)]


def read(ledger: LedgerClient) -> list[bytes]:
    """The three documents of candidate 1, and the report's file, which names them."""
    registrar = ledger.caller("registrar")
    answers = [registrar.get(path) for path in (*DOCUMENTS, REPORT)]
    assert {answer.status_code for answer in answers} == {200}
    row = list(load_workbook(io.BytesIO(answers[-1].content)).worksheets[0].values)[1]
    assert row[:3:2] == (name_of(1), document_of(1))
    return [answer.content for answer in answers]


def backup(data: Path, name: str) -> Path:
    """A new backup, within the data directory itself; with the keys, so that it can be verified."""
    taken = run(data, "backup", "--out", str(data / name), "--with-keys")
    assert (taken.returncode, taken.stderr) == (0, "")
    return data / name


def test_no_upload_and_no_report_is_on_the_disk_in_clear(story: Story) -> None:
    assert len(stored(story.before)) == len(DOCUMENTS) + len(("report", "photo of candidate 2"))
    assert holders(story.data, story.plain) == set()
    people = [text.encode() for n in (1, 2) for text in (name_of(n), document_of(n))]
    assert holders(story.before / "blobs", people) == set()
    photo = story.ledger.caller("agency").get("applications/A2/documents/photo")
    assert set(in_clear(photo.content)) < set(story.plain)


def test_what_went_with_an_erasure_is_answered_with_410(story: Story) -> None:
    registrar = story.ledger.caller("registrar")
    answers = {path: registrar.get(path) for path in (*DOCUMENTS, REPORT)}
    assert {path: (a.status_code, a.json().get("code")) for path, a in answers.items()} == (
        dict.fromkeys(answers, (410, "person_erased"))
    )


def test_no_file_and_no_backup_made_since_holds_the_bytes_of_an_erased_person(story: Story) -> None:
    sealed = stored(story.before)
    gone = [path.read_bytes()[20:52] for n, path in sealed.items() if n not in stored(story.data)]
    assert len(gone) == len(DOCUMENTS)
    found = holders(story.data, gone)
    assert len(found) == len(DOCUMENTS), "the backup of before has them: they can be found"
    assert {Path(name).parts[0] for name in found} == {story.before.name}


def test_verify_takes_no_file_of_an_erased_person_for_missing(story: Story) -> None:
    good = run(story.after, "verify")
    assert (good.returncode, good.stderr) == (0, "")
    assert f" {len(DOCUMENTS)} files erased, 2 files\n" in good.stdout
    assert good.stdout.endswith(f"{story.ledger.name}: good\n")


def test_verify_names_each_upload_and_report_with_a_flipped_byte(story: Story) -> None:
    files = stored(story.after)
    assert len(files) == len(("report", "photo of candidate 2"))
    for file in files.values():
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)
    found = run(story.after, "verify")
    assert found.returncode == 1
    for name in files:
        assert f"attachment {name}: is not what was stored" in found.stderr


def test_a_backup_is_taken_while_a_file_is_deleted(story: Story) -> None:
    """A file that has gone since it was listed is like a link that leads nowhere."""
    link = story.data / "blobs" / next(iter(stored(story.data)))[:2] / "deleted"
    link.symlink_to(link.parent / "nowhere")
    assert stored(backup(story.data, "meanwhile")).keys() == stored(story.data).keys()


def test_a_backup_is_taken_while_an_epoch_ends(story: Story) -> None:
    """As above, with the key of the epoch that is over."""
    epochs = story.data / "keys" / "epochs"
    [key] = epochs.iterdir()
    link = epochs / "epoch_7_0123abcd"
    link.symlink_to(epochs / "nowhere")
    taken = backup(story.data, "turning") / "keys" / "epochs"
    assert [path.name for path in taken.iterdir()] == [key.name]
    link.unlink()

"""After an erasure no byte of a name, a number, a phone or a reason is on the disk, and no hash.

The data directory is searched with the database's WAL, what the service has logged, exports, and a
backup from before the erasure, as somebody does who has them all and no key.
Covers: domain/store/privacy/field_encryption.py, api/cli/export.py, api/cli/backup.py
"""

from __future__ import annotations

import base64
import json
import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.support.attacker import holders, plain_hashes
from tests.support.commands import document_of, name_of
from tests.support.editions import adopt_over_http, no_retention
from tests.support.http_journey import Journey, certified
from tests.support.service import TOKEN_KEY, LedgerClient, new_ledger
from tests.support.service_processes import run, served
from tests.support.synthetic_identity import citizen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LATER = "2026-10-16T09:00:00+08:00"
ERASED_AT = "2026-10-17T09:00:00+08:00"
NAME, NUMBER, PHONE, PASSPORT = "欧阳秘密", citizen(order="951"), "13900002749", "E58927491"
REASON = f"本人{NAME},护照{PASSPORT},电话{PHONE}"
OF_PERSON = (NAME, name_of(1), NUMBER, document_of(1), PHONE, PASSPORT, "candidate-1")
IN_CLEAR = "杭州市西湖区示例路1号"
"""The address of the exam, which is about nobody: that the search finds it shows that it looks."""


def spellings(texts: Iterable[str]) -> list[bytes]:
    """Texts in the encodings in which a program may have written them."""
    found = []
    for text in texts:
        found += [text.encode(encoding) for encoding in ("utf-8", "utf-16-le", "gb18030")]
        found.append(json.dumps(text).strip('"').encode())
        found.append(text.encode().hex().encode())
    return found


def hashes(name: str, number: str, ledger: str) -> list[bytes]:
    """How the plain hashes of a registration begin, as bytes, in hex and in base64."""
    person = {"person_id": "P1", "document_type": "resident_id", "name": name}
    begun = {digest[:9] for digest in plain_hashes(person, number, ledger)}
    return [form for each in begun for form in (each, each.hex().encode(), base64.b64encode(each))]


class Erased(NamedTuple):
    """A running service that has erased candidate 1, about whom everybody wrote REASON.

    shown: what was read of them before. before: a backup from before the erasure.
    """

    data: Path
    ledger: LedgerClient
    shown: str
    before: Path
    receipt: dict[str, str]


@pytest.fixture(scope="module")
def erased() -> Iterator[Erased]:
    with (
        # A short path: the path of the database's socket is limited.
        tempfile.TemporaryDirectory(prefix="certledger-bytes-", dir="/tmp") as folder,
        served(data := Path(folder), "--empty", CERTLEDGER_TOKEN_KEY=TOKEN_KEY) as (process, url),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
        journey, numbers = certified(ledger)
        shown = written_about(journey, numbers["national"])
        taken = run(data, "backup", "--out", str(data / "before"))
        assert (taken.returncode, taken.stderr) == (0, "")
        adopt_over_http(ledger, no_retention())
        receipt = journey.erase(ERASED_AT)
        yield Erased(data, ledger, shown, data / "before", receipt["outcome"])
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def written_about(journey: Journey, number: str) -> str:
    """Every kind of staff, and the candidate, write name, number and phone; refusals have them too.

    Returns: what is shown of it while nothing is erased.
    """
    registrar, candidate = journey.staff("registrar", LATER), journey.candidate(LATER)
    correction = {"document_type": "resident_id", "document_number": NUMBER, "name": NAME}
    registrar.write("persons/P1/corrections", correction | {"reason": REASON})
    refused = candidate.send(f"{journey.application}/withdrawal", json={"reason": REASON})
    malformed = candidate.send("persons", json=correction | {"document_number": PHONE})
    misplaced = registrar.send(f"persons/{NUMBER}/corrections", json=correction)
    assert {refused.status_code, malformed.status_code, misplaced.status_code} <= {404, 409, 422}
    for kind in ("national", "omc"):
        path = f"{journey.application}/certificates/{kind}/revocation"
        registrar.write(path, {"reason_class": "holder_request", "reason": REASON})
    person = registrar.read("persons/P1")
    history = registrar.read(f"{journey.application}/history")
    found = registrar.get("lookup", number=number, name=NAME)
    return json.dumps([person, history, found.text], ensure_ascii=False)


def test_what_was_written_was_shown_before(erased: Erased) -> None:
    assert {text for text in (NAME, NUMBER, REASON) if text in erased.shown} >= {NAME, REASON}


def test_no_file_of_the_service_holds_a_byte_of_the_erased_person(erased: Erased) -> None:
    assert holders(erased.data, spellings([IN_CLEAR])), "the search finds what is in clear"
    assert holders(erased.data, spellings(OF_PERSON)) == set()


@pytest.fixture(scope="module")
def exports(erased: Erased) -> Path:
    """What is exported after the erasure, below the data directory."""
    out = erased.data / "exports"
    out.mkdir()
    for form in ("ndjson", "xlsx"):
        arguments = ("export", "--format", form, "--out", str(out / f"all.{form}"))
        exported = run(erased.data, *arguments, CERTLEDGER_TOKEN_KEY=TOKEN_KEY)
        assert exported.stderr == ""
    return out


def test_no_export_and_no_log_holds_a_byte_of_the_erased_person(
    erased: Erased, exports: Path
) -> None:
    assert (erased.data / "stderr.log").stat().st_size > 0
    assert b"result_published.v1" in (exports / "all.ndjson").read_bytes()
    assert holders(erased.data, spellings(OF_PERSON)) == set()


def test_nothing_of_the_erased_person_is_answered(erased: Erased) -> None:
    answer = erased.ledger.caller("registrar").get("persons/P1")
    assert (answer.status_code, answer.json()["code"]) == (410, "person_erased")
    history = erased.ledger.caller("regulator").read("applications/A1/history")
    shown = json.dumps(history, ensure_ascii=False)
    assert not [text for text in OF_PERSON if text in shown]


def test_the_answer_names_the_day_and_the_ledger_stays_good(erased: Erased) -> None:
    assert erased.receipt["unreadable_from"] > ERASED_AT[:10]
    verified = run(erased.data, "verify", "--views", CERTLEDGER_TOKEN_KEY=TOKEN_KEY)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "1 persons erased" in verified.stdout


@pytest.mark.parametrize(("name", "number"), [(name_of(1), document_of(1)), (NAME, NUMBER)])
def test_no_file_holds_a_plain_hash_that_a_number_could_be_tried_against(
    erased: Erased, exports: Path, tmp_path: Path, name: str, number: str
) -> None:
    """Heads, attachments, the register, the backup and the exports are in the directory."""
    assert exports.parent == erased.data
    assert {each.name for each in erased.data.iterdir()} >= {"heads", "blobs", "before"}
    wanted = hashes(name, number, erased.ledger.name)
    assert len(wanted) > 500
    assert holders(erased.data, wanted) == set()
    for n, form in enumerate(wanted[:3]):
        (tmp_path / str(n)).write_bytes(b"something " + form)
    assert holders(tmp_path, wanted) == {"0", "1", "2"}

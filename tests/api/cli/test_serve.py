"""A real service process: example cohort, commands while it runs, clean stop.

Covers: api/cli/serve.py, api/cli/backup.py
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import httpx
import pytest

from tests.support.cohort import COHORT
from tests.support.service_processes import ROOT, certledger, environment, run, served
from tests.support.waiting import wait_until


@pytest.fixture
def data() -> Iterator[Path]:
    # A short path: the path of the database's socket is limited.
    path = Path(tempfile.mkdtemp(prefix="certledger-serve-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_new_service_has_the_cohort_and_other_commands_run_meanwhile(data: Path) -> None:
    with served(data) as (process, url):
        health = httpx.get(f"{url}/health", trust_env=False).json()
        assert {view["ledger"] for view in health["views"]} == {"omc"}
        assert all(view["lag"] == 0 and view["position"] > 6000 for view in health["views"])
        again = run(data, "import", str(COHORT), "--ledger", "omc")
        assert again.stdout.startswith("0 accepted, ")
        assert again.returncode == 0
        assert run(data, "verify").stdout.endswith("omc: good\n")
        vkey = run(data, "keys", "--public").stdout.splitlines()[-1]
        assert vkey.startswith("certledger.example/omc+")
        checked = run(data, "rebuild", "--check")
        assert checked.returncode == 0, checked.stderr
        port = url.rpartition(":")[2]
        taken = run(data, "serve", "--port", port)
        assert taken.returncode == 1
        assert taken.stderr.endswith("is taken; choose another with --port\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not (data / "example.loading").exists()
    assert "Traceback" not in (data / "stderr.log").read_text()
    with served(data) as (process, url):
        assert httpx.get(f"{url}/ready", trust_env=False).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
def test_an_empty_service_has_no_ledger(data: Path) -> None:
    with served(data, "--empty") as (process, url):
        assert httpx.get(f"{url}/ledgers", trust_env=False).json()["data"] == []
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert "Traceback" not in (data / "stderr.log").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_interrupted_cohort_is_completed_at_the_next_start(data: Path) -> None:
    command = certledger(data, "serve", "--port", "0")
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment()
    ) as cut_short:
        assert cut_short.stderr is not None
        assert cut_short.stderr.readline().startswith("importing into omc: ")
        cut_short.send_signal(signal.SIGTERM)
        cut_short.communicate(timeout=60)
        assert cut_short.returncode == 128 + signal.SIGTERM
    assert (data / "example.loading").exists()
    with served(data) as (process, url):
        health = httpx.get(f"{url}/health", trust_env=False).json()
        assert all(view["position"] > 6000 for view in health["views"])
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert not (data / "example.loading").exists()


def test_a_taken_port_is_reported_before_anything_starts(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        second = run(data, "serve", "--port", str(other.getsockname()[1]))
    assert second.returncode == 1
    assert "is taken; choose another with --port" in second.stderr
    assert not (data / "postgres").exists()


@pytest.mark.slow
def test_due_work_is_left_to_a_process_of_its_own(data: Path) -> None:
    with served(data, "--empty", "--no-work") as (process, url):
        assert httpx.get(f"{url}/health", trust_env=False).json()["worker"] == "off"
        how = {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True, "env": environment()}
        with subprocess.Popen(certledger(data, "work"), **how) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "doing what is due\n"
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_starts_without_the_key_of_an_epoch(data: Path) -> None:
    assert run(data, "import", *one_person(data), "--ledger", "omc").returncode == 0
    epochs = data / "keys" / "epochs"
    [file] = epochs.iterdir()
    epochs.rename(data / "away")
    refusal = (
        f"certledger: wrong_key:epoch: the key of epoch 1 is not in {epochs} ({file.name}). Either "
        "the directory is another one, or the database is a copy from before that key was "
        "destroyed: put the file back from a backup of the directory\n"
    )
    writing = ("import", str(COHORT), "--ledger", "omc")
    for command in (("serve", "--port", "0"), ("project",), ("work",), writing):
        refused = run(data, *command)
        assert (refused.returncode, refused.stdout) == (1, ""), command
        assert refused.stderr.endswith(refusal), command
        assert "Traceback" not in refused.stderr, command
    (data / "away").rename(epochs)
    again = run(data, "import", *one_person(data), "--ledger", "omc")
    assert again.stdout == "0 accepted, 6 already there, 0 refused\n"


def one_person(data: Path) -> list[str]:
    """Files of the example that open a ledger and register one person."""
    names = ("ledger.json", "editions.csv", "edition_adoptions.csv", "staff.csv")
    person = data / "persons.csv"
    with (COHORT / "persons.csv").open(encoding="utf-8") as lines:
        person.write_text("".join(islice(lines, 2)), encoding="utf-8")
    return [*(str(COHORT / name) for name in names), str(person)]


@pytest.mark.slow
def test_a_backup_of_a_running_service_is_a_data_directory(data: Path) -> None:
    copy = data / "copy"
    files = one_person(data)
    with served(data, "--empty") as (process, _):
        assert run(data, "import", *files, "--ledger", "omc").returncode == 0
        (data / "blobs" / "aa").mkdir(parents=True, exist_ok=True)
        (data / "blobs" / "aa" / "attachment").write_bytes(b"content")
        wait_until((data / "keys" / "log_omc@signed").exists)
        taken = run(data, "backup", "--out", str(copy), "--with-keys")
        assert (taken.returncode, taken.stderr) == (0, "")
        assert "database files verified" in taken.stdout
        [epoch] = (data / "keys" / "epochs").iterdir()
        end = datetime.fromisoformat(json.loads(epoch.read_bytes())["ends_at"])
        last = (end + timedelta(hours=8)).date() + timedelta(days=35)
        assert f"delete it by {last}, or it delays every erasure" in taken.stdout
        again = run(data, "backup", "--out", str(copy))
        assert (again.returncode, again.stderr) == (1, f"certledger: {copy} is not empty\n")
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert (copy / "blobs" / "aa" / "attachment").read_bytes() == b"content"
    assert {"log_omc", "log_omc@signed"} <= {path.name for path in (copy / "keys").iterdir()}
    assert (copy / "keys" / "epochs" / epoch.name).exists()
    restored = run(copy, "import", *files, "--ledger", "omc")
    assert restored.stdout == "0 accepted, 6 already there, 0 refused\n"
    assert run(copy, "verify").stdout.endswith("omc: good\n")

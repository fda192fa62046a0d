"""`certledger erasures` on backups that `certledger backup` took before and after an erasure.

Covers: api/cli/erasures.py, api/cli/backup.py, api/worker/erasure_comparison_job.py
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli.environment import open_environment
from api.cli.main import cli
from api.settings import Settings
from api.transparency.checkpoint_signing import LogSigner
from domain.decision import NotFound
from domain.store.errors import ErasuresMissing
from tests.support.actors import ASSISTANT, REGISTRAR, REGULATOR
from tests.support.commands import confirm_erasure, open_ledger, propose_erasure, register
from tests.support.ledgers import SITE_CODE, submit
from tests.support.service_processes import ROOT, certledger, environment
from tests.support.waiting import wait_until


def run(*arguments: str, code: int = 0) -> str:
    """Run a command. Returns: what it prints."""
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done.output


def register_two(data: Path) -> None:
    settings = Settings(data_dir=data)
    with open_environment(settings) as environment:
        ledger = environment.ledgers.create("omc", SITE_CODE)
        submit(ledger, open_ledger(), key="open")
        for n in (1, 2):
            submit(ledger, register(n), ASSISTANT, key=f"register {n}")
        LogSigner(settings).sign(ledger)


def erase_the_first(data: Path) -> None:
    with open_environment(Settings(data_dir=data)) as environment:
        ledger = environment.ledger("omc")
        submit(ledger, propose_erasure(), REGISTRAR, key="propose")
        submit(ledger, confirm_erasure(), REGULATOR, key="confirm")


def name_of_the_first(data: Path) -> str | None:
    """The name; None if it is erased."""
    with open_environment(Settings(data_dir=data)) as environment:
        try:
            return environment.ledger("omc").identity("P1").name
        except NotFound:
            return None


@pytest.mark.slow
def test_a_restored_backup_is_used_when_the_erasures_of_a_later_one_are_done_again(
    server_dir: Path,
) -> None:
    data, before, after = (server_dir / name for name in ("data", "before", "after"))
    register_two(data)
    run("backup", "--data", str(data), "--out", str(before), "--with-keys")
    erase_the_first(data)
    run("backup", "--data", str(data), "--out", str(after))
    assert not (before / "erasures").exists()
    options = ("--ledger", "omc", "--data", str(before))

    # Without the newer register nothing says that anything is missing.
    assert run("erasures", *options) == "omc: 0 erasures missing\n"
    assert name_of_the_first(before) is not None

    shutil.copytree(after / "erasures", before / "erasures")
    with (
        open_environment(Settings(data_dir=before)) as opened,
        pytest.raises(ErasuresMissing),
    ):
        submit(opened.ledger("omc"), register(3), ASSISTANT, key="register 3")
    assert "the journal has lost it" in run("verify", *options, code=1)
    log = server_dir / "serve.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            certledger(before, "serve", "--port", "0"),
            cwd=ROOT, stdout=file, stderr=file, env=environment(),
        ) as service,
    ):  # fmt: skip
        try:
            wait_until(lambda: "not ready: erasures_missing of ledger omc" in log.read_text())
            assert "which `certledger erasures` lists" in log.read_text()
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
        finally:
            service.kill()
    out = str(server_dir / "events")
    done = CliRunner().invoke(cli, ("export", *options, "--format", "ndjson", "--out", out))
    assert isinstance(done.exception, ErasuresMissing)

    listed = run("erasures", *options)
    assert "omc: person P1, erased at position " in listed
    assert listed.endswith("omc: 1 erasure missing\n")
    assert run("erasures", *options, "--repeat", code=2)
    assert "1 erasure done again" in run("erasures", *options, "--repeat", "--operator", "Li Lei")
    assert name_of_the_first(before) is None
    assert "omc: good" in run("verify", *options)
    assert run("erasures", *options) == "omc: 0 erasures missing\n"


@pytest.mark.slow
def test_a_process_of_due_work_notices_that_erasures_are_missing_and_are_done_again(
    server_dir: Path,
) -> None:
    data, before = server_dir / "data", server_dir / "before"
    register_two(data)
    run("backup", "--data", str(data), "--out", str(before), "--with-keys")
    erase_the_first(data)
    shutil.copytree(data / "erasures", before / "erasures")
    log = server_dir / "work.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            certledger(before, "work"), cwd=ROOT, stdout=file, stderr=file, env=environment()
        ) as worker,
    ):
        try:
            wait_until(lambda: "ledger omc is not served: it lacks erasures" in log.read_text())
            options = ("--ledger", "omc", "--data", str(before))
            run("erasures", *options, "--repeat", "--operator", "Li Lei")
            wait_until(lambda: "ledger omc is served again" in log.read_text())
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        finally:
            worker.kill()


@pytest.mark.parametrize("more", [("--repeat",), ("--operator", "Li Lei")])
def test_who_does_it_is_named_exactly_when_it_is_done(more: tuple[str, ...]) -> None:
    assert "go together" in run("erasures", "--ledger", "omc", *more, code=2)

"""`certledger recover` on the embedded database, from the loss to the next command."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli.environment import open_environment
from api.cli.main import cli
from api.cli.recover import recover
from api.settings import Settings
from api.transparency.checkpoint_signing import LogSigner
from domain.store.errors import LogNotContinued
from tests.support.commands import introduce_key, open_ledger
from tests.support.ledgers import SITE_CODE, submit


def run(*arguments: str, code: int = 0) -> str:
    """Run a command. Returns: what it prints."""
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def write_and_sign(data: Path, *keys: str) -> int:
    """Write and sign as a service does. Returns: the last position."""
    settings = Settings(data_dir=data)
    with open_environment(settings) as environment:
        ledger = environment.ledgers.create("omc", SITE_CODE)
        for key in keys:
            command = open_ledger() if key == "open" else introduce_key(f"{int(key):08x}")
            submit(ledger, command, key=key)
        LogSigner(settings).sign(ledger)
        return ledger.journal.head().position


def test_two_operators_accept_a_loss_and_the_log_goes_on(server_dir: Path) -> None:
    data = server_dir / "data"
    write_and_sign(data, "open", "1")
    shutil.copytree(data / "postgres", server_dir / "older", symlinks=True)
    _own_alike(data / "postgres", server_dir / "older")
    signed = write_and_sign(data, "2", "3")
    shutil.rmtree(data / "postgres")
    (server_dir / "older").rename(data / "postgres")

    with pytest.raises(LogNotContinued):
        write_and_sign(data, "4")
    options = ("recover", "--ledger", "omc", "--data", str(data))
    printed = run(*options, "--propose", "--operator", "Li Lei")
    assert f"has {signed} events" in printed
    assert "2 positions of the old log are gone" in printed
    assert "a new log key is needed: confirming makes it" in printed
    assert "a new journal key is needed: confirming makes it" in printed
    assert "services may run meanwhile" in printed
    [digest] = re.findall(r"--confirm ([0-9a-f]{64})", printed)
    with pytest.raises(Exception, match="somebody other"):
        run(*options, "--confirm", digest, "--operator", "lilei")
    printed = run(*options, "--confirm", digest, "--operator", "Han Meimei")
    assert "example.org/omc/2" in printed

    write_and_sign(data, "4")
    assert oct((data / "keys" / "journal_retired").stat().st_mode)[-3:] == "600"
    assert "good" in run("verify", "--ledger", "omc", "--data", str(data))
    assert "example.org/omc/2+" in run("keys", "--public", "--ledger", "omc", "--data", str(data))


def test_one_of_proposing_and_confirming_has_to_be_chosen() -> None:
    for more in ((), ("--propose", "--confirm", "0" * 64)):
        done = CliRunner().invoke(recover, ("--ledger", "omc", "--operator", "li", *more))
        assert done.exit_code == 2


@pytest.mark.parametrize("operator", ["certledger/recovery", " "])
def test_the_operator_is_a_person(operator: str) -> None:
    done = CliRunner().invoke(recover, ("--ledger", "omc", "--propose", "--operator", operator))
    assert done.exit_code == 2
    assert "name a person" in done.output


def _own_alike(one: Path, other: Path) -> None:
    """Give a copy the owner of the original: as root the server runs as another account."""
    owner = one.stat()
    for folder, names, files in os.walk(other):
        for path in (folder, *(os.path.join(folder, name) for name in (*names, *files))):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

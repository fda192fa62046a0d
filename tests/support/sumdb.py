"""Go's packages for checksum databases as an independent judge of logs."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from domain.store.tlog.checkpoints import SignedCheckpoint

PROGRAM = Path(__file__).parents[1] / "judges" / "sumdb" / "main.go"
GOPATH = Path("/usr/share/gocode")
"""Where Debian's golang-golang-x-mod-dev is."""


@cache
def _judge() -> Path:
    """The judge, compiled once for each session."""
    folder = Path(mkdtemp(prefix="certledger-sumdb-"))
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "",
    }
    command = ["go", "build", "-o", str(folder / "sumdb"), str(PROGRAM)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return folder / "sumdb"


def require_go() -> None:
    """Skip where CERTLEDGER_ALLOW_NO_GO=1 allows it; fail without Go otherwise."""
    if shutil.which("go") and (GOPATH / "src/golang.org/x/mod/sumdb/note").is_dir():
        return
    reason = "needs Debian's golang-go and golang-golang-x-mod-dev"
    if os.environ.get("CERTLEDGER_ALLOW_NO_GO") == "1":
        pytest.skip(reason)
    pytest.fail(f"{reason}; set CERTLEDGER_ALLOW_NO_GO=1 to skip what needs them")


def judge(
    folder: Path,
    vkey: str,
    note: str,
    envelopes: Iterable[bytes],
    older: SignedCheckpoint | None = None,
) -> str:
    """Judge a signed note and the events under it. Returns: the verdict, one line.

    folder: for temporary files. older: a head whose tree the log must continue.
    """
    require_go()
    (folder / "note").write_text(note, encoding="utf-8")
    with (folder / "events").open("wb") as file:
        for envelope in envelopes:
            file.write(len(envelope).to_bytes(4) + envelope)
    arguments = [vkey, str(folder / "note"), str(folder / "events")]
    if older is not None:
        arguments += [str(older.size), base64.b64encode(older.root).decode()]
    done = subprocess.run([_judge(), *arguments], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()

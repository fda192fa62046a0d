"""Environments of the peer libraries.

They are no dependencies of the project: each has its own environment under `.peers/`
(CERTLEDGER_PEERS moves it), created on first use from pins with hashes. Without a network or Node
a peer is unavailable, and the benchmark skips it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from scripts.benchmarks.measure import ROOT, Unavailable, say

HERE = Path(__file__).resolve().parent / "peers"
LOCK = ROOT / "requirements-bench.lock"

_SECONDS = 300  # limit of an installation


def home() -> Path:
    """Directory of the environments."""
    return Path(os.environ.get("CERTLEDGER_PEERS") or ROOT / ".peers").absolute()


@cache
def python() -> str:
    """Interpreter with the Python peers. Raises: Unavailable."""
    place = home() / "python"
    program = place / "bin" / "python"
    stamp = _stamp(LOCK, sys.version.encode())
    if _is_made(place, stamp) and program.exists():
        return str(program)
    say(f"making the peers' Python environment in {place}")
    venv.create(place, clear=True, with_pip=True)
    pip = (str(program), "-m", "pip", "install", "--quiet", "--no-input", "--retries=1")
    _run((*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(LOCK)), place)
    (place / ".stamp").write_text(stamp)
    return str(program)


@cache
def node() -> tuple[str, Path]:
    """Node, and a directory whose node_modules has the Node peers. Raises: Unavailable."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        raise Unavailable("there is no node or no npm")
    place = home() / "node"
    stamp = _stamp(HERE / "package-lock.json")
    if not _is_made(place, stamp):
        say(f"making the peers' Node environment in {place}")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, place)
        _run((npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"), place)
        (place / ".stamp").write_text(stamp)
    # Node resolves packages relative to the script, not to the caller.
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, place)
    return program, place


def _is_made(place: Path, stamp: str) -> bool:
    made = place / ".stamp"
    return made.exists() and made.read_text() == stamp


def _stamp(lock: Path, *more: bytes) -> str:
    return hashlib.sha256(b"\0".join((lock.read_bytes(), str(home()).encode(), *more))).hexdigest()


def _run(command: Sequence[str], place: Path) -> None:
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"cannot be installed: {output[-1] if output else 'no reason given'}")

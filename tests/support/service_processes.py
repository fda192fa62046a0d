"""The program in processes of its own, on a data directory with its own database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

from tests.support.cohort import COHORT

ROOT = COHORT.parents[1]
START_S = 90


def certledger(data: Path, *arguments: str) -> list[str]:
    """A command line of the program."""
    return [sys.executable, "-m", "api.cli", *arguments, "--data", str(data)]


@contextmanager
def served(
    data: Path, *arguments: str, **settings: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service and its address, once it says that it is ready. settings: more variables."""
    command = certledger(data, "serve", "--port", "0", *arguments)
    how = {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True, "env": environment(**settings)}
    with (data / "stderr.log").open("w") as log, subprocess.Popen(command, stderr=log, **how) as it:
        watch = Timer(START_S, it.kill)
        watch.start()
        try:
            assert it.stdout is not None
            line = it.stdout.readline()
            watch.cancel()
            assert line.startswith("ready http://127.0.0.1:"), (data / "stderr.log").read_text()
            yield it, line.split()[1]
        finally:
            watch.cancel()
            it.kill()


def environment(**settings: str) -> dict[str, str]:
    """The variables of such a process, without those of the shell that set the program."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("CERTLEDGER_")}
    return ours | {"PYTHONPATH": str(ROOT)} | settings


def run(data: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. settings: more variables."""
    command, env = certledger(data, *arguments), environment(**settings)
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=env, timeout=START_S
    )

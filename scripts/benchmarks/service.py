"""Runs the service in its own process on the server of a run, and builds requests for it.

Its database is the one that `certledger serve` creates in a data directory; the ledger `omc` has
the example cohort, so that there are certificates to look up.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from stdnum.iso7064 import mod_11_2

from scripts.benchmarks.http_turns import Request
from scripts.benchmarks.measure import ROOT
from scripts.benchmarks.server import Server

DATABASE = "certledger"
COHORT_LEDGER = "omc"
OCCUPATION = "4-01-02-07"
_QUIET = {"CERTLEDGER_LOOKUP_LIMIT": "false"}


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    pid: int
    data_dir: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def token(self, role: str, subject: str) -> str:
        """A bearer token."""
        return _certledger(
            "token", "--role", role, "--subject", subject, "--organisation", "bench",
            "--data", str(self.data_dir),
        )  # fmt: skip

    def wait_for_views(self, timeout_s: float = 600) -> None:
        """Wait until every view has folded every command. Raises: RuntimeError at the timeout."""
        began = time.monotonic()
        while time.monotonic() < began + timeout_s:
            with urllib.request.urlopen(f"{self.url}/health", timeout=60) as answer:
                health = json.load(answer)
            views, age = health["views"], health["seen_s_ago"]
            # What was seen before this call says nothing of the commands before it.
            is_new = age is not None and time.monotonic() - age > began + 0.1
            if is_new and all(v["state"] == "following" and not v["lag"] for v in views):
                return
            time.sleep(0.1)
        raise RuntimeError(f"the views do not come up to date: {views}")

    def resident_mib(self) -> float:
        """Resident memory of its processes in MiB (Linux), without the database server."""
        return sum(map(_resident_kib, _family(self.pid))) / 1024


def _family(pid: int) -> Iterator[int]:
    """A process and everything it started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended in the meantime
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no VmRSS")


@contextmanager
def service(server: Server) -> Iterator[Service]:
    """Starts the service, waits until it is ready, and stops it."""
    data_dir = server.postgres.data_dir
    command = [sys.executable, "-m", "api.cli", "serve", "--data", str(data_dir), "--port", "0"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | _QUIET,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready "):
                yield Service(line.split()[1], process.pid, data_dir)
                return
        raise RuntimeError("the service did not start")
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def _certledger(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


# --- bodies --------------------------------------------------------------------------------------


def document_of(number: int) -> str:
    """A valid synthetic resident ID: no county's code ends in 99."""
    born = date(1970, 1, 1) + timedelta(days=number // 900 % 9000)
    seventeen = f"330199{born:%Y%m%d}{number % 900 + 100:03d}"
    return seventeen + str(mod_11_2.calc_check_digit(seventeen))


def name_of(number: int) -> str:
    """A synthetic name."""
    return "王" + chr(0x4E00 + number % 5000)


def person(run: str, number: int) -> dict[str, Any]:
    """A registration. run: a capital and up to three digits."""
    return {
        "person_id": f"{run}{number:07d}",
        "document_type": "resident_id",
        "document_number": document_of(number),
        "name": name_of(number),
    }


def application(run: str, number: int) -> dict[str, Any]:
    """An application that is eligible: level four, five years of work."""
    return {
        "application_id": f"{run}{number:07d}",
        "person_id": f"{run}{number:07d}",
        "occupation": OCCUPATION,
        "edition": "2021",
        "level": 4,
        "qualifications": {
            "work_periods": [{"started_on": "2020-01-01", "ended_on": None, "relation": "own"}]
        },
    }


def commands(
    path: str, bodies: Iterable[dict[str, Any]], token: str, prefix: str
) -> Iterator[Request]:
    """Valid commands, each with its own idempotency key."""
    known = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    for n, body in enumerate(bodies):
        headers = known | {"Idempotency-Key": f"{prefix}-{n}"}
        status = 202 if path.endswith("/persons") else 201  # a registration is accepted
        yield Request("POST", path, status, headers, json.dumps(body).encode())

"""A service that is killed or stopped in the middle of work loses nothing that it acknowledged.

Covers: api/server/main.py, api/server/process_setup.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth.secrets import load_service_keys
from api.auth.tokens import mint_token
from api.settings import load_settings
from domain.actors import Role
from domain.store.embedded.server import EmbeddedPostgres
from tests.support.service import ISSUER, Caller, opening
from tests.support.waiting import wait_until

PROGRAM = (
    "import sys; from api.server.main import serve; from api.settings import load_settings; "
    "serve(load_settings(data_dir=sys.argv[1], port=0), lambda url: print(url, flush=True))"
)
ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


@dataclass
class Process:
    """A service in its own process, on its own embedded database."""

    folder: Path
    popen: subprocess.Popen[str]
    url: str

    clients: list[httpx.Client] = field(default_factory=list)

    def caller(self, role: str, subject: str | None = None) -> Caller:
        """A caller with a token signed by the key that the service generated."""
        signer = load_service_keys(load_settings(data_dir=self.folder)).token_signer
        assert signer is not None
        made = mint_token(
            signer, subject=subject or role, role=Role(role), organisation="omc", ledgers=["*"],
            issuer=ISSUER, audience=ISSUER, lifetime_s=600,
        )  # fmt: skip
        client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        self.clients.append(client)
        return Caller(client, "omc", made)


@contextmanager
def service(folder: Path) -> Iterator[Process]:
    process: Process | None = None
    popen = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert popen.stdout is not None
        url = popen.stdout.readline().strip()
        assert url.startswith("http"), "the service did not start"
        process = Process(folder, popen, url)
        yield process
    finally:
        for client in process.clients if process else ():
            client.close()
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
        popen.wait(60)
        assert popen.stdout is not None
        popen.stdout.close()


@dataclass
class Load:
    """Writers that send commands until the service exits."""

    answered: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict)
    unanswered: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000_000, 99_999_999)))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, caller: Caller) -> None:
        while True:
            with self._lock:
                number = next(self._numbers)
            key = uuid.uuid4().hex
            body = {
                "document_type": "passport",
                "document_country": "CHN",
                "document_number": f"E{number}",
                "name": "LI SI",
            }
            try:
                answer = caller.send("persons", body, key=key)
            except httpx.TransportError:
                self.unanswered[key] = body
                return
            if answer.status_code == 202:
                self.answered[key] = (body, answer.content)
            else:
                self.refused.append(answer.status_code)
                return

    def run_until(self, process: Process, stop: Any, count: int) -> None:
        """Write with four senders; call `stop` once so many commands were acknowledged."""
        callers = [process.caller("agency") for _ in range(4)]
        senders = [threading.Thread(target=self.write, args=(caller,)) for caller in callers]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + 60
        while len(self.answered) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        stop()
        for sender in senders:
            sender.join(60)


def begin(process: Process) -> None:
    process.caller("operator").write("", opening("S000033000999", "omc"), method="PUT")


def registered(caller: Caller) -> list[int]:
    """Positions of the registrations; asserts that the journal has every position once."""
    positions: list[int] = []
    persons: list[int] = []
    after = 0
    while True:
        page = caller.read("events", after=after, limit=200)
        positions += [event["position"] for event in page["data"]]
        persons += [
            event["position"]
            for event in page["data"]
            if event["envelope"]["topic"] == "person_registered.v1"
        ]
        after = page["next_after"]
        if not page["data"]:
            assert positions == list(range(1, len(positions) + 1))
            return persons


def view_process(process: Process) -> int:
    """Process id of a service's projection runner; waits until there is one."""
    found: list[int] = []

    def look() -> list[int]:
        children = Path(f"/proc/{process.popen.pid}/task").glob("*/children")
        for pid in (pid for path in children for pid in path.read_text().split()):
            if b"domain.store.processes.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
        return found

    wait_until(look)
    return found[0]


def test_a_service_serves_on_while_its_projection_runner_restarts(
    server_dir: Path,
):
    with service(server_dir) as process:
        begin(process)
        agency, finance = process.caller("agency"), process.caller("finance")
        health = {"status": "", "view_process": ""}
        body = {
            "document_type": "passport",
            "document_country": "CHN",
            "document_number": "E10000001",
            "name": "LI SI",
        }

        def says(status: str, view_process: str) -> bool:
            health.update(agency.client.get("/health").json())
            return (health["status"], health["view_process"]) == (status, view_process)

        position = agency.write("persons", body)["last_position"]
        finance.read("refunds", min_position=position)
        wait_until(lambda: says("ok", "running"))
        killed = []
        # The back-off is short at first, and grows.
        while health["view_process"] == "running" and len(killed) < 6:
            killed.append(view_process(process))
            os.kill(killed[-1], signal.SIGKILL)
            for _ in range(20):
                if says("degraded", "restarting"):
                    break
        assert health["view_process"] == "restarting"
        assert agency.client.get("/ready").status_code == 200
        position = agency.write("persons", body | {"document_number": "E10000002"})["last_position"]
        wait_until(lambda: finance.get("refunds", min_position=position).status_code == 200)
        wait_until(lambda: says("ok", "running"))
        last = view_process(process)
        assert last not in killed
    assert not Path(f"/proc/{last}").exists()


def test_a_killed_service_loses_no_acknowledged_command_and_recovers_at_its_next_start(
    server_dir: Path,
):
    load = Load()
    with service(server_dir) as process:
        begin(process)
        load.run_until(process, lambda: process.popen.send_signal(signal.SIGKILL), 150)
        process.popen.wait(20)
    assert len(load.answered) >= 150
    assert not load.refused
    with service(server_dir) as process:
        caller = process.caller("agency")
        for key, (body, content) in load.answered.items():
            again = caller.send("persons", body, key=key)
            assert again.content == content
            assert again.headers["idempotency-replayed"] == "true"
        for key, body in load.unanswered.items():
            assert caller.send("persons", body, key=key).status_code == 202
        persons = registered(process.caller("regulator"))
        assert len(persons) == len(load.answered) + len(load.unanswered)
        assert caller.client.get("/ready").status_code == 200


def test_sigterm_finishes_accepted_commands_and_stops_the_database(server_dir: Path):
    load = Load()
    with service(server_dir) as process:
        begin(process)
        load.run_until(process, lambda: process.popen.send_signal(signal.SIGTERM), 50)
        assert process.popen.wait(60) in (0, -signal.SIGTERM)
    assert EmbeddedPostgres(server_dir).pid() is None
    with service(server_dir) as process:
        caller = process.caller("agency")
        for key, (body, content) in load.answered.items():
            assert caller.send("persons", body, key=key).content == content
        persons = registered(process.caller("regulator"))
        # A request on a connection that was closed before it was read was never recorded.
        assert len(load.answered) <= len(persons)
        assert len(persons) <= len(load.answered) + len(load.unanswered)

"""Lookup workers take over connections, answer every request on them, and end with the service.

Covers: api/server/lookup_worker_pool.py, api/server/lookup_worker.py, api/server/main.py
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from api.lookup.registry import RegistryConfig
from api.server.connection import LOOKUPS_BEFORE_HANDOVER
from api.server.main import Server, socket_directory
from api.settings import Settings
from domain.store.embedded.server import EmbeddedPostgres
from tests.api.server.test_connection import (
    HEALTH,
    LOOKUP,
    NOWHERE,
    answers,
    connected,
    is_closed_by_server,
    post,
)
from tests.support.lookup_workers import (
    lookup_workers_of,
    run_until_clients_leave,
    wait_for_lookup_workers,
    with_lookup_worker,
)
from tests.support.postgres import fresh_database
from tests.support.service import TOKEN_KEY, running, settings_for
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
GUESS = post(LOOKUP, b"Content-Length: %d" % len(LOOKUP))
MANY = 40  # more lookups in a row than a connection needs to be handed over


@dataclass
class Watched:
    """A running service with one lookup worker, and its internals."""

    url: str
    app: FastAPI
    connections: set[Any]

    @property
    def handed_over(self) -> int:
        """Connections that the lookup worker serves."""
        return int(self.app.state.lookup_workers.connections)

    @property
    def worker_pid(self) -> int | None:
        [worker] = self.app.state.lookup_workers._workers
        pid: int | None = worker.supervisor.pid
        return pid

    def ask(self, connection: socket.socket, request: bytes) -> int:
        """Send a request. Returns: the status of its response."""
        connection.sendall(request)
        return answers(connection, 1)[0][0]

    def ask_often(self, connection: socket.socket) -> None:
        """Send lookups, with pauses in which the service can hand the connection over."""
        for _ in range(MANY):
            assert self.ask(connection, NOWHERE) == 404
            time.sleep(0.003)


@contextmanager
def watched(
    postgres: EmbeddedPostgres, folder: Path, change: Any = None, **given: Any
) -> Iterator[Watched]:
    prepared: list[tuple[FastAPI, set[Any]]] = []

    def prepare(server: Server, app: FastAPI) -> None:
        prepared.append((app, server.server_state.connections))
        if change is not None:
            change(server, app)

    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, folder, lookup_processes=1, **given), prepare) as url,
    ):
        wait_for_lookup_workers(url, 1)
        yield Watched(url, *prepared[0])


@pytest.fixture(scope="module")
def service(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    with watched(postgres, tmp_path_factory.mktemp("workers")) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def at_once(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """One that hands its connections over before their first request."""
    folder = tmp_path_factory.mktemp("at-once")
    with watched(postgres, folder, with_lookup_worker) as running_one:
        yield running_one


def test_a_worker_refuses_what_the_service_knows_to_be_wrong(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Also one that starts afterwards, from its first request on."""
    with watched(postgres, tmp_path, with_lookup_worker) as service:

        def status() -> int:
            with connected(service.url) as connection:
                assert service.worker_pid is not None
                return service.ask(connection, NOWHERE)

        assert status() == 404
        wrong = service.app.state.service.views.wrong
        wrong.set("audit", [("certificate_registry", "omc")])
        wait_until(lambda: status() == 503)
        before = service.worker_pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: service.worker_pid not in (None, before))
        wait_for_lookup_workers(service.url, 1)
        assert status() == 503
        wrong.set("audit", [])
        wait_until(lambda: status() == 404)


def children_of(pid: int) -> list[int]:
    """Child processes that run the program of `Child`."""
    found = [
        int(child)
        for children in Path(f"/proc/{pid}/task").glob("*/children")
        for child in children.read_text().split()
    ]
    return [each for each in found if b"domain.store.processes.child" in command_of(each)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


# --- handover -------------------------------------------------------------------------------------


def test_lookup_only_connections_are_shared_equally_with_the_worker(service: Watched):
    with ExitStack() as closing:
        opened = [closing.enter_context(connected(service.url)) for _ in range(6)]
        for each in opened:
            service.ask_often(each)
        assert service.handed_over == 3
        for each in opened:
            assert service.ask(each, GUESS) == 200
            assert service.ask(each, HEALTH) == 200
            assert service.ask(each, NOWHERE) == 404
        assert service.handed_over == 3, "a worker forwards other requests and keeps the connection"
    wait_until(lambda: service.handed_over == 0)


def test_a_connection_with_other_requests_between_lookups_is_not_handed_over(service: Watched):
    with connected(service.url) as mixed:
        for _ in range(MANY):
            assert [service.ask(mixed, NOWHERE), service.ask(mixed, HEALTH)] == [404, 200]
        assert service.handed_over == 0


@pytest.mark.parametrize("size", [1, 7, 60])
def test_a_worker_answers_requests_in_pieces_in_order(at_once: Watched, size: int):
    whole = NOWHERE + GUESS + NOWHERE + post(b"{}", b"Content-Length: 2") + GUESS + HEALTH
    with connected(at_once.url) as slow:
        for start in range(0, len(whole), size):
            slow.sendall(whole[start : start + size])
            time.sleep(0.001)
        found = answers(slow, 6)
    assert [status for status, _ in found] == [404, 200, 404, 422, 200, 200]
    assert json.loads(found[4][1]) == {"certificates": [], "hint": None}


def test_a_half_closed_connection_is_closed_by_the_process_that_serves_it(
    at_once: Watched, service: Watched
):
    for begun in (b"", b"GET /v/", NOWHERE, HEALTH[:9], GUESS[:-3], NOWHERE + HEALTH):
        for url in (at_once.url, service.url):
            with connected(url) as half:
                half.sendall(begun)
                half.shutdown(socket.SHUT_WR)
                began = time.monotonic()
                while not is_closed_by_server(half):
                    pass
                assert time.monotonic() - began < 5, begun


def test_a_handover_leaks_no_descriptor(at_once: Watched):
    worker = at_once.worker_pid
    assert worker is not None
    before = open_files(worker), open_files(os.getpid())
    for _ in range(60):
        with connected(at_once.url) as moving:
            moving.sendall(NOWHERE + HEALTH)
            assert [status for status, _ in answers(moving, 2)] == [404, 200]
    few = 10  # connections to the database are opened meanwhile
    wait_until(lambda: open_files(worker) < before[0] + few)
    wait_until(lambda: open_files(os.getpid()) < before[1] + few)
    wait_until(lambda: at_once.handed_over == 0)


def test_a_connection_without_a_free_descriptor_in_the_worker_is_counted_as_ended(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    with watched(postgres, tmp_path, with_lookup_worker) as service:
        worker = service.worker_pid
        assert worker is not None
        with connected(service.url) as first:
            assert service.ask(first, NOWHERE) == 404
            soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, hard))
            with connected(service.url) as refused:
                assert is_closed_by_server(refused)
            wait_until(lambda: service.handed_over == 1)
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
            assert service.ask(first, NOWHERE) == 404


# --- one budget -----------------------------------------------------------------------------------


def test_all_processes_share_the_rate_limit_of_a_client(postgres: EmbeddedPostgres, tmp_path: Path):
    with (
        watched(postgres, tmp_path, lookup_limit=True) as service,
        connected(service.url) as there,
        connected(service.url) as here,
    ):
        service.ask_often(there)
        assert service.handed_over == 1
        began = time.monotonic()
        found = [service.ask(turn, GUESS) for _ in range(20) for turn in (there, here)]
        refilled = (time.monotonic() - began) / 2 / 5
        assert service.handed_over == 1
        assert 12 <= found.count(200) <= 13 + refilled
        assert found.count(200) + found.count(429) == len(found)
        another = post(LOOKUP, b"Content-Length: %d" % len(LOOKUP), b"X-Forwarded-For: 192.0.2.7")
        assert service.ask(there, another) == 200, "a proxy on this machine is believed"
        assert service.handed_over == 1


# --- ends -----------------------------------------------------------------------------------------


def test_a_killed_worker_closes_only_its_own_connections_and_is_restarted(
    postgres: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with watched(postgres, tmp_path) as service, ExitStack() as closing:
        there, here = (closing.enter_context(connected(service.url)) for _ in range(2))
        service.ask_often(there)
        assert service.ask(here, NOWHERE) == 404
        killed = service.worker_pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        with pytest.raises((ConnectionResetError, IndexError)):
            service.ask(there, NOWHERE)
        assert service.ask(here, NOWHERE) == 404
        wait_until(lambda: service.worker_pid not in (None, killed))
        wait_for_lookup_workers(service.url, 1)
        assert service.handed_over == 0
        service.ask_often(here)
        assert service.handed_over == 1
    assert "a lookup worker exited (signal 9)" in caplog.text


def test_a_worker_that_receives_sigterm_finishes_its_request_in_progress(
    postgres: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with watched(postgres, tmp_path) as service, connected(service.url) as there:
        service.ask_often(there)
        there.sendall(GUESS[:-5])
        time.sleep(0.2)
        assert service.worker_pid is not None
        os.kill(service.worker_pid, signal.SIGTERM)
        wait_until(lambda: lookup_workers_of(service.url) == 0)
        assert service.ask(there, GUESS[-5:]) == 200
        assert is_closed_by_server(there)
        wait_until(
            lambda: (
                ("a lookup worker", "exit code 0") in [r.args[:2] for r in caplog.records if r.args]
            )
        )


def test_a_stopping_worker_answers_on_connections_that_were_on_their_way_to_it(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    with watched(postgres, tmp_path) as service, connected(service.url) as moving:
        stopping = service.worker_pid
        assert stopping is not None
        os.kill(stopping, signal.SIGSTOP)
        for _ in range(LOOKUPS_BEFORE_HANDOVER):
            assert service.ask(moving, NOWHERE) == 404
        wait_until(lambda: service.handed_over == 1)
        moving.sendall(GUESS)
        os.kill(stopping, signal.SIGTERM)
        os.kill(stopping, signal.SIGCONT)
        assert answers(moving, 1)[0][0] == 200
        assert is_closed_by_server(moving)


def test_a_stopping_worker_receives_no_more_connections(postgres: EmbeddedPostgres, tmp_path: Path):
    begin = partial(with_lookup_worker, run=run_until_clients_leave)
    with watched(postgres, tmp_path, begin) as service, connected(service.url) as staying:
        assert service.ask(staying, NOWHERE) == 404
        assert service.handed_over == 1
        stopping = service.worker_pid
        assert stopping is not None
        os.kill(stopping, signal.SIGTERM)
        wait_until(lambda: service.app.state.lookup_workers.ready == 0)
        with connected(service.url) as another:
            assert service.ask(another, NOWHERE) == 404
            assert service.handed_over == 1
            assert is_running(stopping)
            staying.close()
            wait_until(lambda: service.worker_pid not in (None, stopping))
            assert service.ask(another, NOWHERE) == 404


def test_a_silent_worker_is_killed_and_its_clients_can_reconnect(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    begin = partial(with_lookup_worker, silent_checks_max=3)
    with watched(postgres, tmp_path, begin) as service:
        with connected(service.url) as lost:
            assert service.ask(lost, NOWHERE) == 404
            hanging = service.worker_pid
            assert hanging is not None
            time.sleep(5)
            assert service.worker_pid == hanging, "an idle worker reports too"
            os.kill(hanging, signal.SIGSTOP)
            lost.sendall(NOWHERE)
            with suppress(ConnectionResetError):
                assert lost.recv(1) == b""
        wait_until(lambda: service.worker_pid not in (None, hanging))
        wait_for_lookup_workers(service.url, 1)
        wait_until(lambda: service.handed_over == 0)
        with connected(service.url) as other:
            assert service.ask(other, NOWHERE) == 404
            assert service.handed_over == 1


SERVICE = """import sys, base64
from pathlib import Path
from api.server.main import serve
from tests.support.service import settings_for
serve(settings_for(sys.argv[1], Path(sys.argv[2]), lookup_processes=2),
      lambda url: print(url, flush=True))"""


def test_no_process_and_no_port_outlives_a_service_that_is_killed(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    with fresh_database(postgres) as database:
        service = subprocess.Popen(
            [sys.executable, "-c", SERVICE, database.dsn, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert service.stdout is not None
        url = service.stdout.readline().strip()
        wait_for_lookup_workers(url, 2)
        started = children_of(service.pid)
        assert len(started) == 3
        with connected(url) as there:
            for _ in range(MANY):
                there.sendall(NOWHERE)
                assert answers(there, 1)[0][0] == 404
            service.kill()
            service.wait()
            wait_until(lambda: not any(map(is_running, started)))
        service.stdout.close()
        with pytest.raises(ConnectionRefusedError), connected(url):
            pass


def test_a_worker_receives_no_secret_that_it_does_not_need(tmp_path: Path):
    known: Settings = settings_for("postgresql://u:secret@h/d", tmp_path).without_secrets()
    assert TOKEN_KEY not in repr(known.model_dump())
    secret = known.database_url, known.master_key, known.index_key, known.token_key, known.blob_url
    secret += known.journal_key, known.journal_keys_retired, known.command_keys_retired
    secret += known.command_key, known.idempotency_key, known.login_key, known.login_keys_retired
    secret += known.link_key, known.link_keys_retired
    assert not any(secret)
    assert "secret" not in repr(
        RegistryConfig("postgresql://u:secret@h/d", b"secret", (), "aes-256-gcm", (b"secret",))
    )


def test_a_service_without_lookup_workers_answers_all_lookups_itself(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, tmp_path, lookup_processes=0)) as url,
        connected(url) as connection,
    ):
        for _ in range(MANY):
            connection.sendall(NOWHERE)
            assert answers(connection, 1)[0][0] == 404
        assert lookup_workers_of(url) == 0


def test_a_service_that_cannot_make_a_socket_for_its_workers_starts_without_them(
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(tempfile, "tempdir", "/missing")
    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, tmp_path, lookup_processes=1)) as url,
        connected(url) as connection,
    ):
        connection.sendall(NOWHERE)
        assert answers(connection, 1)[0][0] == 404
        assert lookup_workers_of(url) == 0
    assert any("no lookup workers" in record.message for record in caplog.records)


@pytest.mark.parametrize("length", [20, 200])
def test_the_socket_of_workers_is_private_and_its_path_fits(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / ("x" * length)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with socket_directory() as made, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{made}/main")
        assert stat.S_IMODE(Path(made).stat().st_mode) == 0o700
    assert not Path(made).exists()

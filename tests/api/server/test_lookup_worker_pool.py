"""Lookup processes: connections go there and come back whole, and no process is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.lookup.registry import RegistryConfig
from api.server.connection import LOOKUPS_IN_A_ROW
from api.server.lookup_worker_connection import lookup_bytes
from api.server.main import Server
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
    answer_until_clients_leave,
    lookup_workers_of,
    wait_for_lookup_workers,
    with_lookup_worker,
)
from tests.support.postgres import fresh_database
from tests.support.service import TOKEN_KEY, running, settings_for
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
GUESS = post(LOOKUP, b"Content-Length: %d" % len(LOOKUP))
MANY = 40  # more lookups in a row than it takes to be moved


@dataclass
class Watched:
    """A running service with one lookup process, and what it works with."""

    url: str
    app: FastAPI
    connections: set[Any]

    @property
    def elsewhere(self) -> int:
        """Connections that the lookup process serves."""
        return int(self.app.state.elsewhere.connections)

    @property
    def pid(self) -> int | None:
        """Of the lookup process."""
        [process] = self.app.state.elsewhere._processes
        pid: int | None = process._kept.pid
        return pid

    def ask(self, connection: socket.socket, request: bytes) -> int:
        connection.sendall(request)
        return answers(connection, 1)[0][0]

    def ask_often(self, connection: socket.socket) -> None:
        """Lookups with pauses in which a connection can be moved."""
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
    with watched(postgres, tmp_path_factory.mktemp("elsewhere")) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def at_once(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """One whose connections begin in its lookup process."""
    folder = tmp_path_factory.mktemp("at-once")
    with watched(postgres, folder, with_lookup_worker) as running_one:
        yield running_one


def children_of(pid: int) -> list[int]:
    """Processes of our own program that a process has started."""
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


# --- going and coming back ------------------------------------------------------------------------


def test_who_asks_for_nothing_but_lookups_is_moved_and_each_process_serves_as_many(
    service: Watched,
):
    with ExitStack() as closing:
        opened = [closing.enter_context(connected(service.url)) for _ in range(6)]
        for each in opened:
            service.ask_often(each)
        assert service.elsewhere == 3
        for each in opened:
            assert service.ask(each, GUESS) == 200
        for each in opened:
            assert service.ask(each, HEALTH) == 200
        assert service.elsewhere == 0
        for each in opened:
            assert service.ask(each, NOWHERE) == 404
        service.ask_often(opened[0])
        assert service.elsewhere == 1
    wait_until(lambda: service.elsewhere == 0)


def test_who_asks_for_other_things_too_stays(service: Watched):
    with connected(service.url) as mixed:
        for _ in range(MANY):
            assert [service.ask(mixed, NOWHERE), service.ask(mixed, HEALTH)] == [404, 200]
        assert service.elsewhere == 0


def test_what_is_read_ahead_goes_along_however_much_it_is(at_once: Watched):
    pages = b"GET /nowhere?" + b"x" * 900 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(at_once.url) as greedy:
        greedy.sendall(NOWHERE * 3 + GUESS + HEALTH + pages * 250 + GUESS)
        found = [status for status, _ in answers(greedy, 256)]
    assert found == [404, 404, 404, 200, 200] + [404] * 250 + [200]


@pytest.mark.parametrize("size", [1, 7, 60])
def test_requests_in_pieces_are_answered_in_order(at_once: Watched, size: int):
    whole = NOWHERE + GUESS + NOWHERE + post(b"{}", b"Content-Length: 2") + GUESS + HEALTH
    with connected(at_once.url) as slow:
        for start in range(0, len(whole), size):
            slow.sendall(whole[start : start + size])
            time.sleep(0.001)
        found = answers(slow, 6)
    assert [status for status, _ in found] == [404, 200, 404, 422, 200, 200]
    assert json.loads(found[4][1]) == {"certificates": [], "hint": None}


def test_who_says_no_more_is_let_go_wherever_it_is(at_once: Watched, service: Watched):
    for begun in (b"", b"GET /v/", NOWHERE, HEALTH[:9], GUESS[:-3], NOWHERE + HEALTH):
        for url in (at_once.url, service.url):
            with connected(url) as half:
                half.sendall(begun)
                half.shutdown(socket.SHUT_WR)
                began = time.monotonic()
                while not is_closed_by_server(half):
                    pass
                assert time.monotonic() - began < 5, begun


def test_moving_leaves_no_descriptor_open(at_once: Watched):
    process = at_once.pid
    assert process is not None
    before = open_files(process), open_files(os.getpid())
    for _ in range(60):
        with connected(at_once.url) as moving:
            moving.sendall(NOWHERE + HEALTH)
            assert [status for status, _ in answers(moving, 2)] == [404, 200]
    few = 10  # connections to the database are opened meanwhile
    wait_until(lambda: open_files(process) < before[0] + few)
    wait_until(lambda: open_files(os.getpid()) < before[1] + few)


@pytest.mark.parametrize(
    ("held", "size"),
    [(NOWHERE + b"rest", len(NOWHERE)), (b"G", 0), (b"GET /v/12", 0), (NOWHERE[:-1], 0),
     (GUESS + b"rest", len(GUESS)), (GUESS[:-1], len(GUESS) - len(LOOKUP)), (HEALTH, None),
     (b"HEAD /v/", None),
     (NOWHERE.replace(b"1.1", b"1.0"), None), (NOWHERE.replace(b": x", b": x\nY: z"), None),
     (NOWHERE.replace(b"Host", b" Host"), None), (b"POST /lookups", None),
     (b"GET /v/" + b"0" * 40_000, None), (b"\r\n" + NOWHERE, None)],
)  # fmt: skip
def test_the_end_of_a_plain_lookup_is_known_to_the_byte(held: bytes, size: int | None):
    assert lookup_bytes(held) == size


# --- one budget -----------------------------------------------------------------------------------


def test_who_guesses_spends_one_budget_in_all_processes(postgres: EmbeddedPostgres, tmp_path: Path):
    with (
        watched(postgres, tmp_path, lookup_limit=True) as service,
        connected(service.url) as there,
        connected(service.url) as here,
    ):
        service.ask_often(there)
        assert service.elsewhere == 1
        began = time.monotonic()
        found = [service.ask(turn, GUESS) for _ in range(20) for turn in (there, here)]
        refilled = (time.monotonic() - began) / 2 / 5
        assert service.elsewhere == 1
        assert 12 <= found.count(200) <= 13 + refilled
        assert found.count(200) + found.count(429) == len(found)
        another = post(LOOKUP, b"Content-Length: %d" % len(LOOKUP), b"X-Forwarded-For: 192.0.2.7")
        assert service.ask(there, another) == 200, "a proxy on this machine is believed"
        assert service.elsewhere == 1


# --- ends -----------------------------------------------------------------------------------------


def test_a_lookup_process_that_is_killed_takes_its_connections_along_and_nothing_else(
    postgres: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with watched(postgres, tmp_path) as service, ExitStack() as closing:
        there, here = (closing.enter_context(connected(service.url)) for _ in range(2))
        service.ask_often(there)
        assert service.ask(here, NOWHERE) == 404
        killed = service.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        with pytest.raises((ConnectionResetError, IndexError)):
            service.ask(there, NOWHERE)
        assert service.ask(here, NOWHERE) == 404
        wait_until(lambda: service.pid not in (None, killed))
        wait_for_lookup_workers(service.url, 1)
        assert service.elsewhere == 0
        service.ask_often(here)
        assert service.elsewhere == 1
    assert ("a process that answers lookups", "signal 9") in [r.args for r in caplog.records]


def test_a_lookup_process_that_is_told_to_stop_finishes_what_it_began(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    with watched(postgres, tmp_path) as service, connected(service.url) as there:
        service.ask_often(there)
        there.sendall(GUESS[:-5])
        time.sleep(0.2)
        assert service.pid is not None
        os.kill(service.pid, signal.SIGTERM)
        wait_until(lambda: lookup_workers_of(service.url) == 0)
        assert service.ask(there, GUESS[-5:]) == 200
        assert service.ask(there, NOWHERE) == 404


def test_what_was_on_its_way_to_a_lookup_process_that_stops_comes_back_as_it_was(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    with watched(postgres, tmp_path, connections_max=3) as service, ExitStack() as closing:
        moving = closing.enter_context(connected(service.url))
        stopping = service.pid
        assert stopping is not None
        os.kill(stopping, signal.SIGSTOP)
        for _ in range(LOOKUPS_IN_A_ROW):
            assert service.ask(moving, NOWHERE) == 404
        wait_until(lambda: service.elsewhere == 1)
        for _ in range(3):  # with which there are more than there may be
            closing.enter_context(connected(service.url))
        wait_until(lambda: len(service.connections) == 3)
        os.kill(stopping, signal.SIGTERM)
        os.kill(stopping, signal.SIGCONT)
        assert service.ask(moving, NOWHERE) == 404
        assert service.ask(moving, HEALTH) == 200
        assert service.elsewhere == 0


def test_a_lookup_process_that_stops_gets_no_more_connections(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    begin = partial(with_lookup_worker, answer=answer_until_clients_leave)
    with watched(postgres, tmp_path, begin) as service, connected(service.url) as staying:
        assert service.ask(staying, NOWHERE) == 404
        assert service.elsewhere == 1
        stopping = service.pid
        assert stopping is not None
        os.kill(stopping, signal.SIGTERM)
        wait_until(lambda: service.app.state.elsewhere.alive == 0)
        with connected(service.url) as another:
            assert service.ask(another, NOWHERE) == 404
            assert service.elsewhere == 1
            assert is_running(stopping)
            staying.close()
            wait_until(lambda: service.pid not in (None, stopping))
            assert service.ask(another, NOWHERE) == 404


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


def test_a_lookup_process_is_given_no_secret_that_it_has_no_use_for(tmp_path: Path):
    known: Settings = settings_for("postgresql://u:secret@h/d", tmp_path).without_secrets()
    assert TOKEN_KEY not in repr(known.model_dump())
    secret = known.database_url, known.master_key, known.index_key, known.token_key, known.blob_url
    secret += known.journal_key, known.journal_keys_retired
    assert not any(secret)
    assert "secret" not in repr(
        RegistryConfig("postgresql://u:secret@h/d", b"secret", "aes-256-gcm", (b"secret",))
    )


def test_a_service_without_lookup_processes_answers_all_by_itself(
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
        assert httpx.get(f"{url}/health", trust_env=False).json()["lookup_processes"] == 0

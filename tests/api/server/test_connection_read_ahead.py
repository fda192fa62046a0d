"""What a client sends ahead of its answers: read as far as there is room, wherever it is served."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.server.lookup_worker_connection import AT_ONCE, HELD_BYTES_MAX, LookupWorkerConnection
from domain.store.embedded.server import EmbeddedPostgres
from tests.api.server.test_connection import NOWHERE, connected
from tests.api.server.test_lookup_worker_pool import watched
from tests.support.lookup_workers import with_lookup_worker
from tests.support.service import settings_for


@pytest.mark.parametrize("begin", [None, with_lookup_worker], ids=["here", "there"])
def test_who_asks_and_asks_and_reads_nothing_is_read_no_further(
    begin: Any, postgres: EmbeddedPostgres, tmp_path: Path
):
    page = b"GET /nowhere?" + b"x" * 900 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    most = 0
    with (
        watched(postgres, tmp_path, begin) as service,
        connected(service.url, receive_buffer=4096) as greedy,
    ):
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        greedy.settimeout(0.5)
        with suppress(TimeoutError):
            for _ in range(80):
                greedy.sendall(page * 100)
                most = max([most, *(len(each.pipeline) for each in list(service.connections))])
    read_at_once = 262_144
    assert 0 < most * len(page) < 3 * read_at_once


class Stopped:
    """A transport that moves nothing; as much of one as a connection asks for."""

    is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, _: str) -> None:
        return None


def connection_that(try_accept: Any, folder: Path) -> LookupWorkerConnection:
    connection = LookupWorkerConnection(
        config=uvicorn.Config(lambda: None, ws="none", log_config=None),
        server_state=ServerState(),
        app_state={},
        lookups=SimpleNamespace(try_accept=try_accept),
        settings=settings_for("", folder),
        channel=None,
    )
    connection.connection_made(Stopped())
    return connection


def test_a_lookup_process_reads_ahead_no_more_than_it_may(tmp_path: Path):
    def try_accept(*_: Any) -> Any:
        begun.append(
            SimpleNamespace(
                response_complete=False, more_body=False, on_request_complete=lambda: None
            )
        )
        return begun[-1]

    begun: list[Any] = []

    async def answer_one_by_one() -> None:
        connection = connection_that(try_accept, tmp_path)
        asked = 2 * HELD_BYTES_MAX // len(NOWHERE)
        connection.data_received(NOWHERE * asked)
        for number in range(1, asked + 1):
            waiting = (asked - number) * len(NOWHERE)
            assert len(begun) == number
            assert connection.transport.is_reading == (waiting <= HELD_BYTES_MAX)
            begun[-1].response_complete = True
            connection.on_response_complete()
        assert len(begun) == asked

    asyncio.run(answer_one_by_one())


def test_lookups_that_are_answered_at_once_leave_others_their_turn(tmp_path: Path):
    def try_accept(*_: Any) -> Any:
        def answer() -> None:
            answered.append(exchange)
            exchange.response_complete = True
            connections[0].on_response_complete()

        exchange = SimpleNamespace(
            response_complete=False, more_body=False, on_request_complete=answer
        )
        return exchange

    answered: list[Any] = []
    connections: list[LookupWorkerConnection] = []

    async def take_turns() -> None:
        connections.append(connection_that(try_accept, tmp_path))
        connections[0].data_received(NOWHERE * 3 * AT_ONCE)
        for turn in range(1, 4):
            assert len(answered) == turn * AT_ONCE
            connections[0].data_received(NOWHERE)
            assert len(answered) == turn * AT_ONCE
            await asyncio.sleep(0)
        assert len(answered) == 3 * AT_ONCE + 3

    asyncio.run(take_turns())

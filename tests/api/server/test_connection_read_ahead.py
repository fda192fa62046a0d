"""A client that sends requests ahead of its responses is read only as far as there is room.

Covers: api/server/connection.py
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from domain.store.embedded.server import EmbeddedPostgres
from tests.api.server.test_connection import connected
from tests.api.server.test_lookup_worker_pool import watched


def test_the_server_stops_reading_from_a_client_that_reads_no_responses(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    page = b"GET /nowhere?" + b"x" * 900 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    most = 0
    with (
        watched(postgres, tmp_path) as service,
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

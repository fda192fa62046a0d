"""Requests that a lookup worker forwards get the answer that the main process gives without it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.http.access_log import log as access_log
from api.lookup.rate_limit import Unlimited
from api.server.forwarding import ABORT, ForwardedConnection, Forwarder
from api.server.main import Server
from api.web.error_pages import render_error
from domain.store.embedded.server import EmbeddedPostgres
from tests.api.server.test_connection import (
    HEALTH,
    LOOKUP,
    NOWHERE,
    answer,
    answers,
    connected,
    is_closed_by_server,
    post,
)
from tests.api.server.test_lookup_worker_pool import Watched, watched
from tests.support.lookup_workers import with_lookup_worker
from tests.support.service import make_log_key_for, opening, settings_for, token
from tests.support.waiting import wait_until

# --- a main process that does not answer ----------------------------------------------------------


def scope(method: str = "POST", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": "/ledgers/omc",
        "raw_path": b"/ledgers/omc",
        "query_string": b"",
        "client": ("192.0.2.7", 1234),
        "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"x"), *headers],
    }


BODY = {b"content-length", b"transfer-encoding"}


class Forwarding:
    """One request to a worker whose main process is this peer, or nobody.

    sent: ASGI messages to the client. received: bytes that the peer received.
    """

    def __init__(self, folder: Path, peer: bytes | None) -> None:
        """peer: what it answers before it closes the connection; None if nobody listens."""
        self.sent: list[dict[str, Any]] = []
        self.received: list[bytes] = []
        self.aborted = asyncio.Event()
        self._unread: list[dict[str, Any]] = []
        self._folder = folder
        self._peer = peer

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._peer is not None
        self.received.append(await reader.read(65_536))
        with suppress(ConnectionError):
            writer.write(self._peer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _receive(self) -> dict[str, Any]:
        if self._unread:
            return self._unread.pop()
        await self.aborted.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def forward(self, asked: dict[str, Any]) -> None:
        path = str(self._folder / "main")
        forwarder = Forwarder(path, settings_for("", self._folder), render_error)
        async with AsyncExitStack() as closing:
            if self._peer is not None:
                server = await asyncio.start_unix_server(self._answer, path)
                await closing.enter_async_context(server)
            asked["state"] = {ABORT: self.aborted.set}
            has_body = {name for name, _ in asked["headers"]} & BODY
            body = b"{}" if has_body else b""
            self._unread = [{"type": "http.request", "body": body, "more_body": False}]
            await forwarder(asked, self._receive, self._send)
            await forwarder.close()
            for _ in range(10):  # turns of the loop in which the peer sees the end
                await asyncio.sleep(0.01)


def forwarded(folder: Path, peer: bytes | None, asked: dict[str, Any]) -> Forwarding:
    async def forward() -> Forwarding:
        forwarding = Forwarding(folder, peer)
        async with asyncio.timeout(10):
            await forwarding.forward(asked)
        return forwarding

    return asyncio.run(forward())


@pytest.mark.parametrize(
    ("peer", "asked", "status", "code"),
    [
        (None, scope("POST"), 503, "server_busy"),
        (b"", scope("GET"), 503, "server_busy"),
        (b"", scope("POST", (b"host", b"y")), 400, "bad_request"),
        (b"", scope("POST", (b"content-length", b"99999999")), 413, "body_too_large"),
    ],
    ids=["nobody listens", "no answer to a read", "two hosts", "too large"],
)
def test_a_request_that_was_not_recorded_is_refused(
    peer: bytes | None,
    asked: dict[str, Any],
    status: int,
    code: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("INFO", access_log.name)
    forwarding = forwarded(tmp_path, peer, asked)
    start, body = forwarding.sent
    headers = dict(start["headers"])
    assert (start["status"], json.loads(body["body"])["code"]) == (status, code)
    assert headers[b"x-content-type-options"] == b"nosniff"
    trace_id = json.loads(body["body"])["trace_id"]
    assert headers[b"trace-id"].decode() == trace_id
    assert trace_id in caplog.text
    assert not forwarding.aborted.is_set()


def test_a_browser_gets_a_refusal_as_a_page(tmp_path: Path):
    start, body = forwarded(tmp_path, None, scope("GET", (b"accept", b"text/html"))).sent
    assert start["status"] == 503
    assert dict(start["headers"])[b"content-type"].startswith(b"text/html")
    assert b"server_busy" in body["body"]


@pytest.mark.parametrize("peer", [b"", b"HTTP/1.1 20"], ids=["no answer", "half a head"])
def test_a_command_without_an_answer_is_not_sent_again_and_gets_none(peer: bytes, tmp_path: Path):
    """It may have been recorded, so neither a refusal nor a repetition would be right."""
    forwarding = forwarded(tmp_path, peer, scope("POST", (b"content-length", b"2")))
    assert forwarding.aborted.is_set()
    assert forwarding.sent == []
    assert len(forwarding.received) == 1


def test_a_response_that_breaks_off_stays_incomplete(tmp_path: Path):
    peer = b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n1234"
    start, *parts = forwarded(tmp_path, peer, scope("POST")).sent
    assert start["status"] == 201
    assert b"".join(part["body"] for part in parts) == b"1234"
    assert all(part["more_body"] for part in parts)


def test_the_main_process_receives_the_client_and_no_header_of_the_other_connection(
    tmp_path: Path,
):
    asked = scope(
        "POST",
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"keep-alive"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
    )
    asked["query_string"] = b"a=%20b"
    [request] = forwarded(tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n", asked).received
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert line == b"POST /ledgers/omc?a=%20b HTTP/1.1"
    assert sorted(each.lower() for each in headers) == [
        b"content-length: 2",
        b"cookie: a=1",
        b"cookie: b=2",
        b"host: x",
        b"x-forwarded-for: 192.0.2.7",
        b"x-forwarded-proto: http",
    ]
    assert body == b"{}"


# --- a running service ----------------------------------------------------------------------------


class Addresses(Unlimited):
    """No limit; records the addresses that are charged."""

    def __init__(self) -> None:
        super().__init__()
        self.charged: list[str] = []

    def charge(self, address: str) -> None:
        self.charged.append(address)


@pytest.fixture(scope="module")
def service(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """One with room for two clients, which hands connections over before their first request."""

    def prepare(server: Server, app: FastAPI) -> None:
        with_lookup_worker(server, app)
        app.state.lookup_limit = Addresses()

    folder = tmp_path_factory.mktemp("forwarding")
    with watched(postgres, folder, prepare, connections_max=2) as running_one:
        yield running_one


def test_the_main_process_charges_the_client_of_a_forwarded_lookup(service: Watched):
    """As without a worker: the address that a local proxy names, and no address of others."""
    length = b"Content-Length: %d" % len(LOOKUP)
    twice = (length, b"X: 1", b"X: 1")  # no plain lookup, so it is forwarded
    asked = [
        ("127.0.0.1", post(LOOKUP, *twice), "127.0.0.1"),
        ("127.0.0.1", post(LOOKUP, *twice, b"X-Forwarded-For: 192.0.2.7"), "192.0.2.7"),
        ("127.0.0.1", post(LOOKUP, *twice, b"X-Forwarded-For: 192.0.2.7, ::9"), "::9"),
        ("127.0.0.2", post(LOOKUP, *twice, b"X-Forwarded-For: 192.0.2.7"), "127.0.0.2"),
    ]
    charged = service.app.state.lookup_limit.charged
    charged.clear()
    for source, request, _ in asked:
        with socket.socket() as client:
            client.bind((source, 0))
            client.settimeout(20)
            host, port = service.url.removeprefix("http://").split(":")
            client.connect((host, int(port)))
            assert service.ask(client, request) == 200
    assert charged == [address for _, _, address in asked]


def test_forwarded_connections_are_not_counted_as_clients_and_have_no_deadline(service: Watched):
    # The two places are free once the clients from before are gone.
    wait_until(lambda: not service.connections and service.handed_over == 0)
    with connected(service.url) as one, connected(service.url) as two:
        for _ in range(3):
            assert service.ask(one, HEALTH) == 200
            assert service.ask(two, HEALTH) == 200
            assert not any(isinstance(each, ForwardedConnection) for each in service.connections)


def test_a_command_is_forwarded_and_its_repetition_recognised(service: Watched):
    name = f"t{uuid.uuid4().hex[:8]}"
    headers = {"Authorization": f"Bearer {token('operator')}", "Idempotency-Key": "k" * 20}
    with httpx.Client(base_url=service.url, timeout=20, trust_env=False) as client:
        make_log_key_for(client, name)
        body = opening("S000033000998", name)
        first, again = (
            client.put(f"/ledgers/{name}", json=body, headers=headers) for _ in range(2)
        )
    assert first.status_code in (200, 201)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"


def test_a_body_of_the_greatest_size_is_forwarded_and_one_byte_more_is_refused(service: Watched):
    upload = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n"
    size = 1 << 20
    with connected(service.url) as there:
        there.sendall(upload % (size, b"") + b"x" * size + NOWHERE)
        assert [status for status, _ in answers(there, 2)] == [404, 404]
        there.sendall(upload % (size + 1, b"Expect: 100-continue\r\n"))
        assert answers(there, 1)[0][0] == 413, "before the body is sent"


@pytest.mark.parametrize(
    "request_bytes",
    [b"HEAD /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
     b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
     b"GET /ledgers/ HTTP/1.0\r\n\r\n",
     b"GET /lookup?lang=en HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n",
     b"OPTIONS /ledgers HTTP/1.1\r\nHost: x\r\n\r\n",
     b"GET /nowhere HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
     post(b"", b"Content-Length: 0")],
    ids=["head", "large", "no host", "page", "options", "upgrade", "empty body"],
)  # fmt: skip
def test_a_forwarded_response_is_the_one_without_a_worker(
    service: Watched, service_url: str, request_bytes: bytes
):
    found = []
    for url in (service.url, service_url):
        with connected(url) as client:
            client.sendall(request_bytes)
            response = answer(client, request_bytes.split()[0].decode())
            headers = {k.lower(): v.replace(url, "") for k, v in response.getheaders()}
            trace, _ = headers.pop("trace-id"), headers.pop("date")
            body = response.read().replace(trace.encode(), b"-" * 32)
            found.append((response.status, headers, body))
    assert found[0] == found[1]


def test_a_stop_of_the_service_finishes_a_forwarded_request_in_progress(
    postgres: EmbeddedPostgres, tmp_path: Path
):
    upload = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    with ExitStack() as closing:
        running_one = ExitStack()
        service = running_one.enter_context(watched(postgres, tmp_path, with_lookup_worker))
        asked = closing.enter_context(connected(service.url))
        idle = closing.enter_context(connected(service.url))
        assert [service.ask(each, HEALTH) for each in (asked, idle)] == [200, 200]
        asked.sendall(upload + b"12")
        stopping = threading.Thread(target=running_one.close)
        stopping.start()
        assert is_closed_by_server(idle)
        asked.sendall(b"34")
        response = answer(asked)
        assert (response.status, response.getheader("connection")) == (404, "close")
        stopping.join(30)
        assert not stopping.is_alive()

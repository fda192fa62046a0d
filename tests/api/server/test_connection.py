"""One connection at the wire: slow, silent, greedy and malformed clients harm nobody else."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.support.lookup_workers import Running, with_short_timeouts_and_worker
from tests.support.lookup_workers import with_short_timeouts as impatient_here
from tests.support.postgres import fresh_database
from tests.support.service import running, settings_for

NOWHERE = b"GET /v/omc-aa" + b"0" * 32 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
LOOKUP = b'{"name":"\xe6\x9d\x8e\xe5\x9b\x9b","certificate_number":"S000033000123264000001"}'


def post(body: bytes, *lines: bytes) -> bytes:
    head = [b"POST /lookup HTTP/1.1", b"Host: x", b"Content-Type: application/json", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@contextmanager
def connected(url: str, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as made:
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(20)
        made.connect((host, int(port)))
        yield made


def answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """The next responses on a connection: status and body."""
    file = connection.makefile("rb")
    found = []
    for _ in range(count):
        status = int(file.readline().split()[1])
        length = 0
        while line := file.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        found.append((status, file.read(length)))
    return found


def answer(connection: socket.socket, method: str = "GET") -> HTTPResponse:
    response = HTTPResponse(connection, method=method)
    response.begin()
    return response


def is_closed_by_server(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture(scope="module")
def service_url(
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
    beginning: Running,
) -> Iterator[str]:
    with (
        fresh_database(postgres) as database,
        beginning(settings_for(database.dsn, tmp_path_factory.mktemp("patient"))) as url,
    ):
        yield url


@pytest.fixture(scope="module")
def with_short_timeouts(
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
    beginning: Running,
) -> Iterator[str]:
    """A service with timeouts of half a second."""
    prepare = impatient_here if beginning is running else with_short_timeouts_and_worker
    folder = tmp_path_factory.mktemp("impatient")
    with (
        fresh_database(postgres) as database,
        beginning(settings_for(database.dsn, folder), prepare) as url,
    ):
        yield url


# --- slow clients ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\nX: ",
     post(b"{", b"Content-Length: 9"), post(b"{", b"Content-Length: 99999"),
     post(b"1\r\n{\r\n", b"Transfer-Encoding: chunked")],
    ids=["silent", "line", "head", "short body", "long body", "chunks"],
)  # fmt: skip
def test_a_request_that_does_not_arrive_in_time_is_closed(with_short_timeouts: str, begun: bytes):
    with connected(with_short_timeouts) as slow:
        slow.sendall(begun)
        began = time.monotonic()
        assert is_closed_by_server(slow)
        assert time.monotonic() - began < 5


def test_a_head_that_arrives_byte_by_byte_gets_no_more_time(with_short_timeouts: str):
    with connected(with_short_timeouts) as slow:
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - began < 10:
                slow.sendall(b"GET /" if began == 0 else b"x")
                time.sleep(0.1)
        assert time.monotonic() - began < 5


def test_an_idle_connection_is_closed(with_short_timeouts: str):
    with connected(with_short_timeouts) as idle:
        idle.sendall(NOWHERE)
        assert answers(idle, 1)[0][0] == 404
        assert is_closed_by_server(idle)


def test_a_client_that_reads_no_responses_is_closed_and_delays_nobody(with_short_timeouts: str):
    document = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(with_short_timeouts, receive_buffer=4096) as greedy:
        greedy.sendall(document * 200)
        began = time.monotonic()
        assert httpx.get(f"{with_short_timeouts}/health", trust_env=False).status_code == 200
        assert time.monotonic() - began < 5
        time.sleep(3)
        received = 0
        with pytest.raises(ConnectionResetError):
            while piece := greedy.recv(65_536):
                received += len(piece)
            raise ConnectionResetError
        whole = len(httpx.get(f"{with_short_timeouts}/openapi.json", trust_env=False).content)
        assert received < 200 * whole


# --- what a request may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
     b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"],
    ids=["tls", "line", "version", "space", "two lengths", "negative length"],
)  # fmt: skip
def test_malformed_http_is_refused_and_the_connection_closed(service_url: str, broken: bytes):
    with connected(service_url) as connection:
        connection.sendall(broken)
        assert answer(connection).status == 400
        assert is_closed_by_server(connection)


def test_a_head_without_end_is_refused(service_url: str):
    with connected(service_url) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(10_000):
                connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
                time.sleep(0)
            pytest.fail("a head of ten megabytes was read")


def test_requests_sent_in_one_piece_are_answered_one_by_one_in_order(service_url: str):
    length = b"Content-Length: %d" % len(LOOKUP)
    with connected(service_url) as connection:
        connection.sendall(NOWHERE + HEALTH + post(LOOKUP, length) + NOWHERE + HEALTH + NOWHERE)
        found = answers(connection, 6)
    assert [status for status, _ in found] == [404, 200, 200, 404, 200, 404]
    assert json.loads(found[2][1]) == {"certificates": [], "hint": None}
    assert "status" in json.loads(found[4][1])


def test_expect_100_continue_is_answered_before_the_body(service_url: str):
    length = b"Content-Length: %d" % len(LOOKUP)
    with connected(service_url) as connection:
        connection.sendall(post(b"", length, b"Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(LOOKUP)
        assert answer(connection).status == 200


def test_a_chunked_body_is_read_as_a_whole(service_url: str):
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in LOOKUP) + b"0\r\n\r\n"
    with connected(service_url) as connection:
        connection.sendall(post(chunks, b"Transfer-Encoding: chunked"))
        assert json.loads(answer(connection).read())["certificates"] == []


# --- too much at once -----------------------------------------------------------------------------


def test_a_connection_above_the_limit_gets_503_with_retry_after(
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    beginning: Running,
):
    with (
        fresh_database(postgres) as database,
        beginning(settings_for(database.dsn, tmp_path, connections_max=3)) as url,
        ExitStack() as closing,
    ):
        held = [closing.enter_context(a_place(url)) for _ in range(3)]
        with connected(url) as late:
            late.sendall(HEALTH)
            refused = answer(late)
            assert (refused.status, refused.getheader("retry-after")) == (503, "1")
            assert refused.getheader("connection") == "close"
            assert json.loads(refused.read())["code"] == "server_busy"
            assert is_closed_by_server(late)
        held[0].sendall(NOWHERE)
        assert answers(held[0], 1)[0][0] == 404
        held.pop().close()
        with a_place(url):
            pass


@contextmanager
def a_place(url: str) -> Iterator[socket.socket]:
    """A connection that has had an answer. The places of clients from before become free soon."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with connected(url) as connection:
            connection.sendall(HEALTH)
            if answers(connection, 1)[0][0] == 200:
                yield connection
                return
    pytest.fail("connections are refused below the limit")


def test_a_service_at_its_request_limit_refuses_fast_and_still_serves_health_and_lookups(
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    beginning: Running,
):
    upload = b"POST /ledgers/omc/persons HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with (
        fresh_database(postgres) as database,
        beginning(settings_for(database.dsn, tmp_path, requests_max=4)) as url,
        ExitStack() as closing,
        httpx.Client(base_url=url, timeout=20, trust_env=False) as client,
    ):
        for _ in range(4):
            closing.enter_context(connected(url)).sendall(upload)
        deadline = time.monotonic() + 10
        while client.get("/ledgers").status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        refused = client.post("/ledgers/omc/persons", content=b"x" * 100_000)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["code"] == "server_busy"
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code in (200, 503)
        assert client.get("/v/omc-aa" + "0" * 32).status_code == 404
        began = time.perf_counter()
        for _ in range(200):
            assert client.get("/ledgers").status_code == 503
        assert time.perf_counter() - began < 2


def test_a_stop_finishes_requests_in_progress_and_refuses_new_ones(
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    beginning: Running,
):
    stopping = threading.Event()
    with fresh_database(postgres) as database, ExitStack() as closing:
        service = ExitStack()
        url = service.enter_context(beginning(settings_for(database.dsn, tmp_path)))
        asked = closing.enter_context(connected(url))
        idle = closing.enter_context(connected(url))
        idle.sendall(NOWHERE)
        assert answers(idle, 1)[0][0] == 404
        asked.sendall(post(LOOKUP[:20], b"Content-Length: %d" % len(LOOKUP)))
        time.sleep(0.3)

        def stop() -> None:
            service.close()
            stopping.set()

        threading.Thread(target=stop).start()
        assert is_closed_by_server(idle)
        assert not stopping.is_set()
        asked.sendall(LOOKUP[20:])
        response = answer(asked)
        assert (response.status, response.getheader("connection")) == (200, "close")
        assert stopping.wait(20)
        with pytest.raises(ConnectionRefusedError), connected(url):
            pass

"""The benchmarks' clients send every request and detect unexpected answers.

Covers: scripts/benchmarks/http_turns.py, scripts/benchmarks/http_load.py
"""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.benchmarks import http_turns
from scripts.benchmarks.http_turns import Request, ask, request_file, send


class Counting(ThreadingHTTPServer):
    """Answers 200, or 404 to paths that begin with /no, and records the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, bytes]] = []


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counting

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, body))
        self.send_response(404 if self.path.startswith("/no") else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def counting() -> Iterator[Counting]:
    with Counting() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["wrk", "Python"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Python":
        monkeypatch.setattr(http_turns, "wrk", lambda: None)
    elif http_turns.wrk() is None:
        pytest.skip("there is no wrk")
    return request.param


def test_every_command_is_sent_once(counting: Counting) -> None:
    requests = [Request("POST", f"/{n}", 200, body=b"%d" % n) for n in range(200)]
    with request_file(requests) as file:
        found = send(counting.server_port, file, 7)
    assert found["requests"] == 200
    assert sorted(counting.asked) == sorted((one.path, one.body) for one in requests)


def test_a_refused_command_ends_the_measurement(counting: Counting) -> None:
    with (
        request_file([Request("POST", "/no", 201)]) as file,
        pytest.raises(RuntimeError, match=r"201 was expected: HTTP/1.1 404"),
    ):
        send(counting.server_port, file, 1)


def test_commands_keep_to_a_rate(counting: Counting) -> None:
    with request_file([Request("GET", "/", 200)] * 50) as file:
        begun = time.monotonic()
        found = send(counting.server_port, file, 4, rate=100)
    assert time.monotonic() - begun >= 0.49
    assert found["rate"] <= 105


def test_lookups_repeat_from_a_random_start(client: str, counting: Counting) -> None:
    requests = [Request("GET", f"/{n}", 200) for n in range(8)]
    requests += [Request("GET", f"/no{n}", 404) for n in range(2)]
    with request_file(requests) as file:
        found = ask(counting.server_port, file, 2, seconds=1)
    assert {path for path, _ in counting.asked} == {one.path for one in requests}
    assert 10 < found["requests"] <= len(counting.asked)
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["client_us"] > 0


def test_lookups_keep_to_a_rate(client: str, counting: Counting) -> None:
    with request_file([Request("GET", "/", 200)]) as file:
        found = ask(counting.server_port, file, 2, seconds=1, rate=50)
    assert found["requests"] <= 55


def test_a_lookup_with_an_unexpected_status_is_detected(client: str, counting: Counting) -> None:
    with (
        request_file([Request("GET", "/no", 200)]) as file,
        pytest.raises(RuntimeError, match=r"another status|200 was expected"),
    ):
        ask(counting.server_port, file, 2, seconds=1)

"""An HTTP client for requests that differ: each connection waits for its answer.

Sockets, epoll and prepared bytes in one thread, because it shares the cores with the service:
`client_us` reports its CPU time per request. The order names a file of requests (see
http_turns.py), how many connections, and a rate a second at most (0: as fast as they are answered).
With `seconds` it repeats the file from `begin` on for that time, else it sends it once. With
`answers` it writes a line to that file for every answer to a command: its time by the monotonic
clock, and the last position that it names.
"""

import gc
import json
import re
import select
import socket
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from scripts.benchmarks.latency import sample_of

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_POSITION = re.compile(rb'"last_position": *([0-9]+)')
_BYTES = 1 << 16


def requests_of(file: Path) -> list[tuple[bytes, int]]:
    """The requests of a file, each with the status its answer should have."""
    found, data, at = [], file.read_bytes(), 0
    while at < len(data):
        end = data.index(b"\n", at)
        length, expected = map(int, data[at:end].split())
        found.append((data[end + 1 : end + 1 + length], expected))
        at = end + 1 + length
    return found


def schedule(order: dict[str, Any], begun: float) -> Iterator[tuple[float, bytes, int]]:
    """Yields (due time, request, expected status)."""
    requests = requests_of(Path(order["file"]))
    rate, seconds = order["rate"], order["seconds"]
    for n in range(len(requests)) if seconds is None else count():
        if seconds is not None and time.perf_counter() - begun >= seconds:
            return
        request, expected = requests[(order["begin"] + n) % len(requests)]
        yield begun + n / rate if rate else 0.0, request, expected


def is_whole(answer: bytes) -> bool:
    """Whether an answer is complete."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = _LENGTH.search(answer, 0, head)
    return len(answer) >= head + 4 + (int(length[1]) if length else 0)


def answer_line(answered: tuple[float, bytes]) -> str:
    """The line of an answer. Raises: SystemExit for one that names no position."""
    at, answer = answered
    position = _POSITION.search(answer)
    if position is None:
        raise SystemExit(f"no position in {answer[:600].decode()}")
    return f"{at!r} {int(position[1])}\n"


class Load:
    """Sends the requests of an order and collects latencies."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(order["connections"]):
            made = socket.create_connection(("127.0.0.1", order["port"]))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(made, select.EPOLLIN)
            self._sockets[made.fileno()] = made
        self._idle = list(self._sockets)
        self._waiting: dict[int, tuple[float, int]] = {}
        self._parts: dict[int, bytes] = {}
        self._latencies: list[float] = []
        self._answers: list[tuple[float, bytes]] = []

    def run(self) -> dict[str, float]:
        """Send everything, wait for the last answer. Raises: SystemExit for an unexpected one."""
        cpu, begun = time.process_time(), time.perf_counter()
        requests = schedule(self._order, begun)
        upcoming = next(requests, None)
        while self._waiting or upcoming is not None:
            now = time.perf_counter()
            while self._idle and upcoming is not None and upcoming[0] <= now:
                self._send(upcoming, now)
                upcoming = next(requests, None)
            pause = max(0.0, upcoming[0] - now) if self._idle and upcoming is not None else -1
            for handle, _ in self._poll.poll(pause):
                self._receive(handle)
        took, used = time.perf_counter() - begun, time.process_time() - cpu
        if self._order.get("answers"):
            lines = "".join(map(answer_line, self._answers))
            Path(self._order["answers"]).write_text(lines, encoding="ascii")
        number = len(self._latencies)
        found = sample_of(self._latencies, took) | {"requests": number}
        return found | {"client_us": used / number * 1e6}

    def _send(self, scheduled: tuple[float, bytes, int], now: float) -> None:
        due, request, expected = scheduled
        handle = self._idle.pop()
        # A request that was due before a connection was free has waited since then.
        self._waiting[handle] = due or now, expected
        self._sockets[handle].sendall(request)

    def _receive(self, handle: int) -> None:
        answer = self._sockets[handle].recv(_BYTES)
        if not answer:
            raise SystemExit("the service closed a connection")
        if handle in self._parts:
            answer = self._parts.pop(handle) + answer
        if not is_whole(answer):
            self._parts[handle] = answer
            return
        since, expected = self._waiting.pop(handle)
        now = time.perf_counter()
        self._latencies.append(now - since)
        if self._order.get("answers"):
            self._answers.append((now, answer))
        if int(answer[9:12]) != expected:
            raise SystemExit(f"{expected} was expected: {answer[:600].decode()}")
        self._idle.append(handle)


if __name__ == "__main__":
    gc.disable()  # nothing here is in a cycle
    print(json.dumps(Load(json.loads(sys.argv[1])).run()))

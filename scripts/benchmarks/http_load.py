"""A client of our own for requests that differ: each connection waits for its answer.

Sockets, epoll and prepared bytes in one thread, because it runs on the cores of the service: what
it takes of them is told as `client_us`, CPU a request. The order names a file of requests (see
http_turns.py), how many connections, and a rate a second at most (0: as fast as they are answered).
With `seconds` the file is sent over and over from `begin` on for so long, else once. With
`answers` a line is written to that file for every answer to a command: when it came, by the
machine's monotonic clock, and the last position that it names.
"""

import gc
import json
import re
import select
import socket
import sys
import time
from collections import Counter
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
    """(when it is due, request, expected status), until there are no more."""
    requests = requests_of(Path(order["file"]))
    rate, seconds = order["rate"], order["seconds"]
    for n in range(len(requests)) if seconds is None else count():
        if seconds is not None and time.perf_counter() - begun >= seconds:
            return
        request, expected = requests[(order["begin"] + n) % len(requests)]
        yield begun + n / rate if rate else 0.0, request, expected


def is_whole(answer: bytes) -> bool:
    """Whether all of an answer has arrived."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = _LENGTH.search(answer, 0, head)
    return len(answer) >= head + 4 + (int(length[1]) if length else 0)


def told(answered: tuple[float, bytes]) -> str:
    """The line of an answer. Raises: SystemExit for one that names no position."""
    at, answer = answered
    position = _POSITION.search(answer)
    if position is None:
        raise SystemExit(f"no position in {answer[:600].decode()}")
    return f"{at!r} {int(position[1])}\n"


def run(order: dict[str, Any]) -> dict[str, float]:
    """Send everything and wait for the last answer. Raises: SystemExit for an unexpected one."""
    clock, poll, opened = time.perf_counter, select.epoll(), {}
    for _ in range(order["connections"]):
        made = socket.create_connection(("127.0.0.1", order["port"]))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(made, select.EPOLLIN)
        opened[made.fileno()] = made
    wanted: Counter[int] = Counter()
    idle, waiting, parts = list(opened), {}, {}
    latencies: list[float] = []
    answers: list[tuple[float, bytes]] = []
    cpu = time.process_time()
    todo = schedule(order, begun := clock())
    upcoming = next(todo, None)
    while waiting or upcoming is not None:
        now = clock()
        while idle and upcoming is not None and upcoming[0] <= now:
            due, request, expected = upcoming
            handle = idle.pop()
            # One that was due before a connection was free has waited since then.
            waiting[handle] = due or now, expected
            opened[handle].sendall(request)
            upcoming = next(todo, None)
        pause = max(0.0, upcoming[0] - now) if idle and upcoming is not None else -1
        for handle, _ in poll.poll(pause):
            answer = opened[handle].recv(_BYTES)
            if not answer:
                raise SystemExit("the service closed a connection")
            if handle in parts:
                answer = parts.pop(handle) + answer
            if not is_whole(answer):
                parts[handle] = answer
                continue
            since, expected = waiting.pop(handle)
            latencies.append((now := clock()) - since)
            if order.get("answers"):
                answers.append((now, answer))
            if int(answer[9:12]) != expected:
                raise SystemExit(f"{expected} was expected: {answer[:600].decode()}")
            wanted[expected] += 1
            idle.append(handle)
    took, used = clock() - begun, time.process_time() - cpu
    if order.get("answers"):
        Path(order["answers"]).write_text("".join(map(told, answers)), encoding="ascii")
    found = sample_of(latencies, took) | {"requests": len(latencies)}
    return found | {"client_us": used / len(latencies) * 1e6}


if __name__ == "__main__":
    gc.disable()  # nothing here is in a cycle
    print(json.dumps(run(json.loads(sys.argv[1]))))

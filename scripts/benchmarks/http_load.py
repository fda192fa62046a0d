"""An HTTP client that costs little: so many connections, each waits for its answer.

Started as a process: the order names a file of requests (one JSON array a line: method, path,
headers, body), how many connections, whether to send them once or over and over for so long, and
how many a second at most (0: as fast as they are answered).
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from scripts.benchmarks.latency import sample_of


def encoded(port: int, method: str, path: str, headers: dict[str, str], body: str) -> bytes:
    """A request as it travels."""
    data = body.encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if data or method == "POST":
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = 0
        for line in self._received[:head].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(self._received) < head + 4 + length:
            return
        now = time.perf_counter()
        self._load.latencies.append(now - self._sent_at)
        status = int(self._received[9:12])
        if not self._load.statuses[status]:
            self._load.examples[status] = self._received[head + 4 :][:300].decode()
        self._load.statuses[status] += 1
        self._received = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.leave()

    def _send(self) -> None:
        request, wait = self._load.next()
        if request is None:
            self._transport.close()
        elif wait > 0:
            asyncio.get_running_loop().call_later(wait, self._write, request, wait)
        else:
            self._write(request, 0.0)

    def _write(self, request: bytes, _waited: float) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(request)


class Load:
    """What is left to send, and what was seen."""

    def __init__(self, order: dict[str, Any], requests: list[bytes]) -> None:
        self._requests = requests
        self._once = order["seconds"] is None
        self._rate = order.get("rate", 0)
        self._sent = 0
        self._begun = time.perf_counter()
        self._end = self._begun + (order["seconds"] or 0)
        self._open = order["connections"]
        self.done = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.examples: dict[int, str] = {}

    def next(self) -> tuple[bytes | None, float]:
        """The next request, and how long to wait before it is sent."""
        now = time.perf_counter()
        if self._sent >= len(self._requests) if self._once else now >= self._end:
            return None, 0.0
        request = self._requests[self._sent % len(self._requests)]
        due = self._begun + self._sent / self._rate if self._rate else now
        self._sent += 1
        return request, due - now

    def leave(self) -> None:
        self._open -= 1
        if not self._open and not self.done.done():
            self.done.set_result(None)


async def run(order: dict[str, Any]) -> dict[str, Any]:
    """Send everything and wait for the last answer."""
    port = order["port"]
    with open(order["file"], encoding="utf-8") as lines:
        requests = [encoded(port, *json.loads(line)) for line in lines]
    load = Load(order, requests)
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    for _ in range(order["connections"]):
        await loop.create_connection(lambda: Connection(load), "127.0.0.1", port)
    await load.done
    found = sample_of(load.latencies, time.perf_counter() - begun)
    for status, number in load.statuses.items():
        if status not in order["expected"]:
            raise SystemExit(f"{number} answers with status {status}: {load.examples[status]}")
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.loads(sys.argv[1])))))

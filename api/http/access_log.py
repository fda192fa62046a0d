"""Request lines that never hold the event loop up: collected in memory, written by a thread.

Whoever reads our output may be slow, and every write gives up the interpreter lock. Only lines of
requests wait here; warnings and faults are written at once. A kill loses a quarter of a second of
them, a stop none. Reading order: `tell_request`, LaterHandler.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TextIO

import orjson

WRITE_EVERY_S = 0.25
LINES_MAX = 20_000
"""Lines that wait at most; what comes on top is counted and left out."""

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

log = logging.getLogger("certledger.requests")


def tell_request(
    trace_id: str, method: str, route: str, status: int, seconds: float, role: str | None
) -> None:
    """One line: what kind of request, by which role, how it ended, how long it took.

    route: the pattern, never the address: addresses hold ids, tokens and queries.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    line = orjson.dumps(
        {
            "trace_id": trace_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "role": role,
        }
    ).decode()
    handlers = log.handlers
    if len(handlers) == 1 and type(handlers[0]) is BufferedHandler and not log.propagate:
        handlers[0].tell(line)  # a record costs more than a whole lookup may
    else:
        log.info(line)


class BufferedHandler(logging.Handler):
    """Writes what it is told a little later, many lines at once."""

    def __init__(self, stream: TextIO) -> None:
        """Start the writing thread; `close` ends it."""
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()  # taking one out loses none that comes in meanwhile
        self._left_out = 0
        self._second = 0
        self._stamp = ""
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="request log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; never blocks, never raises."""
        self._take(self.format(record))

    def tell(self, message: str) -> None:
        """Take a message as FORMAT would print it; from one thread only."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second
        millisecond = int((now - second) * 1000)
        self._take(f"{self._stamp},{millisecond:03d} INFO {log.name} {message}")

    def _take(self, line: str) -> None:
        if len(self._lines) < LINES_MAX:
            self._lines.append(line)
        else:
            self._left_out += 1

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            left_out, self._left_out = self._left_out, 0
            if left_out:
                lines.append(f"{left_out} request lines were left out")
            if not lines:
                return
            try:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads any more
                return

    def close(self) -> None:
        """Write what waits, for the last time."""
        self._stopped.set()
        self._thread.join(5)
        self.flush()
        super().close()

    def _work(self) -> None:
        while not self._stopped.wait(WRITE_EVERY_S):
            self.flush()

"""The access log: one line a request, buffered in memory and written by a thread.

Writing from the event loop would block it while the reader of the log is slow, and every write
releases the interpreter lock. Only access lines are buffered; warnings and errors are written at
once. A killed process loses the lines of the last quarter of a second, a stopped one none.
Reading order: `log_request`, BufferedHandler.
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
"""Capacity of the buffer; further lines are dropped and counted."""

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

log = logging.getLogger("certledger.requests")


def log_request(
    trace_id: str, method: str, route: str, status: int, seconds: float, role: str | None
) -> None:
    """Log one request. seconds: how long it took. role: None for a public route.

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
        handlers[0].write_line(line)  # a LogRecord would cost more than answering a lookup
    else:
        log.info(line)


class BufferedHandler(logging.Handler):
    """Buffers up to `lines_max` lines and writes them every `write_every_s` seconds."""

    def __init__(
        self,
        stream: TextIO,
        *,
        lines_max: int = LINES_MAX,
        write_every_s: float = WRITE_EVERY_S,
    ) -> None:
        """Start the writer thread; `close` stops it."""
        super().__init__()
        self._stream = stream
        self._lines_max = lines_max
        self._write_every_s = write_every_s
        self._lines: deque[str] = deque()  # popleft is atomic: no concurrent append is lost
        self._dropped = 0
        self._second = 0
        self._stamp = ""
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="request log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Buffer a record; never blocks, never raises."""
        self._buffer(self.format(record))

    def write_line(self, message: str) -> None:
        """Buffer a message in the form of FORMAT; from one thread only."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second
        millisecond = int((now - second) * 1000)
        self._buffer(f"{self._stamp},{millisecond:03d} INFO {log.name} {message}")

    def _buffer(self, line: str) -> None:
        if len(self._lines) < self._lines_max:
            self._lines.append(line)
        else:
            self._dropped += 1

    def flush(self) -> None:
        """Write the buffered lines."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(f"{dropped} request lines dropped: the log buffer was full")
            if not lines:
                return
            try:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # the reader of the log has closed it
                return

    def close(self) -> None:
        """Stop the writer thread and write the remaining lines."""
        self._stopped.set()
        self._thread.join(5)
        self.flush()
        super().close()

    def _work(self) -> None:
        while not self._stopped.wait(self._write_every_s):
            self.flush()

"""Request lines that never hold the event loop up: collected in memory, written by a thread.

Whoever reads our output may be slow, and every write gives up the interpreter lock. Only lines of
requests wait here; warnings and faults are written at once. A kill loses a quarter of a second of
them, a stop none.
"""

from __future__ import annotations

import logging
import threading
from typing import TextIO

WRITE_EVERY_S = 0.25
LINES_MAX = 20_000
"""Lines that wait at most; what comes on top is counted and left out."""


class LaterHandler(logging.Handler):
    """Writes its records a little later, many at once."""

    def __init__(self, stream: TextIO) -> None:
        """Start the writing thread; `close` ends it."""
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._left_out = 0
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="request log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; never blocks, never raises."""
        if len(self._lines) < LINES_MAX:
            self._lines.append(self.format(record))
        else:
            self._left_out += 1

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            lines, self._lines = self._lines, []
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

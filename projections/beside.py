"""The runner in a process of its own beside the service, and what sees to it that there is one.

In the service's process it would wait for the interpreter lock after each statement of a batch, and
whoever answers requests would wait for it in turn: both take longer than folding does.
Reading order: Beside, `keep` (what runs in the process).
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

from domain.store.child import Child
from projections.runner import Runner, Secrets

STOP_SECONDS = 20.0
"""How long the batch under way may take once the process is to stop."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_WELL_SECONDS = 10.0  # whoever lived so long did not die of how it was started

log = logging.getLogger(__name__)


class Beside:
    """Keeps a process with a runner alive until it is stopped."""

    def __init__(self, dsn: str, secrets: Secrets, log_format: str) -> None:
        """Nothing is started yet. log_format: of the lines the process writes to stderr."""
        self._arguments = (dsn, secrets, log_format)
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="view process", daemon=True)

    def start(self) -> None:
        """Start it, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End it after the batch under way."""
        with self._lock:
            self._stopped.set()
            child = self._child
            if child is not None:
                child.connection.close()
        self._thread.join(STOP_SECONDS)
        if child is not None and self._thread.is_alive():
            log.error("the process that keeps the views up to date does not end: it is killed")
            child.process.kill()
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        child = self._child
        return None if child is None or child.process.poll() is not None else child.process.pid

    def _work(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                ended = self._watch()
            except OSError as error:
                ended = str(error)
            if self._stopped.is_set():
                return
            if time.monotonic() - begun > _WELL_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            log.error("the process that keeps the views up to date ended (%s): another one", ended)
            self._stopped.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _watch(self) -> str:
        """Start a process and wait for its end. Returns: how it ended. Raises: OSError."""
        with self._lock:
            if self._stopped.is_set():
                return ""
            child = self._child = Child(keep, *self._arguments)
        code = child.process.wait()
        with self._lock:
            child.connection.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def keep(connection: Connection, dsn: str, secrets: Secrets, log_format: str) -> None:
    """Run a runner until the caller is gone or a signal says stop. Raises: psycopg2.Error."""
    logging.basicConfig(stream=sys.stderr, format=log_format, level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Runner(dsn, secrets):
        connection.poll(None)  # nothing is ever sent: it ends

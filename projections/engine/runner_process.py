"""The runner in a process of its own beside the service, and what sees to it that there is one.

In the service's process it would wait for the interpreter lock after each statement of a batch, and
whoever answers requests would wait for it in turn: both take longer than folding does.
Reading order: Beside, `keep` (what runs in the process).
"""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial
from multiprocessing.connection import Connection

from domain.store.processes.child import Child, Kept
from projections.engine.runner import Runner, Secrets

STOP_SECONDS = 20.0
"""How long the batch under way may take once the process is to stop."""


class Beside(Kept):
    """Keeps a process with a runner alive until it is stopped."""

    def __init__(self, dsn: str, secrets: Secrets, log_format: str) -> None:
        """Nothing is started yet. log_format: of the lines the process writes to stderr."""
        super().__init__(
            "the process that keeps the views up to date",
            partial(Child, keep, dsn, secrets, log_format),
            stop_seconds=STOP_SECONDS,
        )


def keep(connection: Connection, dsn: str, secrets: Secrets, log_format: str) -> None:
    """Run a runner until the caller is gone or a signal says stop. Raises: psycopg2.Error."""
    logging.basicConfig(stream=sys.stderr, format=log_format, level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Runner(dsn, secrets):
        connection.poll(None)  # nothing is ever sent: it ends

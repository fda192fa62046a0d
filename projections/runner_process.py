"""Runs the projection runner of all views in a supervised child process.

In the service's process it would wait for the interpreter lock after each statement of a batch, and
request handlers would wait for it in turn: both waits take longer than folding does.
Reading order: new_runner, RunnerProcess, `run` (what runs in the child).
"""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial
from multiprocessing.connection import Connection

from domain.store.processes.child import Child, Supervisor
from projections.catalogue import VIEWS
from projections.engine.runner import Runner
from projections.engine.vaults import VaultSecrets
from projections.rebuild.rebuild import replace

STOP_SECONDS = 20.0
"""How long the current batch may take after a stop was requested."""


def new_runner(dsn: str, secrets: VaultSecrets) -> Runner:
    """A runner of every view; it rebuilds outdated views in its own process."""
    rebuild = partial(replace, processes=1, wait=True, only_outdated=True)
    return Runner(dsn, secrets, VIEWS, rebuild)


class RunnerProcess(Supervisor):
    """Supervises the child process that runs the projection runner."""

    def __init__(self, dsn: str, secrets: VaultSecrets, log_format: str) -> None:
        """Starts nothing yet. log_format: of the lines the process writes to stderr."""
        super().__init__(
            "projection runner process",
            partial(Child, run, dsn, secrets, log_format),
            stop_seconds=STOP_SECONDS,
        )


def run(connection: Connection, dsn: str, secrets: VaultSecrets, log_format: str) -> None:
    """Run until the parent exits or a signal arrives. Raises: psycopg2.Error."""
    logging.basicConfig(stream=sys.stderr, format=log_format, level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with new_runner(dsn, secrets):
        connection.poll(None)  # the parent never sends: this returns when it exits

"""Child processes that share the work of a rebuild, each with a database connection of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from domain.store.postgres.connection import Connection, close_quietly, connect
from domain.store.processes.pool import WorkerError, WorkerPool
from projections.engine.view import ViewError

_SETTINGS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_connection_check_interval": "1s",  # stop building an index when the process has gone
    "synchronous_commit": "off",  # the commit of the swap waits for the disk, once for all
    "maintenance_work_mem": "256MB",  # sort indexes over millions of rows in memory
    "work_mem": "64MB",  # and two tables that are compared
    "default_statistics_target": "30",  # coarse statistics take a third of the time
    "enable_bitmapscan": "off",  # read a page of events in key order instead of sorting it
    "max_parallel_maintenance_workers": "0",  # there is a process for each core already
}

Task = TypeVar("Task")
Result = TypeVar("Result")

Work = Callable[[Connection, Task], Result]
"""A module-level function that does a task on a connection."""

Run = Callable[[Callable[[Connection, Any], Any], Sequence[Any]], Iterable[Any]]
"""(work, tasks) -> results as they are ready."""


class WorkerFailed(ViewError):
    """A process of a rebuild was killed, or failed with an error that cannot be passed on."""


@contextmanager
def rebuild_connection(dsn: str) -> Iterator[Connection]:
    """A connection for long statements."""
    connection = _connect(dsn)
    try:
        yield connection
    finally:
        close_quietly(connection)


@contextmanager
def workers(dsn: str, processes: int) -> Iterator[Run]:
    """Run work in so many child processes; with one, in this process.

    The processes are killed when the block ends, whatever they are doing. Raises, from the results:
    WorkerFailed, and what the work raised.
    """
    if processes <= 1:
        with rebuild_connection(dsn) as connection:
            yield lambda work, tasks: (work(connection, task) for task in tasks)
        return
    with WorkerPool(partial(_worker, dsn), processes) as pool:

        def run(work: Work[Any, Any], tasks: Sequence[Any]) -> Iterator[Any]:
            return _translated(pool.map_unordered([(work, task) for task in tasks]))

        yield run


def _translated(results: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from results
    except WorkerError as error:
        raise WorkerFailed(str(error)) from error


def _worker(dsn: str) -> Callable[[tuple[Work[Any, Any], Any]], Any]:
    """What a child process calls once; returns what runs a piece of work there."""
    gc.disable()
    connection = _connect(dsn)

    def run(piece: tuple[Work[Any, Any], Any]) -> Any:
        work, task = piece
        return work(connection, task)

    return run


def _connect(dsn: str) -> Connection:
    return connect(dsn, name="certledger rebuild", settings=_SETTINGS)

"""Processes that share out the work of a rebuild, each with a connection of its own.

Programs of their own, not forks: a forked child would share sockets and locks with a running
service. Not `multiprocessing` either: that imports the caller's main module once more in each
process, waits for ever for one that was killed, and leaves them behind when the caller is.
Here what a process is told comes on its standard input, and it ends with that.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, BinaryIO

from domain.store.postgres.connection import close_quietly, connect
from domain.store.processes.child import environment
from projections.engine.view import ViewError

_SETTINGS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_connection_check_interval": "1s",  # who died needs no index any more
    "synchronous_commit": "off",  # the swap's own commit waits for the disk, once for all
    "maintenance_work_mem": "256MB",  # indexes over millions of rows are sorted in memory
    "work_mem": "64MB",  # and so are two tables that are compared
    "default_statistics_target": "30",  # a rough picture takes a third of the time
    "enable_bitmapscan": "off",  # a page of events is read in order of its key, not sorted after
    "max_parallel_maintenance_workers": "0",  # there is a process for each core already
}

_PROGRAM = """import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from projections.rebuild.worker_pool import serve
serve()"""

Work = Callable[[Any, Any], Any]
"""What is done with a connection and a task; a function of a module."""

Run = Callable[[Work, Sequence[Any]], Iterable[Any]]
"""Does a piece of work with each of many tasks; results as they come."""


class WorkerDied(ViewError):
    """A process that was making views anew was killed."""


@contextmanager
def opened(dsn: str) -> Iterator[Any]:
    """A connection for work that takes its time."""
    connection = connect(dsn, name="certledger rebuild", settings=_SETTINGS)
    try:
        yield connection
    finally:
        close_quietly(connection)


@contextmanager
def workers(dsn: str, processes: int) -> Iterator[Run]:
    """So many processes that share out work; with one, it is done here.

    What they are doing when the block ends with an error is broken off.
    """
    if processes <= 1:
        with opened(dsn) as connection:
            yield lambda work, tasks: (work(connection, task) for task in tasks)
        return
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    started = [_Worker(dsn) for _ in range(processes)]
    for worker in started:
        idle.put(worker)

    def do(work: Work, task: Any) -> Any:
        worker = idle.get()
        try:
            return worker.do(work, task)
        finally:
            idle.put(worker)

    def run(work: Work, tasks: Sequence[Any]) -> Iterator[Any]:
        futures = [threads.submit(do, work, task) for task in tasks]
        return (done.result() for done in as_completed(futures))

    threads = ThreadPoolExecutor(processes, "rebuild")
    try:
        yield run
    finally:
        for worker in started:
            worker.end()
        threads.shutdown(cancel_futures=True)


class _Worker:
    """A process, as the one who started it sees it."""

    def __init__(self, dsn: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        self._tell(sys.path)
        self._tell(dsn)

    def do(self, work: Work, task: Any) -> Any:
        """Raises: WorkerDied, and what the work raised."""
        assert self._process.stdout is not None
        try:
            self._tell((work, task))
            done, error = pickle.load(self._process.stdout)
        except (EOFError, OSError) as died:
            raise WorkerDied(f"process {self._process.pid} has ended") from died
        if error is not None:
            raise error
        return done

    def end(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self._process.communicate()

    def _tell(self, value: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(value, self._process.stdin)
        self._process.stdin.flush()


def serve() -> None:
    """The life of such a process: told an address, then piece after piece of work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it says when to end
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    gc.disable()
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(sys.stdin.buffer, told), daemon=True).start()
    with opened(told.get()) as connection:
        while True:
            work, task = told.get()
            try:
                answer = pickle.dumps((work(connection, task), None))
            except Exception as error:
                answer = pickle.dumps((None, _portable(error)))
            answers.write(answer)
            answers.flush()


def _portable(error: Exception) -> Exception:
    """The error with where it happened; as text, if it can't be made again elsewhere."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return ViewError(f"{type(error).__name__}: {error}")
    return error


def _hear(source: BinaryIO, told: queue.SimpleQueue[Any]) -> None:
    """Ends the process when the one who started it is gone, even in the middle of something."""
    while True:
        try:
            told.put(pickle.load(source))
        except EOFError:
            os._exit(0)

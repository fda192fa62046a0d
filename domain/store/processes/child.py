"""Another process of this program that imports what it works with, and nothing else.

multiprocessing either forks, and shares the caller's sockets and locks, or spawns, and then every
process imports the caller's whole main program, which takes longer than most work here. This is a
bare interpreter that runs one function. A connection leads to it: when the caller is gone, however
that came, the connection ends, so that no process is ever left behind.
Reading order: Child, `begin` (what runs in the process), Kept.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

_PROGRAM = """import sys
descriptor, *sys.path[:] = sys.argv[1:]
from domain.store.processes.child import begin
begin(int(descriptor))"""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_WELL_SECONDS = 10.0  # whoever lived so long did not die of how it was started

_SECRETS = "CERTLEDGER_"

log = logging.getLogger(__name__)


def environment() -> dict[str, str]:
    """The caller's environment without its settings, among which are keys and passwords.

    What a process of ours has to know of them is handed over to it.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}


class Child:
    """A process that runs a function, which is given the other end of `connection` first."""

    def __init__(
        self, function: Callable[..., None], *arguments: Any, files: Sequence[int] = ()
    ) -> None:
        """function: of a module that can be imported; arguments: what can be pickled.

        files: descriptors that are open there too, under the same numbers.
        What was handed over stands in no command line and no environment.
        Raises: OSError if no process can be started.
        """
        ours, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *files],
                env=environment(),
                # An interrupt is the caller's, who ends us. Not a session of its own: Linux shares
                # cores out by session, and a process alone in one waits longest for its turn.
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.connection = Connection(ours.detach())
        self.send((function, arguments))

    def send(self, what: Any) -> None:
        """Hand something over; if the process is no more, that shows in its answer."""
        with suppress(BrokenPipeError):
            self.connection.send(what)

    def end(self) -> None:
        """Stop it, whatever it is doing."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def begin(descriptor: int) -> None:
    """What runs in the process. An error that nobody foresaw ends it, in one line."""
    connection = Connection(descriptor)
    try:
        function, arguments = connection.recv()
        function(connection, *arguments)
    except (EOFError, ConnectionError):
        pass  # the caller is gone
    except Exception as error:
        sys.exit(f"certledger: a process beside the program failed: {error!r}")


class Supervisor:
    """Keeps one process after the other alive, until it is stopped."""

    def __init__(self, what: str, start: Callable[[], Child], *, stop_seconds: float) -> None:
        """Nothing is started yet.

        what: the process in words, for the log. start: starts one, on a thread of ours.
        stop_seconds: how long it may take to end once its connection has ended.
        """
        self._what = what
        self._start = start
        self._stop_seconds = stop_seconds
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="process watch", daemon=True)

    def start(self) -> None:
        """Start it, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Tell it to end, by the end of its connection, and wait until it has."""
        with self._lock:
            self._stopped.set()
            child = self._child
            if child is not None:
                child.connection.close()
        self._thread.join(self._stop_seconds)
        if child is not None and self._thread.is_alive():
            log.error("%s does not end: it is killed", self._what)
            child.process.kill()
            self._thread.join()

    def kill(self) -> None:
        """End the process there is, which does not answer; another one follows."""
        log.error("%s hangs: it is killed", self._what)
        with self._lock:
            if self._child is not None:
                self._child.process.kill()

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
            log.error("%s ended (%s): another one", self._what, ended)
            self._stopped.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _watch(self) -> str:
        """Start a process and wait for its end. Returns: how it ended. Raises: OSError."""
        with self._lock:
            if self._stopped.is_set():
                return ""
            child = self._child = self._start()
        code = child.process.wait()
        with self._lock:
            child.connection.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

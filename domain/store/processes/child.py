"""Runs a function in a child process: a new interpreter that imports only what the function needs.

multiprocessing would either fork, and share the parent's sockets and locks, or spawn, and import
the parent's whole main program, which takes longer than most tasks here. A socket connects parent
and child. It closes when the parent exits, however it exits, so that no child is left behind.
Reading order: Child, `run` (what the child executes), Supervisor.
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
from domain.store.processes.child import run
run(int(descriptor))"""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_STABLE_SECONDS = 10.0  # a process that ran this long did not fail at start-up: reset the back-off

_SECRETS = "CERTLEDGER_"

log = logging.getLogger(__name__)


def environment() -> dict[str, str]:
    """The parent's environment without its settings, which include keys and passwords.

    A child gets the settings it needs as arguments.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}


class Child:
    """A process that calls a function with the other end of `connection` as first argument."""

    def __init__(
        self, function: Callable[..., None], *arguments: Any, files: Sequence[int] = ()
    ) -> None:
        """function: of an importable module; arguments: anything that can be pickled.

        files: descriptors that the child inherits under the same numbers.
        Arguments travel over the connection, never in a command line or environment variable.
        Raises: OSError if no process can be started.
        """
        ours, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *files],
                env=environment(),
                # Ctrl-C reaches the parent only, which then ends the child. No session of its own:
                # Linux schedules cores by session, and a process alone in one waits longest.
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        self.send((function, arguments))

    def send(self, value: Any) -> None:
        """Send a value; if the process has exited, the next receive finds out."""
        with suppress(BrokenPipeError):
            self.connection.send(value)

    def kill(self) -> None:
        """Kill the process, whatever it is doing, and wait for its exit."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def run(descriptor: int) -> None:
    """Receive a function over the connection and call it; an unexpected error exits in one line."""
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        function, arguments = connection.recv()
        function(connection, *arguments)
    except (EOFError, ConnectionError):
        pass  # the parent has exited
    except Exception as error:
        sys.exit(f"certledger: a child process failed: {error!r}")


class Supervisor:
    """Keeps one child process running and restarts it with a back-off, until stopped."""

    def __init__(self, what: str, start: Callable[[], Child], *, stop_seconds: float) -> None:
        """Starts nothing yet.

        what: the process in words, for the log. start: starts one; called in a background thread.
        stop_seconds: how long the process may take to exit once its connection is closed.
        """
        self._what = what
        self._start = start
        self._stop_seconds = stop_seconds
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the process, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the process to exit by closing its connection; kill it if it takes too long."""
        with self._lock:
            self._stopped.set()
            child = self._child
            if child is not None:
                child.connection.close()
        self._thread.join(self._stop_seconds)
        if child is not None and self._thread.is_alive():
            log.error("%s did not stop in time, killing it", self._what)
            child.process.kill()
            self._thread.join()

    def kill(self) -> None:
        """Kill a process that no longer responds; the supervisor then starts another."""
        log.error("%s does not respond, killing it", self._what)
        with self._lock:
            if self._child is not None:
                self._child.process.kill()

    @property
    def pid(self) -> int | None:
        """Process id; None while none is running."""
        child = self._child
        return None if child is None or child.process.poll() is not None else child.process.pid

    def _work(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            started = time.monotonic()
            try:
                ended = self._run_once()
            except OSError as error:
                ended = str(error)
            if self._stopped.is_set():
                return
            if time.monotonic() - started > _STABLE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            log.error("%s exited (%s), restarting in %.1f s", self._what, ended, pause)
            self._stopped.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _run_once(self) -> str:
        """Start a process and wait for its exit. Returns: how it ended. Raises: OSError."""
        with self._lock:
            if self._stopped.is_set():
                return ""
            child = self._child = self._start()
        code = child.process.wait()
        with self._lock:
            child.connection.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

"""The lookup workers of a service: processes that serve connections which carry only lookups.

The main process accepts every connection. It hands one over to a worker
(`api/server/lookup_worker.py`) after a number of lookups in a row, so that lookups do not compete
with commands for its event loop; the connection then stays there. The main process keeps as many
of these connections as each worker has.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from api.server.connection import HttpConnection
from api.server.lookup_worker import (
    CONNECTION,
    STATUS,
    WorkerConfig,
    ciphers_message,
    run_lookup_worker,
    wrong_message,
)
from domain.store.privacy.index_ciphers import GivenIndexCiphers
from domain.store.processes.child import Child, Supervisor
from projections.engine.wrong_views import WrongViews

STOP_SECONDS = 25.0
"""How long a worker may take to stop; it gives up earlier by itself."""
SILENT_CHECKS_MAX = 15
"""Checks in a row, one a second, without a report of the worker before it is killed. Counted in
checks and not in seconds, so that a main process that was suspended kills nobody."""


class LookupWorkerPool:
    """Starts, watches and stops the lookup workers. Used on the service's event loop.

    wanted: how many workers there should be.
    """

    def __init__(
        self,
        wanted: int,
        run: Callable[..., None] = run_lookup_worker,
        *,
        silent_checks_max: int = SILENT_CHECKS_MAX,
    ) -> None:
        """Start nothing yet. run: the function that each worker process calls."""
        self.wanted = wanted
        self._run = run
        self._silent_checks_max = silent_checks_max
        self._workers: list[_Worker] = []
        self._lookup_only_connections: set[HttpConnection] = set()  # of the main process

    def start(self, config: WorkerConfig, wrong: WrongViews, ciphers: GivenIndexCiphers) -> None:
        """Start the workers, in the background. wrong, ciphers: they learn of changes too."""
        inherited = () if config.limit_file is None else (config.limit_file,)

        def start_child(channel: int) -> Child:
            return Child(self._run, channel, config, files=[channel, *inherited])

        self._workers = [
            _Worker(start_child, self._silent_checks_max, wrong, ciphers)
            for _ in range(self.wanted)
        ]

    async def stop(self) -> None:
        """Let the workers finish their requests in progress, and stop them."""
        stopping = [worker.stop() for worker in self._workers]
        self._workers = []
        await asyncio.gather(*stopping)

    def check_liveness(self) -> None:
        """Kill workers that hang, so that their clients reconnect; called once a second.

        The others learn which views are wrong, and which epochs there are.
        """
        for worker in self._workers:
            worker.check_liveness()
            worker.share()

    @property
    def connections(self) -> int:
        """Client connections that the workers serve."""
        return sum(worker.connections for worker in self._workers)

    @property
    def ready(self) -> int:
        """Workers that take connections."""
        return sum(worker.is_ready for worker in self._workers)

    def try_hand_over(self, connection: HttpConnection) -> bool:
        """Pass a lookup-only connection to a worker, unless the main process has no more of them.

        The connection must be between two requests. Returns: whether a worker has it now; the
        caller then closes it here.
        """
        self._lookup_only_connections.add(connection)
        ready = [worker for worker in self._workers if worker.is_ready]
        idlest = min(ready, key=lambda worker: worker.connections, default=None)
        if idlest is None or idlest.connections >= len(self._lookup_only_connections):
            return False
        return idlest.send_socket(connection.transport.get_extra_info("socket").fileno())

    def discard(self, connection: HttpConnection) -> None:
        """Do not count a connection as lookup-only any more."""
        self._lookup_only_connections.discard(connection)


class _Worker:
    """One worker process, and its successor when it exits.

    connections: those it serves. is_ready: it takes more.
    """

    def __init__(
        self,
        start_child: Callable[[int], Child],
        silent_checks_max: int,
        wrong: WrongViews,
        ciphers: GivenIndexCiphers,
    ) -> None:
        """start_child: starts the process with the descriptor of its end of the channel."""
        self._wrong = wrong
        self._ciphers = ciphers
        self._shared: dict[bytes, bytes] = {}  # what the process knows, by kind of message
        self.connections = 0
        self.is_ready = False
        self._ended = 0  # connections, by its last report
        self._silent_checks = 0  # since its last report
        self._silent_checks_max = silent_checks_max
        self._start_child = start_child
        self._loop = asyncio.get_running_loop()
        self._channel: socket.socket | None = None
        self.supervisor = Supervisor("a lookup worker", self._start, stop_seconds=STOP_SECONDS)
        self.supervisor.start()

    def send_socket(self, descriptor: int) -> bool:
        """Send a connection. Returns: False if the channel is full or closed."""
        assert self._channel is not None
        try:
            socket.send_fds(self._channel, [CONNECTION], [descriptor])
        except OSError:
            return False
        self.connections += 1
        return True

    def check_liveness(self) -> None:
        """Kill the process if it is silent for too long; the supervisor starts another."""
        if self.is_ready:
            self._silent_checks += 1
            if self._silent_checks > self._silent_checks_max:
                self.is_ready = False
                self.supervisor.kill()

    def share(self) -> None:
        """Send what the process does not know yet; what cannot be sent goes with the next call."""
        for message in (wrong_message(self._wrong.all), ciphers_message(self._ciphers.keys)):
            kind = message[:1]
            if self._channel is None or message == self._shared.get(kind):
                continue
            with suppress(OSError):  # the channel is full or closed
                self._channel.send(message)
                self._shared[kind] = message

    async def stop(self) -> None:
        """Stop the process and wait for its exit."""
        self.is_ready = False
        await asyncio.to_thread(self.supervisor.stop)
        self._reset()

    def _start(self) -> Child:
        """Start a process; called on the supervisor's thread. Raises: OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                child = self._start_child(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._loop.call_soon_threadsafe(self._on_start, ours)
        return child

    def _on_start(self, channel: socket.socket) -> None:
        self._reset()
        channel.setblocking(False)
        self._channel = channel
        self.share()  # before the first connection
        self._loop.add_reader(channel.fileno(), self._receive_report)

    def _receive_report(self) -> None:
        assert self._channel is not None
        try:
            report = self._channel.recv(STATUS.size)
        except BlockingIOError:
            return
        except OSError:
            report = b""
        if not report:
            self._reset()
            return
        self._silent_checks = 0
        self.is_ready, ended = STATUS.unpack(report)
        self.connections -= ended - self._ended
        self._ended = ended

    def _reset(self) -> None:
        """Forget a process that has exited: its connections have ended with it."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._loop.remove_reader(channel.fileno())
            channel.close()
        self.connections = self._ended = self._silent_checks = 0
        self._shared = {}
        self.is_ready = False

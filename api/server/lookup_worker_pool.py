"""Connections that other processes serve: who asks nothing but lookups need not wait for our core.

Every connection is accepted here. One that has asked for lookups in a row goes to a lookup process
(`api/server/lookup_worker.py`), and comes back with the first request of another kind. Of those
that
ask for nothing else, each process serves as many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from api.server import socket_passing as channel
from api.server.lookup_worker import answer_lookups
from api.server.socket_passing import SocketChannel
from domain.store.processes.child import Child, Supervisor

STOP_SECONDS = 25.0
"""How long a process may take to stop; it gives up by itself before."""
SILENT_LOOKS_MAX = 15
"""So often a process may have said nothing between two looks, a second each, before it is ended.
Looks are counted, not seconds: if we stood still ourselves, nobody is to blame."""


class LookupWorkerPool:
    """The lookup processes of a service. Used from its event loop.

    regulars: connections served here that asked for nothing but lookups of late.
    """

    def __init__(self, processes: int, answer: Callable[..., None] = answer_lookups) -> None:
        """Nothing is started yet. answer: what runs in each of them."""
        self.regulars: set[Any] = set()
        self._answer = answer
        self._wanted = processes
        self._processes: list[_Process] = []

    def start(
        self, make: Callable[[bytes], Any], arguments: tuple[Any, ...], files: tuple[int, ...]
    ) -> None:
        """Start them, in the background.

        make: a protocol for a connection that comes back, of which these bytes were read.
        arguments: of `answer_lookups`. files: descriptors that are handed over too.
        """

        def begin(end: int) -> Child:
            return Child(self._answer, end, *arguments, files=[end, *files])

        self._processes = [_Process(make, begin) for _ in range(self._wanted)]

    async def stop(self) -> None:
        """Let them finish what they began, and end them; what they can't finish comes back."""
        ending = [process.stop() for process in self._processes]
        self._processes = []
        await asyncio.gather(*ending)

    def look(self) -> None:
        """End what hangs, so that its clients are not left waiting; to be called every second."""
        for process in self._processes:
            process.look()

    @property
    def connections(self) -> int:
        """How many they serve."""
        return sum(process.connections for process in self._processes)

    @property
    def alive(self) -> int:
        """How many of the processes are ready."""
        return sum(process.is_ready for process in self._processes)

    def take(self, connection: Any) -> bool:
        """Hand a connection over that waits for its next request, if its share is not ours.

        Returns: whether it was handed over; whoever asks then closes it.
        """
        self.regulars.add(connection)
        ready = [process for process in self._processes if process.is_ready]
        idlest = min(ready, key=lambda process: process.connections, default=None)
        if idlest is None or idlest.connections >= len(self.regulars):
            return False
        return idlest.give(connection.transport.get_extra_info("socket").fileno())


class _Process:
    """One of them. connections: those it serves. is_ready: it takes more."""

    def __init__(self, make: Callable[[bytes], Any], begin: Callable[[int], Child]) -> None:
        """begin: starts it, with its end of the channel."""
        self.connections = 0
        self.is_ready = False
        self._silent = 0  # looks since it said anything
        self._make = make
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._channel: SocketChannel | None = None
        self._kept = Supervisor(
            "a process that answers lookups", self._start, stop_seconds=STOP_SECONDS
        )
        self._kept.start()

    def give(self, connection: int) -> bool:
        """Hand a connection over."""
        assert self._channel is not None
        given = not self._channel.is_busy and self._channel.give(connection, b"")
        self.connections += given
        return given

    def look(self) -> None:
        """Count its silence, and end it if it hangs; another one follows."""
        if self.is_ready:
            self._silent += 1
            if self._silent > SILENT_LOOKS_MAX:
                self.is_ready = False
                self._kept.kill()

    async def stop(self) -> None:
        """End it; what it hands back meanwhile is served as by a server that stops."""
        self.is_ready = False
        if self._channel is not None:
            self._channel.is_stopping = True
        await asyncio.to_thread(self._kept.stop)
        await self._end()

    def _start(self) -> Child:
        """Start a process; on another thread. Raises: OSError."""
        ours, theirs = channel.pair()
        with theirs:
            try:
                child = self._begin(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._loop.call_soon_threadsafe(self._begun, ours)
        return child

    def _begun(self, end: Any) -> None:
        if self._channel is not None:
            self._read_all(self._channel)
        self._channel = SocketChannel(end, self._make, self._hear)

    def _hear(self, kind: bytes) -> None:
        self._silent = 0
        if kind == channel.READY:
            self.is_ready = True
        elif kind == channel.ALIVE:
            pass
        elif kind == channel.LEAVING:
            self.is_ready = False
            if self._channel is not None:
                self._channel.post(channel.LEAVING)
        elif kind:
            self.connections -= 1
        else:
            self.connections, self.is_ready = 0, False

    def _read_all(self, ended: SocketChannel) -> None:
        """What a process that is no more has sent."""
        while ended.read():
            pass
        ended.close()

    async def _end(self) -> None:
        ended, self._channel = self._channel, None
        if ended is not None:
            self._read_all(ended)
            while ended.is_busy:
                await asyncio.sleep(0.01)

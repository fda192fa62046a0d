"""Connections on their way from one process of the service to another.

A Unix socket carries the connection itself and what was read from it and not used yet, so that the
other process goes on as if it had accepted it. Messages keep their order and their bounds, and
the socket ends with the process at its other end, however that came.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

READY, ALIVE, LEAVING, CONNECTION, PIECE, GONE = b"r", b"a", b"l", b"c", b"p", b"g"
"""Kinds of messages, their first byte. READY: connections are welcome. ALIVE: as every second.
LEAVING: connections no longer are welcome, which the other side says too, so that none is on its
way any more. CONNECTION: here it is, with the last of its bytes, or without a descriptor if it
could not be passed on: then it is gone. PIECE: bytes of the next connection that do not fit into
one message. GONE: one connection has ended."""

_PIECE_BYTES = 65_536


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a channel. Raises: OSError."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


class SocketChannel:
    """One end. is_stopping: what still comes is served as by a server that stops."""

    def __init__(
        self,
        end: socket.socket,
        make: Callable[[bytes], Any],
        hear: Callable[[bytes], None],
    ) -> None:
        """Listen, on the running loop.

        make: a protocol for a connection of which these bytes were read before. hear: called with
        the kind of every message but PIECE, and with b"" when the other process is gone.
        """
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._make = make
        self._hear = hear
        self._begun = b""
        self._waiting: deque[tuple[bytes, int | None]] = deque()
        self._adopting: set[asyncio.Task[None]] = set()
        self.is_stopping = False
        self._loop.add_reader(end.fileno(), self.read)

    @property
    def is_busy(self) -> bool:
        """Whether something is still on its way, in one direction or the other."""
        return bool(self._waiting or self._adopting)

    def close(self) -> None:
        """Send and hear nothing more."""
        if self._end.fileno() < 0:
            return
        self._loop.remove_reader(self._end.fileno())
        self._loop.remove_writer(self._end.fileno())
        self._end.close()
        while self._waiting:
            _close(self._waiting.popleft()[1])

    # --- sending ----------------------------------------------------------------------------------

    def give(self, connection: int, begun: bytes) -> bool:
        """Hand a connection over, which its owner then closes.

        begun: what was read from it and not used yet. Returns: False if there is no way.
        """
        try:
            own = os.dup(connection)  # first: after a piece the connection has to follow
        except OSError:
            return False
        pieces = range(0, len(begun) - _PIECE_BYTES, _PIECE_BYTES)
        for start in pieces:
            self.post(PIECE, begun[start : start + _PIECE_BYTES])
        if self.post(CONNECTION, begun[len(pieces) * _PIECE_BYTES :], own):
            return True
        return bool(pieces) and self.post(CONNECTION)

    def post(self, kind: bytes, data: bytes = b"", connection: int | None = None) -> bool:
        """Send a message, now or as soon as there is room for it.

        connection: a descriptor that is closed here. Returns: False if it can't be sent.
        """
        message = kind + data
        if not self._waiting:
            try:
                self._send(message, connection)
            except BlockingIOError:
                self._loop.add_writer(self._end.fileno(), self._go_on)
            except OSError:  # the other process is gone, or the system lets no more through
                _close(connection)
                return False
            else:
                _close(connection)
                return True
        self._waiting.append((message, connection))
        return True

    def _go_on(self) -> None:
        while self._waiting:
            message, connection = self._waiting.popleft()
            try:
                self._send(message, connection)
            except BlockingIOError:
                self._waiting.appendleft((message, connection))
                return
            except OSError:  # as above; of the end the reader hears
                if connection is not None:
                    self._waiting.appendleft((CONNECTION, None))
            _close(connection)
        self._loop.remove_writer(self._end.fileno())

    def _send(self, message: bytes, connection: int | None) -> None:
        if connection is None:
            self._end.send(message)
        else:
            socket.send_fds(self._end, [message], [connection])

    # --- receiving --------------------------------------------------------------------------------

    def read(self) -> bool:
        """Take the next message. Returns: whether there was one."""
        try:
            message, connections, _, _ = socket.recv_fds(
                self._end, _PIECE_BYTES + 1, 1, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError:
            message, connections = b"", []
        kind, data = message[:1], message[1:]
        if kind == PIECE:
            self._begun += data
            return True
        if kind == CONNECTION:
            begun, self._begun = self._begun + data, b""
            if not connections:  # or there was no descriptor left for it here
                self.post(GONE)
            for connection in connections:
                adopting = self._loop.create_task(self._adopt(connection, begun))
                self._adopting.add(adopting)
                adopting.add_done_callback(self._adopting.discard)
        elif not kind:
            self.close()
        self._hear(kind)
        return bool(kind)

    async def _adopt(self, connection: int, begun: bytes) -> None:
        given = socket.socket(fileno=connection)
        try:
            given.setblocking(False)
            protocol = self._make(begun)
            await self._loop.connect_accepted_socket(lambda: protocol, given)
        except OSError:  # the client is gone
            given.close()
            self.post(GONE)
            return
        if self.is_stopping:
            protocol.shutdown()


def _close(connection: int | None) -> None:
    if connection is not None:
        os.close(connection)

"""One connection of the HTTP server: uvicorn's, with limits in time and a way past the framework.

uvicorn waits for ever for a head that does not come and for a client that does not read; here both
have a deadline, looked at once a second for all connections (`close_late`), which costs a request
nothing. What is more than can be served is refused before anything is made of it. A connection on
which nothing but lookups is asked may be served by another process from then on
(`LookupWorkerPool`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.middleware import bypasses_request_limit
from api.server.lookup_fast_path import LookupFastPath
from api.server.raw_exchange import RawExchange
from api.settings import Settings

if TYPE_CHECKING:
    from api.server.command_fast_path import CommandFastPath
    from api.server.lookup_worker_pool import LookupWorkerPool


class Timeouts(NamedTuple):
    """What a client is waited for, seconds.

    head_s: for a request's head, also the first one of a connection. body_s: for the body after
    the head. keep_alive_s: for the next request. write_s: until it takes more of an answer.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    keep_alive_s: float = 65.0
    write_s: float = 30.0


LOOKUPS_IN_A_ROW = 16
"""After so many lookups and nothing else a connection may go to another process: it will go on as
it began, and moving it costs no more than a few of them."""

HEAD_BYTES_MAX = 65_536
"""Of a request's line and headers together, beyond what came in with its first byte."""


class ReadAheadFlowControl(FlowControl):
    """Reads nothing more while enough is there that waits for its turn."""

    def __init__(self, transport: Any, is_ahead: Callable[[], bool]) -> None:
        """is_ahead: whether enough is there."""
        super().__init__(transport)
        self._is_ahead = is_ahead

    def resume_reading(self) -> None:
        """Also called by the server for every request that begins or was answered."""
        if self.read_paused and not self._is_ahead():
            super().resume_reading()


class HttpConnection(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it.

    closes_at: until when something has to happen, as of `loop.time`; inf while it is our turn.
    """

    waits: ClassVar[Timeouts] = Timeouts()

    def __init__(
        self,
        *given: Any,
        lookups: LookupFastPath,
        commands: CommandFastPath | None,
        settings: Settings,
        elsewhere: LookupWorkerPool | None = None,
        begun: bytes | None = None,
        **named: Any,
    ) -> None:
        """Nothing is read yet.

        elsewhere: other processes that serve connections. begun: what one of them has read,
        from which the connection comes back; None for one that is new.
        """
        super().__init__(*given, **named)
        self.closes_at = math.inf
        self._lookups = lookups
        self._commands = commands
        self._settings = settings
        self._elsewhere = elsewhere
        self._begun = begun
        self._in_a_row = 0  # lookups
        self._is_between = True  # no byte of a request has come that was not answered
        self._is_one_too_many = False
        self._received = 0  # bytes of the request that is coming in
        self._received_max = math.inf
        self._unread = 0  # bytes of answers that the client has not taken, when last looked at
        self._stuck_at = math.inf

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request, unless it is there."""
        super().connection_made(transport)
        self.flow = ReadAheadFlowControl(transport, self._is_ahead)
        self.closes_at = self.loop.time() + self.waits.head_s
        if self._begun:
            self.data_received(self._begun)
            self._begun = b""
            self.loop.call_soon(self._pause_again)
        elif self._begun is not None:
            self.closes_at = self.loop.time() + self.waits.keep_alive_s
        else:
            others = 0 if self._elsewhere is None else self._elsewhere.connections
            served = len(self.connections) + others
            self._is_one_too_many = served > self._settings.connections_max

    def _is_ahead(self) -> bool:
        return bool(self.pipeline)

    def _pause_again(self) -> None:
        """The loop begins to read after `connection_made`, whatever was paused there."""
        if self.flow.read_paused and not self.transport.is_closing():
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        self._asks_otherwise()

    def data_received(self, data: bytes) -> None:
        """Parse, up to what a request may have: trailers too are kept in memory."""
        self._received += len(data)
        super().data_received(data)
        if self._received > self._received_max and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response("The request is too long.")
            self.transport.close()

    # --- a request --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._is_between = False
        self._received, self._received_max = 0, HEAD_BYTES_MAX
        self.closes_at = self.loop.time() + self.waits.head_s

    def on_headers_complete(self) -> None:
        """Choose the way that this request goes."""
        self._received_max = HEAD_BYTES_MAX + 2 * self._settings.upload_bytes_max
        self.closes_at = self.loop.time() + self.waits.body_s
        before = self.cycle
        if before is None or before.response_complete:
            self.cycle = self._without_framework(self.parser.get_method()) or before
            if self.cycle is not before:
                return
        super().on_headers_complete()

    def _without_framework(self, method: bytes) -> RawExchange | None:
        """The exchange of what goes the short way, or has no room; None for the rest."""
        if self._is_one_too_many:
            return self._lookups.refuse_busy(self, method, last=True)
        # Who takes no answers gets none by the short way: it would not wait for them.
        is_reading = not self.flow.write_paused
        exchange = self._lookups.try_accept(self, method) if is_reading else None
        if exchange is not None:
            self._in_a_row += 1
            return exchange
        self._asks_otherwise()
        is_busy = len(self.tasks) >= self._settings.requests_max
        if is_busy and not bypasses_request_limit(self.url.decode("latin-1")):
            return self._lookups.refuse_busy(self, method, last=False)
        return self._commands.try_accept(self, method) if is_reading else None

    def on_message_complete(self) -> None:
        """Begin what begins with the whole request."""
        self._received_max = math.inf
        self._is_between = True
        exchange = self.cycle
        if exchange.response_complete:  # refused before its body came
            return
        self.closes_at = math.inf
        if isinstance(exchange, RawExchange):
            exchange.on_request_complete()
        else:
            super().on_message_complete()

    def fall_back_to_asgi(self, exchange: RawExchange) -> None:
        """Hand a whole request over that turned out not to be for the short way."""
        self.cycle = None
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and exchange.keep_alive
        if exchange.body:
            super().on_body(bytes(exchange.body))
        super().on_message_complete()

    def address(self, headers: dict[bytes, bytes]) -> str:
        """Who asks, as uvicorn tells the framework: a proxy on this machine is believed."""
        host = self.client[0] if self.client else ""
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is not None and host in self.app.trusted_hosts:
            told, _ = self.app.trusted_hosts.get_trusted_client_address(forwarded.decode("latin-1"))
            return told or host
        return host

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it; in place of uvicorn's timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.closes_at = self.loop.time() + self.waits.keep_alive_s
            if self._elsewhere is not None and self._in_a_row >= LOOKUPS_IN_A_ROW:
                self._in_a_row = 0
                self.loop.call_soon(self._move)  # the answer is on its way by then

    # --- to another process -----------------------------------------------------------------------

    def _move(self) -> None:
        """Go to another process, if one has room and we are between two requests."""
        assert self._elsewhere is not None
        is_waiting = self.cycle is None or self.cycle.response_complete
        is_open = not self.transport.is_closing()
        can_move = is_open and is_waiting and self._is_between and not self.unsent
        if can_move and self._elsewhere.take(self):
            self.transport.abort()

    def _asks_otherwise(self) -> None:
        """Something that is no lookup."""
        self._in_a_row = 0
        if self._elsewhere is not None:
            self._elsewhere.regulars.discard(self)

    @property
    def unsent(self) -> int:
        """Bytes of answers that wait for the client."""
        size: int = self.transport.get_write_buffer_size()
        return size

    # --- time -------------------------------------------------------------------------------------

    def close_if_late(self, now: float) -> None:
        """Close the connection if what has to happen did not happen in time."""
        unread = self.unsent
        if not self._unread or unread < self._unread:
            self._stuck_at = now + self.waits.write_s
        self._unread = unread
        if unread and now >= self._stuck_at:
            self.transport.abort()  # closing would wait for the client to read
        elif self.pipeline:  # nothing is read, so the rest of a request cannot come
            self.closes_at = max(self.closes_at, now + self.waits.head_s)
        elif now >= self.closes_at and not self.transport.is_closing():
            self.transport.close()


def close_late(connections: Iterable[Any], now: float) -> None:
    """Look at every connection of a server; to be called about once a second."""
    for connection in list(connections):
        connection.close_if_late(now)

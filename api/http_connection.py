"""One connection of the HTTP server: uvicorn's, with limits in time and a way past the framework.

uvicorn waits for ever for a head that does not come and for a client that does not read; here both
have a deadline, looked at once a second for all connections (`close_late`), which costs a request
nothing. What is more than can be served is refused before anything is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.exchange import Exchange
from api.gate import is_always_served
from api.quick import QuickLookups
from api.quick_commands import QuickCommands
from api.settings import Settings

HEAD_WAIT_S = 10.0
"""How long a request's head may take, also the first one of a connection, seconds."""
BODY_WAIT_S = 30.0
"""How long the body may take after the head, seconds."""
KEEP_ALIVE_S = 65.0
"""How long a connection may wait for its next request, seconds."""
WRITE_WAIT_S = 30.0
"""How long a client may take nothing of an answer that waits for it, seconds."""

HEAD_BYTES_MAX = 65_536
"""Of a request's line and headers together."""


class HttpConnection(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it.

    closes_at: until when something has to happen, as of `loop.time`; inf while it is our turn.
    """

    def __init__(
        self,
        *given: Any,
        lookups: QuickLookups,
        commands: QuickCommands,
        settings: Settings,
        **named: Any,
    ) -> None:
        super().__init__(*given, **named)
        self.closes_at = math.inf
        self._lookups = lookups
        self._commands = commands
        self._settings = settings
        self._is_one_too_many = False
        self._received = 0  # bytes of the request that is coming in
        self._received_max = math.inf
        self._unread = 0  # bytes of answers that the client has not taken, when last looked at
        self._stuck_at = math.inf

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._is_one_too_many = len(self.connections) > self._settings.connections_max
        self.closes_at = self.loop.time() + HEAD_WAIT_S

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
        self._received, self._received_max = 0, HEAD_BYTES_MAX
        self.closes_at = self.loop.time() + HEAD_WAIT_S

    def on_headers_complete(self) -> None:
        """Choose the way that this request goes."""
        self._received_max = HEAD_BYTES_MAX + 2 * self._settings.upload_bytes_max
        self.closes_at = self.loop.time() + BODY_WAIT_S
        before = self.cycle
        if before is None or before.response_complete:
            self.cycle = self._without_framework(self.parser.get_method()) or before
            if self.cycle is not before:
                return
        super().on_headers_complete()

    def _without_framework(self, method: bytes) -> Exchange | None:
        """The exchange of what goes the short way, or has no room; None for the rest."""
        if self._is_one_too_many:
            return self._lookups.refuse_busy(self, method, last=True)
        # Who takes no answers gets none by the short way: it would not wait for them.
        is_reading = not self.flow.write_paused
        exchange = self._lookups.take_on(self, method) if is_reading else None
        if exchange is not None:
            return exchange
        is_busy = len(self.tasks) >= self._settings.requests_max
        if is_busy and not is_always_served(self.url.decode("latin-1")):
            return self._lookups.refuse_busy(self, method, last=False)
        return self._commands.take_on(self, method) if is_reading else None

    def on_message_complete(self) -> None:
        """Begin what begins with the whole request."""
        self._received_max = math.inf
        exchange = self.cycle
        if exchange.response_complete:  # refused before its body came
            return
        self.closes_at = math.inf
        if isinstance(exchange, Exchange):
            exchange.whole()
        else:
            super().on_message_complete()

    def leave_to_framework(self, exchange: Exchange) -> None:
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
            self.closes_at = self.loop.time() + KEEP_ALIVE_S

    # --- time -------------------------------------------------------------------------------------

    def close_if_late(self, now: float) -> None:
        """Close the connection if what has to happen did not happen in time."""
        unread = self.transport.get_write_buffer_size()
        if not self._unread or unread < self._unread:
            self._stuck_at = now + WRITE_WAIT_S
        self._unread = unread
        if unread and now >= self._stuck_at:
            self.transport.abort()  # closing would wait for the client to read
        elif now >= self.closes_at and not self.transport.is_closing():
            self.transport.close()


def close_late(connections: Iterable[Any], now: float) -> None:
    """Look at every connection of a server; to be called about once a second."""
    for connection in list(connections):
        connection.close_if_late(now)

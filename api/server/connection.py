"""One client connection of the HTTP server: uvicorn's protocol with deadlines and fast paths.

uvicorn waits without limit for a request head that does not arrive and for a client that does not
read. Here both have a deadline, checked once a second for all connections (`close_expired`), which
costs a request nothing. Connections and requests above the limits are refused before they are
parsed further. A connection that carries nothing but lookups may be handed over to a lookup worker
process, which serves it with this same class. Reading order: HttpConnection, Timeouts.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.middleware import bypasses_request_limit
from api.server.lookup_fast_path import LookupFastPath
from api.server.raw_exchange import Headers, RawExchange
from api.settings import Settings

if TYPE_CHECKING:
    from api.server.command_fast_path import CommandFastPath


class Timeouts(NamedTuple):
    """How long the server waits for a client, seconds.

    head_s: for the head of a request, also of the first one. body_s: for the body after the head.
    keep_alive_s: for the next request. write_s: for the client to read more of a response.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    keep_alive_s: float = 65.0
    write_s: float = 30.0


LOOKUPS_BEFORE_HANDOVER = 16
"""Lookups without any other request after which a connection may be handed over: it will probably
continue that way, and the handover costs no more than a few lookups."""

HEAD_BYTES_MAX = 65_536
"""Of a request line and headers together, not counting what arrived with their first byte."""


class LookupWorkers(Protocol):
    """The lookup workers, as a connection uses them; see `LookupWorkerPool`."""

    @property
    def connections(self) -> int:
        """Client connections that the workers serve."""

    def try_hand_over(self, connection: HttpConnection) -> bool:
        """Pass a lookup-only connection to a worker. Returns: False if it stays here."""

    def discard(self, connection: HttpConnection) -> None:
        """Do not count the connection as lookup-only any more."""


class ReadAheadFlowControl(FlowControl):
    """Flow control that keeps reading paused while pipelined requests wait for their turn."""

    def __init__(self, transport: asyncio.Transport, is_ahead: Callable[[], bool]) -> None:
        """is_ahead: whether requests wait."""
        super().__init__(transport)
        self._is_ahead = is_ahead

    def resume_reading(self) -> None:
        """Resume unless requests wait; uvicorn also calls this at the start and end of each one."""
        if self.read_paused and not self._is_ahead():
            super().resume_reading()


class HttpConnection(HttpToolsProtocol):
    """An HTTP/1.1 connection.

    cycle: the request in progress or the last one: uvicorn's `RequestResponseCycle`, or a
        `RawExchange` in its place; None before the first one.
    deadline: loop time by which the client must act; inf while the server is working.
    """

    timeouts: ClassVar[Timeouts] = Timeouts()
    cycle: Any

    def __init__(
        self,
        *given: Any,
        lookups: LookupFastPath,
        commands: CommandFastPath | None,
        settings: Settings,
        workers: LookupWorkers | None = None,
        on_lost: Callable[[], None] | None = None,
        **named: Any,
    ) -> None:
        """Read nothing yet.

        commands: None where only lookups are answered. workers: to which the connection may be
        handed over; None if it stays here. on_lost: called when the connection has ended; set for
        a connection that was handed over, and that has had its first request.
        """
        super().__init__(*given, **named)
        self.deadline = math.inf
        self._lookups = lookups
        self._commands = commands
        self._settings = settings
        self._workers = workers
        self._on_lost = on_lost
        self._consecutive_lookups = 0
        self._is_between_requests = True  # no byte of an unanswered request was read
        self._over_connection_limit = False
        self._received = 0  # bytes of the request that is being read
        self._received_max = math.inf
        self._unsent_before = 0  # unsent bytes at the last check
        self._write_deadline = math.inf

    def connection_made(  # type: ignore[override]  # uvicorn declares the narrower type too
        self, transport: asyncio.Transport
    ) -> None:
        """Wait for a request."""
        super().connection_made(transport)
        self.flow = ReadAheadFlowControl(transport, self._is_ahead)
        wait_s = self.timeouts.head_s if self._on_lost is None else self.timeouts.keep_alive_s
        self.deadline = self.loop.time() + wait_s
        if self._workers is not None:
            served = len(self.connections) + self._workers.connections
            self._over_connection_limit = served > self._settings.connections_max

    def _is_ahead(self) -> bool:
        return bool(self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything that refers to the connection."""
        super().connection_lost(exc)
        self._leave_lookup_mode()
        if self._on_lost is not None:
            self._on_lost()

    def data_received(self, data: bytes) -> None:
        """Parse; bounds the size of a whole request, because trailers too stay in memory."""
        self._received += len(data)
        super().data_received(data)
        if self._received > self._received_max and not self.transport.is_closing():
            if self._is_idle:
                self.send_400_response("The request is too long.")
            self.transport.close()

    @property
    def _is_idle(self) -> bool:
        """Whether every request was answered whose head has been read."""
        return self.cycle is None or self.cycle.response_complete

    # --- a request --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request was read."""
        super().on_message_begin()
        self._is_between_requests = False
        self._received, self._received_max = 0, HEAD_BYTES_MAX
        self.deadline = self.loop.time() + self.timeouts.head_s

    def on_headers_complete(self) -> None:
        """Choose between a fast path, a refusal and the framework."""
        self._received_max = HEAD_BYTES_MAX + 2 * self._settings.upload_bytes_max
        self.deadline = self.loop.time() + self.timeouts.body_s
        if self._is_idle:
            exchange = self._without_framework(self.parser.get_method())
            if exchange is not None:
                self.cycle = exchange
                return
        super().on_headers_complete()

    def _without_framework(self, method: bytes) -> RawExchange | None:
        """The exchange of a fast path or of a refusal; None if the framework has to answer."""
        if self._over_connection_limit:
            return self._lookups.refuse_busy(self, method, last=True)
        # The framework waits for a client that does not read its responses, fast paths would not.
        is_reading = not self.flow.write_paused
        exchange = self._lookups.try_accept(self, method) if is_reading else None
        if exchange is not None:
            self._consecutive_lookups += 1
            return exchange
        self._leave_lookup_mode()
        is_busy = len(self.tasks) >= self._settings.requests_max
        if is_busy and not bypasses_request_limit(self.url.decode("latin-1")):
            return self._lookups.refuse_busy(self, method, last=False)
        if self._commands is None or not is_reading:
            return None
        return self._commands.try_accept(self, method)

    def on_message_complete(self) -> None:
        """Process a request whose body is complete."""
        self._received_max = math.inf
        self._is_between_requests = True
        exchange = self.cycle
        if exchange.response_complete:  # refused before its body arrived
            return
        self.deadline = math.inf
        if isinstance(exchange, RawExchange):
            exchange.on_request_complete()
        else:
            super().on_message_complete()

    def fall_back_to_asgi(self, exchange: RawExchange) -> None:
        """Give a complete request to the framework that the fast path can't answer after all."""
        self.cycle = None
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and exchange.keep_alive
        if exchange.body:
            super().on_body(bytes(exchange.body))
        super().on_message_complete()

    def address(self, headers: Headers) -> str:
        """The client's address, as uvicorn gives it to the framework: trusts a local proxy."""
        host = self.client[0] if self.client else ""
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is not None and host in self.app.trusted_hosts:
            named, _ = self.app.trusted_hosts.get_trusted_client_address(
                forwarded.decode("latin-1")
            )
            return named or host
        return host

    def on_response_complete(self) -> None:
        """Start the next pipelined request or await one; replaces uvicorn's keep-alive timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.deadline = self.loop.time() + self.timeouts.keep_alive_s
            if self._workers is not None and self._consecutive_lookups >= LOOKUPS_BEFORE_HANDOVER:
                self._consecutive_lookups = 0
                self.loop.call_soon(self._hand_over)  # by then the response was written

    # --- to a lookup worker -----------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Pass the connection to a worker that has room, if nothing is in progress on it."""
        assert self._workers is not None
        is_quiet = self._is_idle and self._is_between_requests and not self.unsent_bytes
        can_move = is_quiet and not self.transport.is_closing()
        if can_move and self._workers.try_hand_over(self):
            self.transport.abort()  # closes the descriptor here; the worker has its own

    def _leave_lookup_mode(self) -> None:
        """Start counting again after a request that is no plain lookup."""
        self._consecutive_lookups = 0
        if self._workers is not None:
            self._workers.discard(self)

    @property
    def unsent_bytes(self) -> int:
        """Bytes of responses that the client has not read yet."""
        return self.transport.get_write_buffer_size()

    # --- deadlines --------------------------------------------------------------------------------

    def close_if_expired(self, now: float) -> None:
        """Close the connection if the client missed a deadline. now: loop time."""
        unsent = self.unsent_bytes
        if not self._unsent_before or unsent < self._unsent_before:
            self._write_deadline = now + self.timeouts.write_s
        self._unsent_before = unsent
        if unsent and now >= self._write_deadline:
            self.transport.abort()  # `close` would wait for the client to read
        elif self.pipeline:  # reading is paused, so the rest of a request can't arrive
            self.deadline = max(self.deadline, now + self.timeouts.head_s)
        elif now >= self.deadline and not self.transport.is_closing():
            self.transport.close()


def close_expired(connections: Iterable[Any], now: float) -> None:
    """Check every connection of a server; called about once a second."""
    for connection in list(connections):
        connection.close_if_expired(now)

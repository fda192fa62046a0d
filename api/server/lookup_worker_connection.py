"""A connection as a lookup process serves it: plain lookups, and on with everything else.

Whatever is no plain lookup, or turns out not to be one, takes the whole connection to the service's
own process, together with all that was read and not answered. So that this is known to the byte,
the parser gets no more than one request, or no more than its head while the body is on its way.
"""

from __future__ import annotations

import math
import re
from typing import Any

import httptools

from api.server.connection import HttpConnection
from api.server.raw_exchange import RawExchange
from api.server.socket_passing import GONE, SocketChannel

HELD_BYTES_MAX = 65_536
"""What is read ahead while an answer is under way; the rest waits at the client's end."""
AT_ONCE = 64
"""So many parts of requests are looked at before others have their turn."""
_HEAD_BYTES_MAX = 16_384

_HEAD = re.compile(
    rb"(?:GET /v/[0-9a-f]{32}|POST /lookup) HTTP/1\.1\r\n(?:[!-9;-~]+:[^\r\n\0]*+\r\n)*+\r\n"
)
_BODY_BYTES = re.compile(rb"\r\ncontent-length:[ \t]*+([0-9]{1,4})[ \t]*+\r\n", re.IGNORECASE)
_BEGINNINGS = (b"GET /v/", b"POST /lookup HTTP/1.1\r\n")


def lookup_bytes(held: bytes) -> int | None:
    """Length of the lookup that begins here, or of its head while its body is on its way.

    Returns: 0 while its head is not whole, None if it is no plain lookup.
    """
    found = _HEAD.match(held)
    if found is not None:
        head = found.end()
        body = _BODY_BYTES.search(held, 0, head)
        if body is not None and len(held) >= head + int(body[1]):
            return head + int(body[1])
        return head
    if b"\r\n\r\n" in held or len(held) > _HEAD_BYTES_MAX:
        return None
    begins = held.startswith(_BEGINNINGS) or any(each.startswith(held) for each in _BEGINNINGS)
    return 0 if begins else None


class LookupWorkerConnection(HttpConnection):
    """Answers lookups, and leaves with the first request that is none."""

    def __init__(self, *given: Any, channel: SocketChannel, **named: Any) -> None:
        """channel: to the service's own process."""
        super().__init__(*given, commands=None, **named)
        self._channel = channel
        self._held = b""  # what came in and was not given to the parser
        self._message = b""  # the request that is coming in, as far as it was
        self._missing = 0  # bytes of its body that were not
        self._is_plain = True
        self._is_awaited = False  # the rest of a head
        self._is_looking = False
        self._is_leaving = False
        self._is_gone = False  # over to the other process

    def connection_made(self, transport: Any) -> None:
        """Wait for the next request, as after every answer."""
        super().connection_made(transport)
        self.closes_at = self.loop.time() + self.waits.keep_alive_s

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the process that counts all connections."""
        super().connection_lost(exc)
        if not self._is_gone:
            self._channel.post(GONE)

    def data_received(self, data: bytes) -> None:
        """Take what came in, as far as it is its turn."""
        self._held += data
        self._look()
        if self._is_ahead():
            self.flow.pause_reading()

    def _is_ahead(self) -> bool:
        return len(self._held) > HELD_BYTES_MAX

    def resume_writing(self) -> None:
        """Go on when the client has taken its answers."""
        super().resume_writing()
        self.loop.call_soon(self._leave if self._is_leaving else self._look)

    def shutdown(self) -> None:
        """Finish what was begun; what has not come in as a whole is answered elsewhere."""
        if self._is_leaving:
            return
        if self._is_idle() or self._missing:
            self._begin_to_leave()
        else:
            self.cycle.keep_alive = False

    # --- one request after the other --------------------------------------------------------------

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        """Give the parser what is its turn."""
        if self._is_looking:
            return
        self._is_looking = True
        parts = 0
        while (
            self._held
            and not (self._is_leaving or self.flow.write_paused or self.transport.is_closing())
            and (self._missing or self._is_idle())
        ):
            if parts == AT_ONCE:
                self.loop.call_soon(self._look_on)
                return
            parts += 1
            size = min(self._missing, len(self._held)) or lookup_bytes(self._held)
            if size is None:
                self._begin_to_leave()
            elif size == 0:
                self._await_head()
                break
            else:
                self._parse(size)
        self._is_looking = False
        if not (self._is_leaving or self.transport.is_closing()):
            self.flow.resume_reading()

    def _look_on(self) -> None:
        self._is_looking = False
        self._look()

    def _await_head(self) -> None:
        if not self._is_awaited:
            self._is_awaited = True
            self.closes_at = self.loop.time() + self.waits.head_s

    def _parse(self, size: int) -> None:
        """Give the parser a request, a head, or more of a body."""
        part, self._held = self._held[:size], self._held[size:]
        self._message += part
        self._is_awaited = False
        try:
            self.parser.feed_data(part)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._is_plain = False
        if not self._is_plain:
            self._begin_to_leave()
        elif self._missing:
            self._missing -= size
        elif self.cycle.more_body:
            self._missing = int(self.cycle.headers[b"content-length"])
        if not self._missing:
            self._message = b""

    def on_headers_complete(self) -> None:
        """Take the request on, if it is plain."""
        exchange = self._lookups.try_accept(self, self.parser.get_method())
        if exchange is None:
            self._is_plain = False
        else:
            self.cycle = exchange
            self.closes_at = self.loop.time() + self.waits.body_s

    def on_body(self, body: bytes) -> None:
        """Keep it, unless it came together with a head that is not plain: that one has no cycle."""
        if self._is_plain:
            self.cycle.body += body

    def on_message_complete(self) -> None:
        """Begin what begins with the whole request."""
        if self._is_plain:
            self.cycle.more_body = False
            self.closes_at = math.inf
            self.cycle.on_request_complete()

    def fall_back_to_asgi(self, exchange: RawExchange) -> None:
        """A whole request that turned out not to be plain."""
        self._is_plain = False

    def on_response_complete(self) -> None:
        """Go on with what has come in meanwhile."""
        super().on_response_complete()
        self._look()

    # --- over to the other process ----------------------------------------------------------------

    def _begin_to_leave(self) -> None:
        """Read no more, and leave once the client has taken the answers there are."""
        self._is_leaving = True
        self.closes_at = math.inf
        self._held, self._message, self._missing = self._message + self._held, b"", 0
        self.flow.pause_reading()
        if self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(0)  # so that we hear when it is empty
        else:
            self._leave()

    def _leave(self) -> None:
        if self._is_gone or self.transport.is_closing():
            return
        self._is_gone = self._channel.give(
            self.transport.get_extra_info("socket").fileno(), self._held
        )
        self.transport.abort()

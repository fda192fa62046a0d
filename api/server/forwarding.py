"""Forwards requests that a lookup worker can't answer to the service's main process, over HTTP.

A worker serves connections on which only lookups arrived so far. For any other request it is a
reverse proxy: it sends the request through a Unix socket and passes the response back. The socket
is in a directory that only the service's user can enter, so the main process trusts what arrives
there about the client's address.

A request is sent at most once. If the main process fails before it answers, nobody knows whether a
command was recorded; the worker then closes the client's connection without a response, as the main
process itself would have, and the client repeats the command with the same `Idempotency-Key`. A
pooled connection can't fail that way while it is idle: the main process never closes one, the
worker does (`_IDLE_S`). Reading order: Forwarder (in a worker), ForwardedConnection (in the main
process).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.errors.request import BadRequest, ServerBusy
from api.http.exception_handlers import RenderError
from api.http.middleware import (
    ClientGone,
    Message,
    Receive,
    ResponseSender,
    Send,
    read_body,
    security_headers,
    trace_id_of,
)
from api.server.connection import HttpConnection
from api.settings import Settings
from domain.errors import LedgerError

ABORT = "abort_connection"
"""Key in an ASGI scope's `state`: a function that closes the client's connection at once."""

_IDLE_S = 5.0
"""How long a worker keeps an idle connection to the main process, seconds."""
_IDLE_MAX = 16
"""Idle connections that a worker keeps."""

_HOP_BY_HOP = frozenset(
    {b"connection", b"expect", b"keep-alive", b"proxy-connection", b"te", b"trailer"}
    | {b"transfer-encoding", b"upgrade"}
)
_REPLACED = frozenset({b"content-length", b"x-forwarded-for", b"x-forwarded-proto"})
_SET_BY_WORKER = frozenset({b"date"})
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

log = logging.getLogger("certledger.forwarding")


class AnswerMissing(Exception):
    """The main process did not answer a request that it may have received."""


class Forwarder:
    """The ASGI application of a lookup worker."""

    def __init__(self, path: str, settings: Settings, render_error: RenderError) -> None:
        """path: of the main process's Unix socket."""
        self._settings = settings
        self._render_error = render_error
        self._headers = security_headers(settings)
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=_IDLE_MAX, keepalive_expiry=_IDLE_S
        )
        self._main_process = httpx.AsyncHTTPTransport(uds=path, limits=limits)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Forward one request, with its whole body, and stream the response back."""
        headers = dict(scope["headers"])
        own = ResponseSender(scope, send, self._headers, trace_id_of(headers.get(b"traceparent")))
        try:
            body = await read_body(headers, receive, self._settings)
            answer = await self._send(scope, body)
        except LedgerError as refusal:
            await own.refuse(refusal, receive, self._render_error)
            own.log()
        except ClientGone:
            own.status = 499
            own.log()
        except AnswerMissing:
            log.warning("no answer from the main process: closing the connection of a client")
            scope["state"][ABORT]()
            await receive()  # returns once the connection is closed
        else:
            await _pass_back(answer, send)

    async def close(self) -> None:
        """Close the connections to the main process."""
        await self._main_process.aclose()

    async def _send(self, scope: Message, body: bytes) -> httpx.Response:
        """The head of the main process's response; its body follows as a stream.

        Raises: ServerBusy if nothing was sent, or the request changes nothing; AnswerMissing if
        it may have; BadRequest if HTTP has no form for the request.
        """
        try:
            return await self._main_process.handle_async_request(_request(scope, body))
        except httpx.LocalProtocolError:
            raise BadRequest() from None
        except httpx.ConnectError:
            raise ServerBusy() from None
        except httpx.TransportError:
            if scope["method"] in _SAFE_METHODS:
                raise ServerBusy() from None
            raise AnswerMissing from None


def _request(scope: Message, body: bytes) -> httpx.Request:
    given: list[tuple[bytes, bytes]] = scope["headers"]
    names = {name for name, _ in given}
    dropped = _HOP_BY_HOP | _REPLACED
    headers = [(name, value) for name, value in given if name not in dropped]
    headers.append((b"x-forwarded-proto", scope["scheme"].encode()))
    if scope["client"]:
        headers.append((b"x-forwarded-for", scope["client"][0].encode("latin-1")))
    if not names.isdisjoint({b"content-length", b"transfer-encoding"}):
        headers.append((b"content-length", b"%d" % len(body)))
    if b"host" not in names:  # allowed in HTTP/1.0; the framework then takes the server's address
        headers.append((b"host", b"%b:%d" % (scope["server"][0].encode(), scope["server"][1])))
    query = scope["query_string"]
    return httpx.Request(
        scope["method"],
        "http://main-process/",
        headers=headers,
        stream=httpx.ByteStream(body),  # unlike `content`, adds no headers
        extensions={"target": scope["raw_path"] + (b"?" + query if query else b""), "timeout": {}},
    )


async def _pass_back(answer: httpx.Response, send: Send) -> None:
    """Stream a response to the client, as fast as the client reads."""
    dropped = _HOP_BY_HOP | _SET_BY_WORKER
    headers = [(n.lower(), v) for n, v in answer.headers.raw if n.lower() not in dropped]
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    try:
        await send(
            {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        )
        async for chunk in answer.stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx.TransportError:
        return  # the server closes the connection of an incomplete response, and logs it
    finally:
        await answer.aclose()
    await send({"type": "http.response.body"})


class ForwardedConnection(HttpConnection):
    """A connection on which a lookup worker forwards requests of its clients.

    Limits of connections and deadlines do not apply to it: the worker applies them to its clients.
    Those of requests do.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        app = self.app.app if isinstance(self.app, ProxyHeadersMiddleware) else self.app
        self.app = ProxyHeadersMiddleware(app, trusted_hosts="*")

    def connection_made(  # type: ignore[override]  # uvicorn declares the narrower type too
        self, transport: asyncio.Transport
    ) -> None:
        """Accept it without counting it as a client's connection."""
        super().connection_made(transport)
        self.connections.discard(self)

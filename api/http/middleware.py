"""The outermost ASGI middleware: trace id, limits, access log, security headers.

It reads the whole body, within BODY_TIMEOUT_S and up to the size limit, so that no handler waits
for a slow client; the application then receives the body in one message. The log line names the
route by its pattern, never by its address: addresses hold ids, tokens and queries.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp

from api.errors.request import (
    BodyTooLarge,
    ControlCharacter,
    InternalError,
    JsonTooDeep,
    MalformedJson,
    ServerBusy,
)
from api.http.access_log import log_request
from api.http.exception_handlers import RenderError
from api.settings import Settings
from domain.errors import LedgerError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_TIMEOUT_S = 40
"""How long a client may take to send the body, seconds; the server in front waits less."""

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_TRACE = b"0" * 32
_UPLOADS = (b"multipart/", b"text/csv", b"application/vnd.openxmlformats", b"application/octet")
# Escapes of control characters other than tab and line breaks: PostgreSQL can't store U+0000 in
# text, and the rest would end up in print. An even number of backslashes before one means that the
# backslash itself was escaped.
_CONTROL = re.compile(rb"(?<!\\)(?:\\\\)*\\(?:[bf]|u00(?:0[0-8bcef]|1[0-9a-f]|7f))", re.IGNORECASE)
# An unterminated string matches up to the end, so that no byte is scanned twice.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)

faults = logging.getLogger("certledger.faults")


def bypasses_request_limit(path: str) -> bool:
    """Whether a request is served above the limit: operators must see an overloaded service."""
    return path in ("/health", "/ready")


class ClientGone(Exception):
    """The client closed the connection, or timed out, before the body was complete."""


class RequestMiddleware:
    """The middleware; `render_error` turns a refusal into a problem or an HTML page."""

    def __init__(self, app: ASGIApp, settings: Settings, render_error: RenderError) -> None:
        self._app = app
        self._render_error = render_error
        self._settings = settings
        self._serving = 0
        self._headers = security_headers(settings)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; pass anything but HTTP through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        trace_id = trace_id_of(headers.get(b"traceparent"))
        response = ResponseSender(scope, send, self._headers, trace_id)
        scope.setdefault("state", {})["trace_id"] = trace_id
        self._serving += 1
        try:
            is_full = self._serving > self._settings.requests_max
            if is_full and not bypasses_request_limit(scope["path"]):
                raise ServerBusy()
            body = await self._body(headers, receive)
            await self._app(scope, _replay(body, receive), response.send)
        except ClientGone:
            response.status = 499
        except LedgerError as refusal:
            await response.refuse(refusal, receive, self._render_error)
        except Exception as fault:
            log_fault(fault, trace_id)
            await response.refuse(InternalError(), receive, self._render_error)
        finally:
            self._serving -= 1
            response.log()

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body.

        Raises: BodyTooLarge, MalformedJson, ControlCharacter, JsonTooDeep, ClientGone.
        """
        body = await read_body(headers, receive, self._settings)
        if body and b"json" in headers.get(b"content-type", b"").lower():
            check_json(body, self._settings.json_depth_max)
        return body


async def read_body(headers: dict[bytes, bytes], receive: Receive, settings: Settings) -> bytes:
    """The whole body of a request, up to the limit of its content type.

    Raises: BodyTooLarge, before anything is read if the headers announce it; ClientGone.
    """
    upload = headers.get(b"content-type", b"").lower().startswith(_UPLOADS)
    limit = settings.upload_bytes_max if upload else settings.body_bytes_max
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge(bytes_max=limit)
    return await _read(receive, limit)


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise BodyTooLarge(bytes_max=limit)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise ClientGone from None


def check_json(body: bytes, levels_max: int) -> None:
    """Refuse a body that would be expensive to parse or impossible to store, before parsing it.

    levels_max: levels of nesting. Raises: JsonTooDeep, ControlCharacter; MalformedJson for
    anything but UTF-8.
    """
    try:
        body.decode()
    except UnicodeDecodeError:
        raise MalformedJson() from None
    if b"\x00" in body or (b"\\" in body and _may_escape(body) and _CONTROL.search(body)):
        raise ControlCharacter()
    if body.count(b"[") + body.count(b"{") <= levels_max:
        return
    depth = 0
    for found in _BRACKETS.finditer(body):
        first = found[0][:1]
        if first in b"[{":
            depth += 1
            if depth > levels_max:
                raise JsonTooDeep(levels_max=levels_max)
        elif first in b"]}":
            depth -= 1


def _may_escape(body: bytes) -> bool:
    """Whether the search for escaped control characters, which is expensive, can find one."""
    lower = body.lower()
    return b"\\u00" in lower or b"\\b" in lower or b"\\f" in lower


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the whole body first, then the messages after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class ResponseSender:
    """Sends one response, with the security headers and the trace id; keeps its status."""

    def __init__(
        self, scope: Message, send: Send, headers: dict[bytes, bytes], trace_id: str
    ) -> None:
        self.scope = scope
        self.trace_id = trace_id
        self.status = 0
        self._send = send
        self._headers = headers | {b"trace-id": trace_id.encode()}
        self._begun = time.perf_counter()

    async def send(self, message: Message) -> None:
        """Send a message; the first one gets every header that the route has not set."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            given += [pair for pair in self._headers.items() if pair[0] not in names]
            message = {**message, "headers": given}
        await self._send(message)

    async def refuse(
        self, refusal: LedgerError, receive: Receive, render_error: RenderError
    ) -> None:
        """Answer with an error, unless the response has started already."""
        if self.status:
            return
        response = render_error(Request(self.scope), refusal, self.trace_id, None)
        await response(self.scope, receive, self.send)

    def log(self) -> None:
        """Write the access log line of this request."""
        route = self.scope.get("route")
        principal = self.scope.get("state", {}).get("principal")
        log_request(
            self.trace_id,
            self.scope["method"],
            getattr(route, "path", None) or "unknown",
            self.status,
            time.perf_counter() - self._begun,
            principal.role.value if principal is not None else None,
        )


def log_fault(fault: Exception, trace_id: str) -> None:
    """Log the type and place of an unexpected error, not its message: it may be personal data."""
    frames = traceback.extract_tb(fault.__traceback__)
    where = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in reversed(frames))
    faults.error("trace %s: %s at %s", trace_id, type(fault).__name__, where)


def trace_id_of(traceparent: bytes | None) -> str:
    """The trace id of a valid `traceparent` header (W3C Trace Context), else a new one."""
    if traceparent is not None:
        match = _TRACEPARENT.fullmatch(traceparent)
        if match and match[1] != _NO_TRACE:
            return match[1].decode()
    # Not a secret, so no system call for randomness: it would release the interpreter lock, and
    # under load getting the lock back takes milliseconds.
    return f"{random.getrandbits(128):032x}"


def security_headers(settings: Settings) -> dict[bytes, bytes]:
    """Headers of every response, unless the route sets them itself."""
    headers = {
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
        b"referrer-policy": b"no-referrer",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"cross-origin-resource-policy": b"same-origin",
        b"cache-control": b"no-store",
    }
    if settings.public_base_url.startswith("https://"):
        headers[b"strict-transport-security"] = b"max-age=31536000"
    return headers

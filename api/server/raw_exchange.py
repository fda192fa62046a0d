"""A request and its response without the framework: writes the bytes of the response itself.

A `RawExchange` takes the place of the server's request/response cycle, with the attributes that the
server uses for pipelining, lost connections and shutdown. Reading order: RawExchange, the
requests that both fast paths can read, Answers.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.errors.problem_details import problem_response
from api.errors.request import InternalError
from api.http.access_log import log_request
from api.http.middleware import log_fault, security_headers, trace_id_of
from api.http.negotiation import preferred_language, prefers_page
from api.http.routing import JSON, media_type_of
from api.lookup.criteria import no_such_link
from api.settings import Settings
from domain.errors import LedgerError

Headers = dict[bytes, bytes]

HEADER_BYTES_MAX = 200
"""Longest header whose interpretation is cached; browsers send shorter ones."""

_UNUSUAL = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
"""Requests with one of these headers fall back to the framework."""

_NO_TRACE = "0" * 32
_NO_LINK_FIELDS = no_such_link().fields


class NullEvent:
    """The server's event for more of a body: never awaited, the body is complete."""

    def set(self) -> None:
        """Do nothing."""


class RawExchange:
    """One request and its response."""

    __slots__ = (
        *("body", "disconnected", "keep_alive", "more_body", "response_complete"),
        *("answers", "connection", "headers", "method", "role", "route", "trace_id"),
        "_begun",
    )
    message_event = NullEvent()

    def __init__(
        self, answers: Answers, connection: Any, headers: Headers, method: str, route: str
    ) -> None:
        """route: as the access log names it."""
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        parser = connection.parser
        self.keep_alive: bool = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        self.answers = answers
        self.connection = connection
        self.headers = headers
        self.method = method
        self.route = route
        self.role: str | None = None  # of the caller, once it is known
        self.trace_id = trace_id_of(headers.get(b"traceparent"))
        self._begun = time.perf_counter()

    def on_request_complete(self) -> None:
        """Process the request; called when its body is complete."""

    def send(self, status: int, lines: bytes, body: bytes) -> None:
        """Write the response, and let the connection continue with its next request.

        lines: encoded headers without the date and the trace id.
        """
        connection = self.connection
        self.response_complete = True
        transport = connection.transport
        if not transport.is_closing():
            date = self.answers.date(connection.server_state.default_headers)
            trace = self.trace_id.encode()
            end = b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n"
            parts = (STATUS_LINE[status], date, lines, b"trace-id: ", trace, end, body)
            transport.write(b"".join(parts))
            if not self.keep_alive:
                transport.close()
        connection.on_response_complete()
        seconds = time.perf_counter() - self._begun
        log_request(self.trace_id, self.method, self.route, status, seconds, self.role)

    def refuse(self, refusal: LedgerError) -> None:
        """Answer with a problem, unless the response was sent already."""
        if not self.response_complete:
            language = _language(self.headers.get(b"accept-language", b"")[:HEADER_BYTES_MAX])
            problem = self.answers.problem(refusal, language)
            self.send(problem.status, problem.lines, problem.body(self.trace_id))

    def fail(self, fault: Exception) -> None:
        """Answer with a refusal, or with an internal error for any other exception."""
        if isinstance(fault, LedgerError):
            self.refuse(fault)
        else:
            log_fault(fault, self.trace_id)
            self.refuse(InternalError())


# --- what both fast paths can read ----------------------------------------------------------------


def plain_headers(given: list[tuple[bytes, bytes]]) -> Headers | None:
    """The headers by name; None if one is repeated or unusual, or the request prefers a page."""
    headers = dict(given)
    if len(headers) != len(given) or not _UNUSUAL.isdisjoint(headers):
        return None
    accept = headers.get(b"accept", b"")
    if len(accept) > HEADER_BYTES_MAX or _prefers_page(accept):
        return None
    if len(headers.get(b"accept-language", b"")) > HEADER_BYTES_MAX:
        return None
    return headers


def announces_json(headers: Headers, bytes_max: int) -> bool:
    """Whether the headers announce a JSON body of at most this length."""
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or not 0 < int(length) <= bytes_max:
        return False
    kind = headers.get(b"content-type", b"")
    return len(kind) <= HEADER_BYTES_MAX and _is_json(kind)


@lru_cache(256)
def _is_json(kind: bytes) -> bool:
    return media_type_of(kind.decode("latin-1")) == JSON


@lru_cache(256)
def _prefers_page(accept: bytes) -> bool:
    return prefers_page(accept.decode("latin-1"))


# --- what they write ------------------------------------------------------------------------------


@lru_cache(256)
def _language(accept_language: bytes) -> str:
    return preferred_language(accept_language.decode("latin-1"))


class ProblemBytes(NamedTuple):
    """An encoded refusal without its trace id."""

    status: int
    lines: bytes
    parts: list[bytes]

    def body(self, trace_id: str) -> bytes:
        """The body of one occurrence."""
        return trace_id.encode().join(self.parts)


class Answers:
    """Encodes headers and refusals; what repeats is encoded once."""

    def __init__(self, settings: Settings) -> None:
        self._protection = security_headers(settings)
        self._missing: dict[frozenset[bytes], bytes] = {}  # by the names that the response sets
        self._problems: dict[tuple[str, str], ProblemBytes] = {}
        self._dated: tuple[Any, bytes] = (None, b"")

    def date(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The encoded default headers of the server, which replaces them every second."""
        if self._dated[0] is not default_headers:
            self._dated = default_headers, header_lines(default_headers)
        return self._dated[1]

    def protected(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Encoded headers, with the security headers that the response does not set itself."""
        names = frozenset([name for name, _ in headers])
        missing = self._missing.get(names)
        if missing is None:
            pairs = [pair for pair in self._protection.items() if pair[0] not in names]
            missing = self._missing[names] = header_lines(pairs)
        return header_lines(headers) + missing

    def problem(self, refusal: LedgerError, language: str) -> ProblemBytes:
        """A refusal in one of the languages."""
        if refusal.fields and refusal.fields != _NO_LINK_FIELDS:
            return self._problem(refusal, language)
        key = refusal.code, language
        made = self._problems.get(key)
        if made is None:
            made = self._problems[key] = self._problem(refusal, language)
        return made

    def _problem(self, refusal: LedgerError, language: str) -> ProblemBytes:
        response = problem_response(refusal, language, _NO_TRACE)
        parts = bytes(response.body).split(_NO_TRACE.encode())
        return ProblemBytes(response.status_code, self.protected(response.raw_headers), parts)


def header_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Encoded headers."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])

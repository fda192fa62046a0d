"""The public lookups past the framework: from the parsed request to the bytes of the answer.

The framework costs twenty times as much as a lookup itself. What is asked most, in its plainest
form, is therefore answered here; everything else about a request (a parameter, a page, a body that
is wrong, a header that stands twice) is left to the framework. Both ways answer in the same bytes:
a test holds them against each other. Reading order: QuickLookups, ByLink, ByFacts.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import Any

import orjson
from pydantic import ValidationError

from api.errors.request import ServerBusy
from api.http.middleware import check_json
from api.http.routing import JSON
from api.http.strict_json import parse_json
from api.lookup.coalescing import Found
from api.routes.lookup import (
    NAME_TYPED_MAX,
    LookupBody,
    LookupCriteria,
    ParsedLookup,
    ensure_two,
    enter,
    link_answer,
    no_such_link,
)
from api.server.raw_exchange import HEADER_BYTES_MAX, Answers, Headers, RawExchange
from api.settings import Settings
from api.web.page_route import wants_page
from domain.errors import LedgerError

BODY_BYTES_MAX = 4096
"""Of a lookup; a longer body is left to the framework."""

_LINK = re.compile(rb"/v/([0-9a-f]{32})")
_UNUSUAL = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that are left to the framework."""


class LookupFastPath:
    """Takes on what can be answered here. One for a server, used from its event loop."""

    def __init__(self, state: Any) -> None:
        """state: of the application; its `service` is there once the start is complete."""
        settings: Settings = state.settings
        self.state = state
        self.json_depth_max = settings.json_depth_max
        self.answers = Answers(settings)
        self.after_link = self.answers.protected([(b"cache-control", b"no-cache")])
        self.after_facts = self.answers.protected([(b"content-type", JSON.encode())])
        self._body_bytes_max = min(BODY_BYTES_MAX, settings.body_bytes_max)

    def take_on(self, connection: Any, method: bytes) -> RawExchange | None:
        """Begin a request whose head is there; None if the framework has to."""
        if method == b"GET":
            asked = _LINK.fullmatch(connection.url)
            if asked is None:
                return None
            headers = plain(connection.headers)
            if headers is None or b"content-length" in headers:
                return None
            return LinkLookup(self, connection, headers, asked[1].decode())
        if method == b"POST" and connection.url == b"/lookup":
            headers = plain(connection.headers)
            if headers is None or not is_json_of(headers, self._body_bytes_max):
                return None
            return CriteriaLookup(self, connection, headers)
        return None

    def refuse_busy(self, connection: Any, method: bytes, *, last: bool) -> RawExchange:
        """Answer any request at once that there is no room for it. last: close the connection."""
        headers = dict(connection.headers)
        exchange = RawExchange(self.answers, connection, headers, method.decode(), "unknown")
        exchange.keep_alive = exchange.keep_alive and not last
        exchange.refuse(ServerBusy())
        return exchange


def plain(given: list[tuple[bytes, bytes]]) -> Headers | None:
    """The headers by name; None if one stands twice or is unusual, or if a page is asked for."""
    headers = dict(given)
    if len(headers) != len(given) or not _UNUSUAL.isdisjoint(headers):
        return None
    accept = headers.get(b"accept", b"")
    if len(accept) > HEADER_BYTES_MAX or _asks_for_page(accept):
        return None
    if len(headers.get(b"accept-language", b"")) > HEADER_BYTES_MAX:
        return None
    return headers


def is_json_of(headers: Headers, bytes_max: int) -> bool:
    """Whether a body is announced that is JSON and no longer than that."""
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or not 0 < int(length) <= bytes_max:
        return False
    kind = headers.get(b"content-type", b"")
    return len(kind) <= HEADER_BYTES_MAX and _is_json(kind)


@lru_cache(256)
def _is_json(kind: bytes) -> bool:
    return kind.partition(b";")[0].strip().lower() == JSON.encode()


@lru_cache(256)
def _asks_for_page(accept: bytes) -> bool:
    return wants_page(accept.decode("latin-1"))


class LinkLookup(RawExchange):
    """GET /v/{token}."""

    __slots__ = ("_lookups", "_token")

    def __init__(
        self, lookups: LookupFastPath, connection: Any, headers: Headers, token: str
    ) -> None:
        super().__init__(lookups.answers, connection, headers, "GET", "/v/{token}")
        self._lookups = lookups
        self._token = token

    def whole(self) -> None:
        """Ask."""
        try:
            self._lookups.state.service.registry.by_token.tell(self._token, self._answer)
        except LedgerError as refusal:
            self.refuse(refusal)

    def _answer(self, rows: list[Found], failure: Exception | None) -> None:
        try:
            if failure is not None:
                self.fail(failure)
            elif rows:
                self._show(rows[0])
            else:
                self.refuse(no_such_link())
        except Exception as fault:
            self.fail(fault)

    def _show(self, row: Found) -> None:
        body, tag = link_answer(row)
        entity = tag.encode()
        given = self.headers.get(b"if-none-match")
        if given is not None and entity in [part.strip() for part in given.split(b",")]:
            lines = b"etag: %b\r\n%b" % (entity, self._lookups.after_link)
            self.send(304, lines, b"")
            return
        lines = b"etag: %b\r\ncontent-length: %d\r\ncontent-type: application/json\r\n%b" % (
            entity, len(body), self._lookups.after_link,
        )  # fmt: skip
        self.send(200, lines, body)


_PLAIN_BODY = re.compile(
    rb'\{ ?"certificate_number": ?"([0-9A-Za-z-]{1,60})", ?'
    rb'"name": ?"((?:[ !#-\[\]-~\x80-\xff]|\\u(?:[4-9][0-9a-f]{3}|00b7)){1,480})" ?\}'
)


def plainly_typed(body: bytes) -> ParsedLookup | None:
    """A number and a name as most send them, read without a parser; None if it is not that."""
    found = _PLAIN_BODY.fullmatch(body)
    if found is None:
        return None
    try:
        name = orjson.loads(b'"%b"' % found[2])
    except orjson.JSONDecodeError:  # no UTF-8
        return None
    return ParsedLookup(found[1].decode(), name) if len(name) <= NAME_TYPED_MAX else None


class CriteriaLookup(RawExchange):
    """POST /lookup."""

    __slots__ = ("_address", "_facts", "_found", "_keys", "_left", "_limit", "_lookups")

    def __init__(self, lookups: LookupFastPath, connection: Any, headers: Headers) -> None:
        super().__init__(lookups.answers, connection, headers, "POST", "/lookup")
        self._lookups = lookups
        self._limit = lookups.state.lookup_limit
        self._address = ""
        self._found: dict[str, list[Found]] = {}

    def whole(self) -> None:
        """Read the body and ask; whatever is wrong with its form, the framework tells."""
        body = bytes(self.body)
        typed: LookupBody | ParsedLookup | None = plainly_typed(body)
        if typed is None:
            try:
                check_json(body, self._lookups.json_depth_max)
                typed = LookupBody.model_validate(parse_json(body))
                ensure_two(typed)
            except (LedgerError, ValidationError):
                self.connection.leave_to_framework(self)
                return
        try:
            self._ask(typed)
        except Exception as fault:
            self.fail(fault)

    def _ask(self, typed: LookupBody | ParsedLookup) -> None:
        registry = self._lookups.state.service.registry
        self._address = self.connection.address(self.headers)
        enter(self._limit, self._address)
        self._facts = LookupCriteria.of(registry, typed)
        questions, self._keys = self._facts.questions(registry)
        self._left = len(self._keys)
        for key in self._keys:
            questions.tell(key, partial(self._hear, key))

    def _hear(self, key: str, rows: list[Found], failure: Exception | None) -> None:
        try:
            if failure is not None:
                self.fail(failure)
                return
            self._found[key] = rows
            self._left -= 1
            if self._left == 0 and not self.response_complete:
                self._answer()
        except Exception as fault:
            self.fail(fault)

    def _answer(self) -> None:
        shown = self._facts.agreeing([row for key in self._keys for row in self._found[key]])
        if not shown:
            self._limit.missed(self._address)
        body = self._facts.answer(shown)
        self.send(200, b"content-length: %d\r\n%b" % (len(body), self._lookups.after_facts), body)

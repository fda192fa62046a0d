"""The fast path of public lookups: from the parsed request to the bytes of the response.

The framework takes twenty times as long as a lookup itself. The most frequent requests, in their
plainest form, are therefore answered here; all others (with a query parameter, for a page, with a
malformed body, with a repeated header) fall back to the framework. `api.lookup.criteria` decides on
both paths what is searched and found, and a test compares the bytes of their responses.
Reading order: LookupFastPath, LinkLookup, CriteriaLookup.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from pydantic import ValidationError

from api.errors.request import ServerBusy
from api.http.middleware import check_json
from api.http.routing import JSON
from api.http.strict_json import parse_json
from api.lookup.coalescing import Row
from api.lookup.criteria import (
    LookupBody,
    LookupCriteria,
    ParsedLookup,
    link_result,
    no_such_link,
    read_body,
)
from api.lookup.rate_limit import RateLimiter
from api.lookup.registry import RegistryClient
from api.server.raw_exchange import (
    Answers,
    Headers,
    RawExchange,
    announces_json,
    plain_headers,
)
from api.settings import Settings
from domain.errors import LedgerError
from domain.values.certificate_links import LINK_PATTERN

BODY_BYTES_MAX = 4096
"""Of a lookup; a request with a longer body falls back to the framework."""

_LINK = re.compile(rf"/v/({LINK_PATTERN})".encode())


class LookupFastPath:
    """Accepts requests that it can answer. One for each server, used from its event loop."""

    def __init__(self, state: Any) -> None:
        """state: of the application; it has `service` once the start-up is complete."""
        settings: Settings = state.settings
        self.state = state
        self.json_depth_max = settings.json_depth_max
        self.answers = Answers(settings)
        self.link_headers = self.answers.protected([(b"cache-control", b"no-cache")])
        self.result_headers = self.answers.protected([(b"content-type", JSON.encode())])
        self._body_bytes_max = min(BODY_BYTES_MAX, settings.body_bytes_max)

    @property
    def registry(self) -> RegistryClient:
        """The registry of the running service."""
        registry: RegistryClient = self.state.service.registry
        return registry

    def try_accept(self, connection: Any, method: bytes) -> RawExchange | None:
        """The exchange of a request whose head is complete; None if the framework has to answer."""
        if method == b"GET":
            link = _LINK.fullmatch(connection.url)
            if link is None:
                return None
            headers = plain_headers(connection.headers)
            if headers is None or b"content-length" in headers:
                return None
            return LinkLookup(self, connection, headers, link[1].decode())
        if method == b"POST" and connection.url == b"/lookup":
            headers = plain_headers(connection.headers)
            if headers is None or not announces_json(headers, self._body_bytes_max):
                return None
            return CriteriaLookup(self, connection, headers)
        return None

    def refuse_busy(self, connection: Any, method: bytes, *, last: bool) -> RawExchange:
        """Refuse any request with ServerBusy. last: close the connection after it."""
        headers = dict(connection.headers)
        exchange = RawExchange(self.answers, connection, headers, method.decode(), "unknown")
        exchange.keep_alive = exchange.keep_alive and not last
        exchange.refuse(ServerBusy())
        return exchange


class LinkLookup(RawExchange):
    """GET /v/{token}."""

    __slots__ = ("_path", "_token")

    def __init__(self, path: LookupFastPath, connection: Any, headers: Headers, token: str) -> None:
        super().__init__(path.answers, connection, headers, "GET", "/v/{token}")
        self._path = path
        self._token = token

    def on_request_complete(self) -> None:
        """Query the registry."""
        try:
            self._path.registry.by_token.submit(self._token, self._on_rows)
        except LedgerError as refusal:
            self.refuse(refusal)

    def _on_rows(self, rows: list[Row], failure: Exception | None) -> None:
        try:
            if failure is not None:
                self.fail(failure)
            elif rows:
                self._answer(rows[0])
            else:
                self._path.registry.check_absence()
                self.refuse(no_such_link())
        except Exception as fault:
            self.fail(fault)

    def _answer(self, row: Row) -> None:
        body, tag = link_result(row)
        etag = tag.encode()
        cached = self.headers.get(b"if-none-match")
        if cached is not None and etag in [part.strip() for part in cached.split(b",")]:
            lines = b"etag: %b\r\n%b" % (etag, self._path.link_headers)
            self.send(304, lines, b"")
            return
        lines = b"etag: %b\r\ncontent-length: %d\r\ncontent-type: application/json\r\n%b" % (
            etag, len(body), self._path.link_headers,
        )  # fmt: skip
        self.send(200, lines, body)


class CriteriaLookup(RawExchange):
    """POST /lookup."""

    __slots__ = ("_address", "_criteria", "_limit", "_missing", "_path", "_rows")

    def __init__(self, path: LookupFastPath, connection: Any, headers: Headers) -> None:
        super().__init__(path.answers, connection, headers, "POST", "/lookup")
        self._path = path
        self._limit: RateLimiter = path.state.lookup_limit
        self._rows: dict[str, list[Row]] = {}

    def on_request_complete(self) -> None:
        """Read the body and search; a malformed body falls back to the framework."""
        body = bytes(self.body)
        try:
            fields = read_body(body, self._read_json)
        except (LedgerError, ValidationError):
            self.connection.fall_back_to_asgi(self)
            return
        try:
            self._search(fields)
        except Exception as fault:
            self.fail(fault)

    def _read_json(self, body: bytes) -> Any:
        check_json(body, self._path.json_depth_max)
        return parse_json(body)

    def _search(self, fields: LookupBody | ParsedLookup) -> None:
        registry = self._path.registry
        self._criteria = LookupCriteria.of(registry.search_tokens, fields)
        self._address: str = self.connection.address(self.headers)
        self._limit.charge(self._address)
        keys = self._criteria.keys
        self._missing = len(keys)
        if not keys:
            self._answer()
            return
        query = self._criteria.query(registry)
        for key in keys:
            query.submit(key, partial(self._on_rows, key))

    def _on_rows(self, key: str, rows: list[Row], failure: Exception | None) -> None:
        try:
            if failure is not None:
                self.fail(failure)
                return
            self._rows[key] = rows
            self._missing -= 1
            if self._missing == 0 and not self.response_complete:
                self._answer()
        except Exception as fault:
            self.fail(fault)

    def _answer(self) -> None:
        criteria = self._criteria
        found = criteria.matching([row for key in criteria.keys for row in self._rows[key]])
        if criteria.is_miss(found):
            self._limit.charge_miss(self._address)
            self._path.registry.check_absence()
        body = criteria.result(found)
        headers = b"content-length: %d\r\n%b" % (len(body), self._path.result_headers)
        self.send(200, headers, body)

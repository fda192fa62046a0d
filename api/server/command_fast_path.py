"""Commands without the framework: reads the request from the connection, writes the response.

Parsing and dispatching a request takes the framework longer than deciding the command. Requests
with one JSON body therefore go from here straight to their `CommandRoute`, which is the same object
that FastAPI calls: it alone admits, validates and records. This module only chooses the requests it
can read itself and leaves the others to ASGI. Reading order: CommandFastPath, CommandExchange.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from api.http.command_route import CommandRequest, CommandRoute
from api.http.middleware import check_json
from api.http.routing import JSON, WRITES
from api.server.raw_exchange import (
    Answers,
    Headers,
    RawExchange,
    announces_json,
    plain_headers,
)
from domain.errors import LedgerError

BODY_BYTES_MAX = 32_768
"""Longest body read here; ASGI can make the sender of a longer one wait."""

_PATH = re.compile(rb"/[0-9A-Za-z/._~-]*")
"""Addresses without escapes and without a query."""


class CommandFastPath:
    """Accepts the requests that need no framework. One per server, used on its event loop."""

    def __init__(self, app: FastAPI, answers: Answers) -> None:
        """app: its `service` is there once the start is complete."""
        self.state = app.state
        self.answers = answers
        settings = app.state.settings
        self.json_depth_max: int = settings.json_depth_max
        self._body_bytes_max = min(BODY_BYTES_MAX, settings.body_bytes_max)
        self._routes: dict[
            tuple[bytes, int], list[tuple[re.Pattern[str], CommandRoute | None]]
        ] = {}
        for route in app.router.routes:
            if isinstance(route, Route):
                for method in WRITES.intersection(route.methods or ()):
                    key = method.encode(), route.path.count("/")
                    found = self._routes.setdefault(key, [])
                    found.append((route.path_regex, plain_json_route(route)))

    def try_accept(self, connection: Any, method: bytes) -> RawExchange | None:
        """The exchange of a request whose head is complete; None if the framework has to answer."""
        url: bytes = connection.url
        routes = self._routes.get((method, url.count(b"/")))
        if routes is None or not _PATH.fullmatch(url):
            return None
        path = url.decode()
        matches = ((pattern.match(path), route) for pattern, route in routes)
        match, route = next((each for each in matches if each[0] is not None), (None, None))
        if match is None or route is None:
            return None
        headers = plain_headers(connection.headers)
        if headers is None or not announces_json(headers, self._body_bytes_max):
            return None
        exchange = CommandExchange(self.answers, connection, headers, method.decode(), route.path)
        exchange.accept(self, route, path, match.groupdict())
        return exchange


def plain_json_route(route: Route) -> CommandRoute | None:
    """The route if it records a command from a JSON body and takes nothing else; else None."""
    return route if isinstance(route, CommandRoute) and route.media_types == (JSON,) else None


class RawHeaders:
    """Headers as the connection has them, read by name as text."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def get(self, name: str, /) -> str | None:
        """The value of a header, by its lower-case name."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")


class CommandExchange(RawExchange):
    """A request that records one command."""

    __slots__ = ("_command_route", "_fast_path", "_path", "_path_params")

    def accept(
        self,
        fast_path: CommandFastPath,
        route: CommandRoute,
        path: str,
        path_params: dict[str, str],
    ) -> None:
        """Remember where the request goes, until its body is complete."""
        self._fast_path = fast_path
        self._command_route = route
        self._path = path
        self._path_params = path_params

    def on_request_complete(self) -> None:
        """Give the request to its route, unless the middleware would refuse the body."""
        body = bytes(self.body)
        try:
            check_json(body, self._fast_path.json_depth_max)
        except LedgerError:
            self.connection.fall_back_to_asgi(self)
            return
        service = self._fast_path.state.service
        request = CommandRequest(
            service, self.method, self._path, self._path_params, RawHeaders(self.headers), body
        )
        tasks = self.connection.tasks
        task = self.connection.loop.create_task(self._respond(request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _respond(self, request: CommandRequest) -> None:
        try:
            response = await self._command_route.respond(request)
        except Exception as fault:
            self._log_role(request)
            self.fail(fault)
        else:
            self._log_role(request)
            lines = self.answers.protected(response.raw_headers)
            self.send(response.status_code, lines, bytes(response.body))

    def _log_role(self, request: CommandRequest) -> None:
        if request.principal is not None:
            self.role = request.principal.role.value

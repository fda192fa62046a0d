"""Commands past the framework: from the parsed request to the handler of its route.

What the framework finds out about a request (its route, who calls, what the body says) takes it
longer than deciding the command. For the routes that take one JSON body and record one command it
is found out here instead, with the same parts: the route's own pattern, fields and handler. Only
what is right in every way is carried out; whatever would be refused before its handler, or is
unusual, is left to the framework, which says why. Reading order: QuickCommands, Direct, ByCommand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from fastapi import FastAPI
from fastapi.params import Form

from api.auth.permissions import admit
from api.auth.tokens import Principal
from api.http.context import AppContext
from api.http.dependencies import CommandContext, writing
from api.http.idempotency import canonical_value, fingerprint, idempotency_key
from api.http.middleware import check_json
from api.http.routing import JSON, WRITES, AuthorizedRoute, body_types
from api.http.strict_json import parse_json
from api.server.lookup_fast_path import is_json_of, plain
from api.server.raw_exchange import Answers, Headers, RawExchange
from domain.errors import LedgerError

BODY_BYTES_MAX = 32_768
"""Of a command; a longer body is left to the framework, which can make its sender wait."""

_PATH = re.compile(rb"/[0-9A-Za-z/._~-]*")
"""Addresses that say what they say: nothing escaped, no query."""


class CommandFastPath:
    """Takes on what can be carried out here. One for a server, used from its event loop."""

    def __init__(self, app: FastAPI, answers: Answers) -> None:
        """app: its `service` is there once the start is complete."""
        self.state = app.state
        self.answers = answers
        settings = app.state.settings
        self.json_depth_max: int = settings.json_depth_max
        self._body_bytes_max = min(BODY_BYTES_MAX, settings.body_bytes_max)
        self._routes: dict[tuple[bytes, int], list[tuple[re.Pattern[str], DirectRoute | None]]] = {}
        for route in app.router.routes:
            methods = getattr(route, "methods", None) or ()
            for method in WRITES.intersection(methods):
                found = self._routes.setdefault((method.encode(), route.path.count("/")), [])
                found.append((route.path_regex, direct(route)))

    def take_on(self, connection: Any, method: bytes) -> RawExchange | None:
        """Begin a request whose head is there; None if the framework has to."""
        url: bytes = connection.url
        routes = self._routes.get((method, url.count(b"/")))
        if routes is None or not _PATH.fullmatch(url):
            return None
        path = url.decode()
        found = route = None
        for pattern, route in routes:  # noqa: B007 (the one that matches)
            found = pattern.match(path)
            if found is not None:
                break
        if found is None:
            return None
        headers = None if route is None else plain(connection.headers)
        if route is None or headers is None or b"occurred-at" in headers:
            return None
        if not is_json_of(headers, self._body_bytes_max):
            return None
        return CommandExchange(self, connection, headers, route, path, found.groupdict())


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """A route whose handler needs nothing but the write, ids in the path, and a JSON body."""

    route: AuthorizedRoute
    write: str
    path_fields: tuple[Any, ...]
    body_field: Any

    def arguments(self, in_path: dict[str, str], body: Any) -> dict[str, Any] | None:
        """What its handler is called with, beside the write; None if something is wrong."""
        given: dict[str, Any] = {}
        for field in self.path_fields:
            given[field.name], wrong = field.validate(in_path[field.alias], {}, loc=())
            if wrong:
                return None
        given[self.body_field.name], wrong = self.body_field.validate(body, {}, loc=())
        return None if wrong else given


def direct(route: Any) -> DirectRoute | None:
    """How to call a route without the framework; None if it needs the framework."""
    if not isinstance(route, AuthorizedRoute) or body_types(route) != (JSON,):
        return None
    needs = route.dependant
    if [each.call for each in needs.dependencies] != [writing] or len(needs.body_params) != 1:
        return None
    others = (needs.query_params, needs.header_params, needs.cookie_params)
    whole_request = (needs.request_param_name, needs.response_param_name)
    body = needs.body_params[0]
    if any(others) or any(whole_request) or isinstance(body.field_info, Form):
        return None
    assert iscoroutinefunction(route.endpoint) and route.records
    return DirectRoute(route, needs.dependencies[0].name, tuple(needs.path_params), body)


class CommandExchange(RawExchange):
    """A request that records one command."""

    __slots__ = ("_in_path", "_path", "_quick", "_route")

    def __init__(
        self,
        quick: CommandFastPath,
        connection: Any,
        headers: Headers,
        route: DirectRoute,
        path: str,
        in_path: dict[str, str],
    ) -> None:
        method = next(iter(route.route.methods))
        super().__init__(quick.answers, connection, headers, method, route.route.path)
        self._quick = quick
        self._route = route
        self._path = path
        self._in_path = in_path

    def whole(self) -> None:
        """Call the handler; what is not right in every way is told by the framework."""
        service: AppContext = self._quick.state.service
        try:
            write = self._write(service)
        except LedgerError:
            write = None
        if write is None:
            self.connection.leave_to_framework(self)
            return
        running, arguments = write
        service.running.add(running)
        tasks = self.connection.tasks
        task = self.connection.loop.create_task(self._answer(service, running, arguments))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _write(self, service: AppContext) -> tuple[tuple[str, str, str], dict[str, Any]] | None:
        """Under which name it runs, and what its handler is called with.

        Raises: the LedgerError that refuses it.
        """
        ledger = service.opened(self._in_path["ledger"])
        principal = self._principal(service)
        if ledger is None or principal is None:
            return None
        admit(self._route.route.operation, principal, ledger.name)
        self.role = principal.role.value
        key = idempotency_key(self.headers[b"idempotency-key"].decode("latin-1"))
        running = ledger.name, principal.subject, key
        body = bytes(self.body)
        check_json(body, self._quick.json_depth_max)
        value = parse_json(body)
        arguments = self._route.arguments(self._in_path, value)
        if arguments is None or running in service.running:
            return None
        arguments[self._route.write] = CommandContext(
            service=service,
            ledger=ledger,
            principal=principal,
            key=key,
            request_hash=fingerprint(self.method, self._path, "", canonical_value(value)),
            occurred_at=None,
            base=f"/ledgers/{ledger.name}",
        )
        return running, arguments

    def _principal(self, service: AppContext) -> Principal | None:
        """Who calls, if their token was checked before."""
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or b"idempotency-key" not in self.headers:
            return None
        return service.tokens.checked(token.strip().decode("latin-1"))

    async def _answer(
        self, service: AppContext, running: tuple[str, str, str], arguments: dict[str, Any]
    ) -> None:
        try:
            response = await self._route.route.endpoint(**arguments)
        except Exception as fault:
            service.running.discard(running)
            self.fail(fault)
        else:
            service.running.discard(running)
            lines = self.answers.protected(response.raw_headers)
            self.send(response.status_code, lines, response.body)

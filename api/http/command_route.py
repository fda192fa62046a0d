"""The way of every write, from HTTP to the receipt: admitted here, and nowhere else.

A `CommandRoute` is a row of data: a command's spec and its address. It checks who calls, the
idempotency key and the body, records the command and answers with the receipt. Two callers use it:
FastAPI, through which also forms and tables come, and the connection's fast path, which has read
the request without the framework. Both give it a `CommandRequest` and get the same response.

Order of refusals: token, role, ledgers of the token, query parameters, media type, JSON text,
idempotency key, the same request in progress, name of the ledger, unknown ledger, half a surrogate
pair in the body, `Occurred-At`, then path and body values together.
Reading order: CommandRequest, CommandRoute, `respond`, `carry_out`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.auth.tokens import Principal
from api.errors.request import RequestInProgress
from api.errors.validation import invalid_request
from api.http.body_models import ACCEPTED, RECORDED, request_model
from api.http.canonical_request import canonical_request, canonical_value, idempotency_key
from api.http.context import AppContext
from api.http.dependencies import (
    CommandContext,
    IdempotencyKeyHeader,
    LedgerName,
    OccurredAtHeader,
    ThingId,
    occurred_moment,
    receipt_response,
)
from api.http.routing import JSON, AuthorizedRoute, authenticate, media_type_of
from api.http.routing import Handler as AsgiHandler
from api.http.strict_json import parse_json
from domain.command_spec import CommandSpec
from domain.decision import Command
from domain.errors import LedgerError
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.values.primitives import LEDGER_PATTERN

Handler = Callable[..., Awaitable[Response]]
"""Records what a request asks for in its own way: takes the `CommandContext`, the `CommandRequest`,
then by name the ids of the path and, where the route has a body model, the `body`."""

_IN_BRACES = re.compile(r"\{(\w+)\}")
_LEDGER_NAME = re.compile(LEDGER_PATTERN)


NO_VALUE = object()
"""The value of a body that is empty or not JSON; `null` is a value."""


class Headers(Protocol):
    """The headers of a request by lower-case name."""

    def get(self, name: str, /) -> str | None: ...


class CommandRequest:
    """One write as HTTP gave it, independent of who read it from the connection.

    path: decoded, without the query. principal, key, value: set by the admission; value is the
    parsed JSON body, `NO_VALUE` without one.
    """

    __slots__ = (
        *("body", "headers", "key", "media_type", "method", "path", "path_params", "principal"),
        *("query", "service", "value"),
    )

    def __init__(
        self,
        service: AppContext,
        method: str,
        path: str,
        path_params: dict[str, str],
        headers: Headers,
        body: bytes,
        query: str = "",
    ) -> None:
        self.service = service
        self.method = method
        self.path = path
        self.path_params = path_params
        self.headers = headers
        self.body = body
        self.query = query
        self.media_type = media_type_of(headers.get("content-type") or "")
        self.principal: Principal | None = None
        self.key = ""
        self.value: Any = NO_VALUE

    def parse_body(self) -> None:
        """Parse a JSON body, once. Raises: MalformedJson, JsonKeyTwice."""
        if self.value is NO_VALUE and self.body and self.media_type == JSON:
            self.value = parse_json(self.body)


class CommandRoute(AuthorizedRoute):
    """A route that records commands of one class."""

    def __init__(
        self,
        spec: CommandSpec[Any],
        address: str,
        operation: str,
        *,
        tag: str,
        summary: str,
        docs: str,
        example: dict[str, Any] | None = None,
        location: str = "",
        left_out: tuple[str, ...] = (),
        handler: Handler | None = None,
        openapi_extra: dict[str, Any] | None = None,
        responses: dict[int | str, dict[str, Any]] = RECORDED,
    ) -> None:
        """Declare a route.

        address: method and path within the ledger; its ids are fields of the command.
        example: of the body, which is the command without those ids; a test holds it valid.
        location: path within the ledger of what was recorded; its ids are fields of the command, or
            of the outcome where the command leaves them to be made.
        left_out: fields that the handler fills, not the caller.
        handler: for what is not one JSON body and one command. openapi_extra: documents its body.
        """
        method, _, path = address.partition(" ")
        self.handler = handler
        self.ids = tuple(_IN_BRACES.findall(path))
        self.body_model: type[BaseModel] | None = None
        in_body = set(spec.command.model_fields) - {*self.ids, *left_out}
        if in_body and openapi_extra is None:
            self.body_model = request_model(
                spec.command, *self.ids, *left_out, example=example or {}
            )
        self._location_ids = tuple(_IN_BRACES.findall(location))
        self._location = _IN_BRACES.sub("%s", location)
        super().__init__(
            f"/ledgers/{{ledger}}{path}".rstrip("/"),
            _documented_endpoint(operation, _path_types(spec.command, self.ids), self.body_model),
            spec=spec,
            methods=[method],
            operation_id=operation,
            tags=[tag],
            summary=summary,
            description=inspect.cleandoc(docs),
            status_code=_status_of(responses),
            responses=responses,
            openapi_extra=openapi_extra,
        )
        self._command: type[Command] = spec.command
        self._status = _status_of(responses) or 201

    async def respond(self, request: CommandRequest) -> Response:
        """Admit a request and carry it out.

        Raises: the LedgerError that refuses it; see the order above.
        """
        service, ledger = request.service, request.path_params["ledger"]
        authorization = request.headers.get("authorization")
        principal = request.principal = await authenticate(service.tokens, authorization)
        parameters = QueryParams(request.query) if request.query else ()
        self.check(principal, ledger, parameters, request.media_type)
        assert principal is not None, "no command is public"
        if JSON in self.media_types:
            request.parse_body()
        request.key = idempotency_key(request.headers.get("idempotency-key"))
        in_progress = (ledger, principal.subject, request.key)
        if in_progress in service.running:
            raise RequestInProgress()
        service.running.add(in_progress)
        try:
            if not _LEDGER_NAME.fullmatch(ledger):
                raise self._invalid(request)
            return await self.carry_out(request)
        finally:
            service.running.discard(in_progress)

    async def carry_out(self, request: CommandRequest) -> Response:
        """Record what an admitted request asks for.

        Raises: UnknownLedger, and what `context` and `command` raise; the refusal of the command.
        """
        ledger = await request.service.ledger(request.path_params["ledger"])
        ledger.guard.check_read()  # a command may be preceded by reads
        context = self.context(request, ledger)
        if self.handler is not None:
            return await self.handler(context, request, **self._arguments(request))
        command = self.command(request)
        return self.receipt_response(context, command, await context.record(command))

    def context(self, request: CommandRequest, ledger: Ledger) -> CommandContext:
        """Ledger, actor, key and canonical form of a request.

        Raises: MalformedJson for a lone surrogate, BackfillNotAllowed, OccurredAtMalformed.
        """
        assert request.principal is not None
        request.parse_body()
        canonical = b"" if request.value is NO_VALUE else canonical_value(request.value)
        return CommandContext(
            service=request.service,
            ledger=ledger,
            principal=request.principal,
            key=request.key,
            request=canonical_request(request.method, request.path, request.query, canonical),
            occurred_at=occurred_moment(request.headers.get("occurred-at"), request.principal),
            base=f"/ledgers/{ledger.name}",
        )

    def command(self, request: CommandRequest) -> Command:
        """The command that path and body ask for. Raises: InvalidRequest."""
        values = self._values(request)
        if values is not None:
            try:
                return self._command.model_validate(values)
            except ValidationError:
                pass
        raise self._invalid(request)

    def _values(self, request: CommandRequest) -> dict[str, Any] | None:
        """The command's fields; None for a body that is no object or repeats an id of the path."""
        ids = {name: request.path_params[name] for name in self.ids}
        if self.body_model is None:
            return ids
        # An id that the body repeats is an unknown member of the body.
        if not isinstance(request.value, dict) or not request.value.keys().isdisjoint(ids):
            return None
        return request.value | ids

    def receipt_response(
        self, context: CommandContext, command: Command, receipt: Receipt
    ) -> Response:
        """The answer to a command that was recorded, now or before."""
        # What was recorded may be another thing than the command names: a person who is known.
        ids = [receipt.outcome.get(name) or getattr(command, name) for name in self._location_ids]
        return receipt_response(
            receipt, context.path(self._location % tuple(ids)), status=self._status
        )

    # --- what is unusual --------------------------------------------------------------------------

    def _arguments(self, request: CommandRequest) -> dict[str, Any]:
        """Ids and body of a route with a handler, validated. Raises: InvalidRequest."""
        try:
            ids = self._path_model.model_validate(request.path_params)
            arguments = {name: getattr(ids, name) for name in self.ids}
            if self.body_model is not None:
                arguments["body"] = self.body_model.model_validate(request.value)
        except ValidationError:
            raise self._invalid(request) from None
        return arguments

    @cached_property
    def _path_model(self) -> type[BaseModel]:
        """The ledger's name and the ids of the path."""
        types = {"ledger": LedgerName, **_path_types(self._command, self.ids)}
        fields: dict[str, Any] = {name: (each, ...) for name, each in types.items()}
        return create_model("PathValues", __config__=ConfigDict(extra="ignore"), **fields)

    def _invalid(self, request: CommandRequest) -> LedgerError:
        """Names every fault of path and body, in the words and places of the framework."""
        errors = _errors(self._path_model, request.path_params, "path")
        if self.body_model is not None:
            if request.value is NO_VALUE:
                errors.append({"type": "missing", "loc": ("body",), "msg": "Field required"})
            else:
                errors += _errors(self.body_model, request.value, "body")
        if not errors:  # then the command itself forbids the combination of its values
            errors = _errors(self._command, self._values(request), "body")
        return invalid_request(errors)

    # --- the framework ----------------------------------------------------------------------------

    def get_route_handler(self) -> AsgiHandler:
        """The route as FastAPI calls it: without its own validation, which is done here."""

        async def handle(request: Request) -> Response:
            command_request = CommandRequest(
                request.app.state.service,
                request.method,
                request.url.path,
                request.path_params,
                request.headers,
                await request.body(),
                request.url.query,
            )
            try:
                return await self.respond(command_request)
            finally:
                request.state.principal = command_request.principal  # for the access log

        return handle


def _status_of(responses: dict[int | str, dict[str, Any]]) -> int | None:
    """The status of a route that records one command; None for any other."""
    return 201 if responses is RECORDED else 202 if responses is ACCEPTED else None


def _errors(model: type[BaseModel], value: Any, where: str) -> list[dict[str, Any]]:
    """What is wrong with a value, with its place in the request."""
    try:
        model.model_validate(value, from_attributes=True)
    except ValidationError as wrong:
        return [{**error, "loc": (where, *error["loc"])} for error in wrong.errors()]
    return []


def _path_types(command: type[Command], names: Iterable[str]) -> dict[str, Any]:
    """Types of the ids of a path: any id, or the enumeration of the command's field."""
    types: dict[str, Any] = {}
    for name in names:
        field = command.model_fields.get(name)
        annotation = None if field is None else field.annotation
        is_enumeration = isinstance(annotation, type) and issubclass(annotation, Enum)
        types[name] = annotation if is_enumeration else ThingId
    return types


async def _documented_headers(
    ledger: LedgerName,
    idempotency_key: IdempotencyKeyHeader,
    occurred_at: OccurredAtHeader = None,
) -> None:
    """What FastAPI documents of every command; `CommandRoute` itself reads it."""


def _documented_endpoint(
    operation: str, path_types: dict[str, Any], body_model: type[BaseModel] | None
) -> Callable[..., Any]:
    """A function from whose signature FastAPI documents the route; it is never called."""

    async def endpoint(**_: Any) -> Response:
        raise AssertionError("a CommandRoute answers by itself")

    given = {"headers": Annotated[None, Depends(_documented_headers)], **path_types}
    if body_model is not None:
        given["body"] = body_model
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in given.items()
    ]
    endpoint.__name__ = operation
    endpoint.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by inspect
        parameters, return_annotation=Response
    )
    return endpoint

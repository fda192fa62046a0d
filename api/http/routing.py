"""The kind of route this service is made of: guarded, documented, never blocking.

Before a handler runs, and before its body is even parsed, the route asks who calls and whether
they may. Writes also need an Idempotency-Key and a body of the right type. Reading order:
GuardedRoute, router, then what a route says about itself in OpenAPI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.auth.permissions import PUBLIC, admit, roles_for
from api.auth.tokens import Principal, TokenInvalid
from api.errors.problem_details import STATUS, Problem
from api.errors.request import MediaTypeUnsupported, RequestInProgress, UnknownParameter
from api.http.idempotency import idempotency_key
from api.http.strict_json import JsonRequest

Handler = Callable[[Request], Awaitable[Response]]

JSON = "application/json"
MULTIPART = "multipart/form-data"
CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_NAME_SHOWN_MAX = 60
"""Characters of an unknown parameter's name that are repeated."""

WRITES = frozenset({"POST", "PUT"})

ASKS_BY_POST = frozenset({"lookup_certificate", "find_person"})
"""What reads by POST, because personal data have no place in an address."""


class AuthorizedRoute(APIRoute):
    """A route with a row in the access table. Raises: UnguardedRoute when it has none."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        super().__init__(path, endpoint, **given)
        self.operation = self.operation_id or self.name
        self.roles = roles_for(self.operation)
        self.records = is_recording(self)
        # A filter with a typing error must not silently become no filter.
        self.parameters = query_names(self.dependant)

    def get_route_handler(self) -> Any:
        """The handler behind its guard."""
        return guarded(self, super().get_route_handler())


def query_names(dependant: Any) -> set[str]:
    """Names of the query parameters of a handler and of what it depends on."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*(query_names(each) for each in dependant.dependencies))


def is_recording(route: APIRoute) -> bool:
    """Whether a route records something; looking up by POST does not."""
    return bool(WRITES & set(route.methods or ())) and route.operation_id not in ASKS_BY_POST


def guarded(route: AuthorizedRoute, handle: Handler) -> Handler:
    """A handler that runs only for who may, once at a time for each Idempotency-Key."""

    async def check_first(request: Request) -> Response:
        service = request.app.state.service
        # On a public route a token changes nothing, so a stale one must not get in the way.
        principal = None
        if route.roles is not PUBLIC:
            principal = await principal_of(request)
            request.state.principal = principal
        admit(route.operation, principal, request.path_params.get("ledger"))
        _check_parameters(request, route)
        _check_media_type(request, route)
        request = JsonRequest(request.scope, request.receive)
        if JSON in body_types(route) and is_json(request) and await request.body():
            await request.json()
        if not route.records or principal is None:
            return await handle(request)
        key = idempotency_key(request.headers.get("idempotency-key"))
        request.state.key = key
        running = (request.path_params.get("ledger", ""), principal.subject, key)
        if running in service.running:
            raise RequestInProgress()
        service.running.add(running)
        try:
            return await handle(request)
        finally:
            service.running.discard(running)

    return check_first


async def principal_of(request: Request) -> Principal | None:
    """Who the request's bearer token speaks for; None without one.

    Raises: TokenInvalid, IssuerUnreachable.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenInvalid(reason="not_a_bearer_token")
    principal: Principal = await request.app.state.service.tokens.check(token.strip())
    return principal


def _check_parameters(request: Request, route: AuthorizedRoute) -> None:
    """Every parameter is one the route documents. Raises: UnknownParameter."""
    for name in request.query_params:
        if name not in route.parameters:
            allowed = ", ".join(sorted(route.parameters)) or "none"
            raise UnknownParameter(name=name[:_NAME_SHOWN_MAX], allowed=allowed)


def is_json(request: Request) -> bool:
    """Whether the body says that it is JSON."""
    return media_type(request) == JSON


def media_type(request: Request) -> str:
    """The type of the body without its parameters, in small letters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_media_type(request: Request, route: AuthorizedRoute) -> None:
    """A body is of one of the types the route documents. Raises: MediaTypeUnsupported."""
    wanted = body_types(route)
    if not wanted or request.method not in WRITES:
        return
    if media_type(request) not in wanted:
        raise MediaTypeUnsupported(wanted=", ".join(wanted))


def body_types(route: APIRoute) -> tuple[str, ...]:
    """Media types a route takes its body in; empty for none."""
    declared = (route.openapi_extra or {}).get("requestBody", {}).get("content")
    if declared:
        return tuple(declared)
    return (JSON,) if route.body_field is not None else ()


def router(tag: str, prefix: str = "/ledgers/{ledger}") -> APIRouter:
    """A router of guarded routes under one tag."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=AuthorizedRoute)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of refusals with these statuses."""
    return {
        status: {
            "model": Problem,
            "description": _MEANING[status],
            "content": {"application/problem+json": {}},
        }
        for status in sorted(set(statuses))
    }


_MEANING = {
    400: "请求格式有误 · the request is not well formed",
    401: "缺少令牌或令牌无效 · no token, or one that is not good",
    403: "无权进行此操作 · this caller may not do this",
    404: "不存在 · there is no such thing",
    405: "不支持的方法 · not that method",
    409: "与当前状态冲突 · its present state forbids it",
    413: "请求体过大 · the body is too large",
    415: "不支持的内容类型 · not that type of body",
    429: "过于频繁 · too many in too short a time",
    422: "违反规则或值无效 · against a rule, or a wrong value",
    500: "服务内部错误 · something went wrong on our side",
    503: "暂时无法处理,可重试 · not now; the same request may be sent again",
}

READING = problems(400, 401, 403, 404, 422, 500, 503)
OPEN_READING = problems(400, 404, 422, 500, 503)
WRITING = problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 503)

assert set(STATUS.values()) <= set(_MEANING), "every status a refusal can have is explained"


def file_response(media_types: Sequence[str], what: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI response of a download."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"description": what, "content": dict.fromkeys(media_types, schema)}}

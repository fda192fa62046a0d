"""The routes of the service: authorised before anything else, documented, never blocking.

Before a handler runs, and before its body is parsed, a route asks who calls and whether they may.
Reading order: AuthorizedRoute, router, then what a route says about itself in OpenAPI. Writes are
`api.http.command_route.CommandRoute`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.auth.permissions import PUBLIC, UnauthorizedRoute, require_role, roles_of_read
from api.auth.tokens import Principal, TokenChecker, TokenInvalid
from api.errors.problem_details import STATUS, Problem
from api.errors.request import MediaTypeUnsupported, UnknownParameter
from api.http.strict_json import JsonRequest
from domain.actors import ROLES_OF_PEOPLE
from domain.command_spec import CommandSpec

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

JSON = "application/json"
MULTIPART = "multipart/form-data"
CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_NAME_SHOWN_MAX = 60
"""Characters of an unknown parameter's name that are repeated."""

WRITES = frozenset({"POST", "PUT"})

READ_VIA_POST = frozenset({"lookup_certificate", "find_person"})
"""Reads that use POST, because personal data have no place in an address."""


class AuthorizedRoute(APIRoute):
    """A route with declared roles: those of its command, or its row in the table of reads.

    Raises: UnauthorizedRoute for a read without a row, and for a write without a command.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        spec: CommandSpec[Any] | None = None,
        **given: Any,
    ) -> None:
        """spec: of the command that the route records; None for a read."""
        super().__init__(path, endpoint, **given)
        self.operation = self.operation_id or self.name
        self.spec = spec
        if (
            spec is None
            and WRITES & set(self.methods or ())
            and self.operation not in READ_VIA_POST
        ):
            raise UnauthorizedRoute(f"route {self.operation!r} writes, but names no command")
        self.roles = (
            roles_of_read(self.operation)
            if spec is None
            else spec.roles.intersection(ROLES_OF_PEOPLE)
        )
        self.media_types = self._media_types()
        # A filter with a typing error must not silently become no filter.
        self._parameters = query_names(self.dependant)

    def _media_types(self) -> tuple[str, ...]:
        """Media types a route takes its body in; empty for none."""
        declared = (self.openapi_extra or {}).get("requestBody", {}).get("content")
        if declared:
            return tuple(declared)
        return (JSON,) if self.body_field is not None else ()

    def check(
        self,
        principal: Principal | None,
        ledger: str | None,
        parameters: Iterable[str],
        media_type: str,
    ) -> None:
        """What every request has to pass before its body is parsed.

        ledger: the one in the path, None where there is none. parameters: names in the query.
        Raises: TokenMissing, RoleNotAllowed, LedgerNotInToken, UnknownParameter,
            MediaTypeUnsupported.
        """
        require_role(self.roles, principal, ledger)
        for name in parameters:
            if name not in self._parameters:
                allowed = ", ".join(sorted(self._parameters)) or "none"
                raise UnknownParameter(name=name[:_NAME_SHOWN_MAX], allowed=allowed)
        if self.media_types and media_type not in self.media_types:
            raise MediaTypeUnsupported(wanted=", ".join(self.media_types))

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, behind the check."""
        handle = super().get_route_handler()

        async def check_first(request: Request) -> Response:
            # On a public route a token changes nothing, so a stale one must not get in the way.
            principal = None
            if self.roles is not PUBLIC:
                tokens: TokenChecker = request.app.state.service.tokens
                principal = await authenticate(tokens, request.headers.get("authorization"))
                request.state.principal = principal
            media_type = media_type_of(request.headers.get("content-type", ""))
            ledger = request.path_params.get("ledger")
            self.check(principal, ledger, request.query_params, media_type)
            request = JsonRequest(request.scope, request.receive)
            if self.media_types and media_type == JSON and await request.body():
                await request.json()
            return await handle(request)

        return check_first


@lru_cache(256)
def media_type_of(content_type: str) -> str:
    """The type of a body without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def query_names(dependant: Dependant) -> set[str]:
    """Names of the query parameters of a handler and of its dependencies."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*(query_names(each) for each in dependant.dependencies))


async def authenticate(tokens: TokenChecker, authorization: str | None) -> Principal | None:
    """Who a bearer token speaks for; None without an Authorization header.

    Raises: TokenInvalid, IssuerUnreachable.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenInvalid(reason="not_a_bearer_token")
    return await tokens.check(token)


def router(tag: str, prefix: str = "/ledgers/{ledger}") -> APIRouter:
    """A router of authorised routes under one tag."""
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
    410: "个人信息已删除 · the personal data were erased",
    413: "请求体过大 · the body is too large",
    415: "不支持的内容类型 · not that type of body",
    429: "过于频繁 · too many in too short a time",
    422: "违反规则或值无效 · against a rule, or a wrong value",
    500: "服务内部错误 · something went wrong on our side",
    503: "暂时无法处理,可重试 · not now; the same request may be sent again",
}

READING = problems(400, 401, 403, 404, 410, 422, 500, 503)
OPEN_READING = problems(400, 404, 422, 500, 503)
WRITING = problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 500, 503)

assert set(STATUS.values()) <= set(_MEANING), "every status a refusal can have is explained"


def file_response(media_types: Sequence[str], what: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI response of a download."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"description": what, "content": dict.fromkeys(media_types, schema)}}

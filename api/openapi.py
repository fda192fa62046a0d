"""The OpenAPI document: what the routes say, and what is true of all of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.auth.permissions import PUBLIC
from api.http.routing import AuthorizedRoute
from api.routes.certificates import NumbersBody
from api.routes.scores import ScoresBody, VerificationsBody

VERSION = "0.1.0"
SUMMARY = "职业技能等级认定报考账本 · event-sourced ledger of vocational-skill certification"
DESCRIPTION = """\
每一步都是一条不可更改的事实:资质评估、缴费、资料与三级审核、考试、成绩公示、证书、退费、上报。
Every step is a fact that never changes: eligibility, fee, documents and three reviews, exam, public
notice, certificates, refunds, the report upward.

**写 · Writing.** Every write carries an `Idempotency-Key`; the same request sent again gives the
same answer with `Idempotency-Replayed: true`, for a day and by default a month at most; afterwards
it is 409 `idempotency_key_expired`. The same key with another request is 422, while the first is
still running 409. Put no name and no number of a person into a key. A status of 400 or more means
that nothing was recorded, except `outcome_unknown`: ask again with the same key.

**读 · Reading.** Every write answers with its position. Lists and boards are views that follow the
journal within moments; give them `min_position` to read your own writes. `as_of` shows a view as
it was. Money is whole fen (分), times are RFC 3339, marks are text in half points.

**错误 · Errors** are `application/problem+json` in Chinese or English (`Accept-Language`), with a
stable `code`, `retryable`, and a `trace_id` that finds the request in our logs.
"""
TAGS = [
    {"name": "账本 · Ledgers", "description": "评价机构的账本与收费标准"},
    {"name": "规则版本 · Editions of rules", "description": "日历、条件、资料、收费等规则的版本"},
    {"name": "人员 · People", "description": "考生身份,加密保存,可删除"},
    {"name": "报考 · Applications", "description": "资质评估与报考的全部历史"},
    {"name": "缴费 · Payments", "description": "认证费用与学员资料"},
    {"name": "资料与审核 · Documents and reviews", "description": "资料提交、初审、复审、终审"},
    {"name": "退费 · Refunds", "description": "原路退回、四眼原则"},
    {"name": "考试 · Exams", "description": "场次、座位、准考证"},
    {"name": "成绩 · Scores", "description": "登记、复核、更正"},
    {"name": "公示 · Public notices", "description": "成绩公示与异议"},
    {"name": "证书 · Certificates", "description": "双证的编号与状态"},
    {"name": "上报 · Reports", "description": "证书数据上报与回执"},
    {"name": "财务 · Finance", "description": "退费台账与分录"},
    {"name": "查询 · Lookup", "description": "全国证书查询与核验"},
    {"name": "监管 · Oversight", "description": "事件流与人才统计"},
    {"name": "服务 · Service", "description": "健康与就绪"},
]

SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "令牌含 sub、role、org、ledgers、exp · one person in one role, good for the "
        "ledgers it names",
    }
}

BY_HAND: tuple[type[BaseModel], ...] = (NumbersBody, ScoresBody, VerificationsBody)
"""Bodies of routes that read them by hand, because they also take a table."""

REF = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """Serve the document that `document` makes, made once."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(document(app))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=app.servers,
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for model in BY_HAND:
        schema = model.model_json_schema(ref_template=REF)
        for name, part in schema.pop("$defs", {}).items():
            schemas.setdefault(name, part)
        schemas[model.__name__] = schema
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    found["components"]["securitySchemes"] = SECURITY
    routes = {r.operation: r for r in app.routes if isinstance(r, AuthorizedRoute)}
    for item in found["paths"].values():
        for operation in item.values():
            _complete(operation, routes[operation["operationId"]])
    return found


def _complete(operation: dict[str, Any], route: AuthorizedRoute) -> None:
    """What holds for every operation: who may, and how errors come."""
    if route.roles is PUBLIC:
        operation["security"] = []
    else:
        operation["security"] = [{"bearer": []}]
        operation["x-roles"] = sorted(role.value for role in route.roles or ())
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        # The framework puts every model under application/json; refusals are problems.
        if status >= "400" and "application/json" in content:
            content["application/problem+json"] = content.pop("application/json")
        if status >= "400":
            response.setdefault("headers", {}).update(_REFUSAL_HEADERS.get(status, {}))


_REFUSAL_HEADERS: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    "429": {"Retry-After": {"schema": {"type": "string"}}},
    "503": {"Retry-After": {"schema": {"type": "string"}}},
}

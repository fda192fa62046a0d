"""Validation errors of a request's values, one by one, without repeating a value.

A value may be a name or a document number, so neither response nor log may contain it: only its
place, a stable code, and the limits it breaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.errors.request import InvalidRequest, MalformedJson
from domain.errors import LedgerError

FAULTS_MAX = 50
"""Faults reported of one request."""

_LIMITS = ("min_length", "max_length", "ge", "gt", "le", "lt", "pattern", "expected")
"""Parts of a pydantic error that come from the schema, not from the request."""


def invalid_request(errors: Iterable[Mapping[str, Any]], where: str | None = None) -> LedgerError:
    """The error for pydantic's findings; at most FAULTS_MAX of them are listed.

    where: body, query, path or header, if the errors' own locations do not begin with it.
    """
    problems: list[dict[str, Any]] = []
    count = 0
    for error in errors:
        if error["type"] == "json_invalid":
            return MalformedJson()
        if _is_false_count(error):
            continue
        count += 1
        if count <= FAULTS_MAX:
            place = (where, *error["loc"]) if where else tuple(error["loc"])
            problems.append(_problem(error, place))
    return InvalidRequest(count=count, problems=problems)


def _is_false_count(error: Mapping[str, Any]) -> bool:
    """Whether a list is reported as too short only because its invalid items were not counted."""
    given, context = error.get("input"), error.get("ctx") or {}
    return (
        error["type"] == "too_short"
        and isinstance(given, list | tuple)
        and len(given) >= context.get("min_length", 0)
    )


def _problem(error: Mapping[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
    context = error.get("ctx") or {}
    limits = {name: str(context[name]) for name in _LIMITS if name in context}
    detail = error["msg"].removeprefix("Value error, ")
    # `input` is left out: it is the value. Messages of our own validators do not repeat it.
    return {
        "pointer": pointer_of(place),
        "code": error["type"],
        "detail": detail,
        "limits": limits | {"detail": detail},
    }


def pointer_of(place: tuple[Any, ...]) -> str:
    """`#/lines/0/amount_fen` for the body, `query/limit` for the rest."""
    head, rest = (place[0], place[1:]) if place else ("body", ())
    # The name of a member may hold a lone surrogate, which UTF-8 can't encode.
    named = [str(part).encode(errors="replace").decode() for part in rest]
    parts = [part.replace("~", "~0").replace("/", "~1") for part in named]
    if head == "body":
        return "#" + "".join(f"/{part}" for part in parts)
    return "/".join([str(head), *parts])

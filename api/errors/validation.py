"""What is wrong with a request's values, fault by fault, without ever repeating a value.

A value may be a name or a document number, so neither the answer nor a log may hold it: only where
it stands, a stable code, and the limits it broke.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.errors.request import InvalidRequest, MalformedJson
from domain.errors import LedgerError

FAULTS_MAX = 50
"""Faults told of one request."""

_LIMITS = ("min_length", "max_length", "ge", "gt", "le", "lt", "pattern", "expected")
"""Parts of a fault that are ours, not the caller's."""


def invalid_request(errors: Iterable[Mapping[str, Any]], where: str | None = None) -> LedgerError:
    """A refusal that names every fault pydantic found.

    where: body, query, path or header, when the errors' own places do not begin with it.
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
    """Whether a list is called too short only because its wrong items were not counted."""
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
    # `input` stays behind. A text of our own validators is a text of ours.
    return {
        "pointer": pointer_of(place),
        "code": error["type"],
        "detail": detail,
        "limits": limits | {"detail": detail},
    }


def pointer_of(place: tuple[Any, ...]) -> str:
    """`#/lines/0/amount_fen` for the body, `query/limit` for the rest."""
    head, rest = (place[0], place[1:]) if place else ("body", ())
    # The name of a member may hold half a surrogate pair, which no answer can.
    named = [str(part).encode(errors="replace").decode() for part in rest]
    parts = [part.replace("~", "~0").replace("/", "~1") for part in named]
    if head == "body":
        return "#" + "".join(f"/{part}" for part in parts)
    return "/".join([str(head), *parts])

"""The page of the API: every operation by its purpose, and who may.

Made from the OpenAPI document, so that it cannot say anything else. What is written there stands in
both languages, parted by a middle dot; the page shows one of them.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.web.i18n import Language
from api.web.rendering import language_of, render

_PARTED = re.compile(r"\s*·\s*")
_METHODS = ("get", "put", "post", "delete", "patch")


async def docs(request: Request) -> Response:
    """GET /docs."""
    language = language_of(request)
    # Made once, at the first request; that takes a second, in which the loop must not stand still.
    document = await request.app.state.service.read(request.app.openapi)
    return render(
        request,
        "docs.html",
        version=document["info"]["version"],
        groups=groups_of(document, language),
    )


def groups_of(document: dict[str, Any], language: Language) -> list[dict[str, Any]]:
    """The operations of an OpenAPI document under their tags, in the document's order."""
    by_tag: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = item[method]
                tag = operation.get("tags", [""])[0]
                by_tag.setdefault(tag, []).append(_shown(path, method, operation, language))
    named = enumerate(by_tag.items(), start=1)
    return [
        {"id": f"group-{place}", "name": spoken(tag, language), "operations": operations}
        for place, (tag, operations) in named
        if operations
    ]


def _shown(path: str, method: str, operation: dict[str, Any], language: Language) -> dict[str, Any]:
    return {
        "method": method.upper(),
        "path": path,
        "summary": spoken(operation.get("summary", ""), language),
        "roles": operation.get("x-roles", []),
    }


def spoken(text: str, language: Language) -> str:
    """One language of a text that stands in both: 账本 · Ledgers."""
    chinese, _, english = _PARTED.sub("·", text, count=1).partition("·")
    return english if language == "en" and english else chinese

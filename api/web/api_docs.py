"""The page of the API: every operation with its purpose and the roles that may use it.

It renders the OpenAPI document, so the two cannot differ. Texts of that document are in both
languages, separated by a middle dot; the page shows one of them.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import Language
from api.web.rendering import language_of, render

_SEPARATOR = re.compile(r"\s*·\s*")
_METHODS = ("get", "put", "post", "delete", "patch")


async def docs(request: Request) -> Response:
    """GET /docs."""
    language = language_of(request)
    # Built once, by the first request: that takes a second, too long for the event loop.
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
        {"id": f"group-{place}", "name": one_language(tag, language), "operations": operations}
        for place, (tag, operations) in named
        if operations
    ]


def _shown(path: str, method: str, operation: dict[str, Any], language: Language) -> dict[str, Any]:
    return {
        "method": method.upper(),
        "path": path,
        "summary": one_language(operation.get("summary", ""), language),
        "roles": operation.get("x-roles", []),
    }


def one_language(text: str, language: Language) -> str:
    """One language of a text in both: 账本 · Ledgers."""
    chinese, _, english = _SEPARATOR.sub("·", text, count=1).partition("·")
    return english if language == "en" and english else chinese

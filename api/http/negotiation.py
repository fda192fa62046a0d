"""Content negotiation: Accept decides page or data, Accept-Language decides the language.

Both headers are lists of names with an optional weight between 0 and 1 (RFC 9110, 12.5). A weight
that is malformed counts as 0, one outside the range as the nearest bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping
from typing import Any, Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

_RANGES_MAX = 30
"""Entries of a header that are read."""
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_JSON = frozenset({"application/json", "application/problem+json"})


def prefers_page(accept: str) -> bool:
    """Whether an Accept header names HTML, and no JSON with a greater weight."""
    html = json = 0.0
    for name, weight in _weighted(accept):
        if name in _HTML:
            html = max(html, weight)
        elif name in _JSON:
            json = max(json, weight)
    return 0 < html >= json


def scope_prefers_page(scope: MutableMapping[str, Any]) -> bool:
    """Whether the request of an ASGI scope prefers a page to data."""
    for name, value in scope["headers"]:
        if name == b"accept":
            return prefers_page(value.decode("latin-1"))
    return False


def preferred_language(accept_language: str | None) -> Language:
    """The language with the greatest weight, of two the first; Chinese when none is ours."""
    best: Language = "zh"
    greatest = 0.0
    for name, weight in _weighted(accept_language or ""):
        primary = name.partition("-")[0]
        for language in LANGUAGES:
            if primary == language and weight > greatest:
                best, greatest = language, weight
    return best


def _weighted(header: str) -> Iterator[tuple[str, float]]:
    """The entries of a header: lower-case name and weight."""
    for entry in header.split(",")[:_RANGES_MAX]:
        name, *parameters = entry.split(";")
        yield name.strip().lower(), _weight(parameters)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return 0.0 if math.isnan(weight) else min(max(weight, 0.0), 1.0)
    return 1.0

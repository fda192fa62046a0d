"""Strict parsing of JSON bodies, once for each request: no object may repeat a key.

Of two members with one name some parsers use the first and some the last, so two programs could
read different requests from one body. RFC 8259 leaves it open; the service refuses such a body.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from api.errors.request import JsonKeyTwice, MalformedJson
from api.errors.validation import pointer_of

_POINTER_MAX = 200
"""Characters of a pointer in an answer; the rest is cut."""


class JsonRequest(Request):
    """A request whose `json` is strict: FastAPI reads the body through it."""

    async def json(self) -> Any:
        """The body. Raises: MalformedJson, JsonKeyTwice."""
        if not hasattr(self, "_parsed"):
            self._parsed = parse_json(await self.body())
        return self._parsed


def parse_json(body: bytes) -> Any:
    """The value of a JSON text. Raises: MalformedJson, JsonKeyTwice."""
    try:
        # Almost every body is an object in UTF-8, so the encoding need not be detected.
        plain = body[:1] == b"{" and body[1:2] != b"\x00"
        encoding = "utf-8" if plain else json.detect_encoding(body)
        return _DECODER.decode(body.decode(encoding, "surrogatepass"))
    except DuplicateKey:
        raise JsonKeyTwice(pointer=_pointer_of_duplicate(body)) from None
    except (ValueError, RecursionError):
        raise MalformedJson() from None


class DuplicateKey(Exception):
    """An object has two members with one name."""


class _Members(list[tuple[str, Any]]):
    """An object with all of its members, duplicates included."""


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        raise DuplicateKey
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
"""Shared: `json.loads` would create a decoder for every body."""


def _pointer_of_duplicate(body: bytes) -> str:
    """A JSON pointer to a duplicate member, which the strict parser does not report."""
    try:
        whole = json.loads(body, object_pairs_hook=_Members)
    except (ValueError, RecursionError):  # a fault after the duplicate: the body is not JSON
        raise MalformedJson() from None
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), whole)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, _Members):
            seen: set[str] = set()
            for name, inner in value:
                if name in seen:
                    return pointer_of(("body", *place, name))[:_POINTER_MAX]
                seen.add(name)
                waiting.append(((*place, name), inner))
        elif isinstance(value, list):
            waiting.extend(((*place, at), inner) for at, inner in enumerate(value))
    raise AssertionError("unreachable")

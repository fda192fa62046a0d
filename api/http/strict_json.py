"""JSON bodies, parsed once for everybody behind, and strictly: a key stands once in its object.

Of two members of one name parsers keep the first or the last, so two programs may read two
different requests out of one body; RFC 8259 leaves it open, and we refuse it.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from api.errors.request import JsonKeyTwice, MalformedJson
from api.errors.validation import pointer_of

_POINTER_MAX = 200
"""Characters of a pointer that are repeated to the caller."""


class JsonRequest(Request):
    """A request whose `json` is ours: FastAPI takes the body from it."""

    async def json(self) -> Any:
        """The body. Raises: MalformedJson, JsonKeyTwice."""
        if not hasattr(self, "_parsed"):
            self._parsed = parse_json(await self.body())
        return self._parsed


def parse_json(body: bytes) -> Any:
    """The value of a JSON text. Raises: MalformedJson, JsonKeyTwice."""
    try:
        # An object in UTF-8, as almost all are, need not be looked at for how it is encoded.
        plain = body[:1] == b"{" and body[1:2] != b"\x00"
        encoding = "utf-8" if plain else json.detect_encoding(body)
        return _DECODER.decode(body.decode(encoding, "surrogatepass"))
    except DuplicateKey:
        raise JsonKeyTwice(pointer=_place_of_second(body)) from None
    except (ValueError, RecursionError):
        raise MalformedJson() from None


class DuplicateKey(Exception):
    """Some object has two members of one name."""


class _Members(list[tuple[str, Any]]):
    """An object as it stands, with all of its members."""


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        raise DuplicateKey
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
"""`json.loads` would make one for every body."""


def _place_of_second(body: bytes) -> str:
    """A pointer to a member that stands twice; the parser itself does not know where it is."""
    try:
        whole = json.loads(body, object_pairs_hook=_Members)
    except (ValueError, RecursionError):  # a fault behind it: then the body is no JSON at all
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

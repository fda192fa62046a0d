"""Routes of pages, in addition to the routes of the API and partly at the same addresses.

A request that prefers HTML, as browsers do, gets the page; an API client that sends the same
request gets the JSON. Forms are read here too: small plain ones only, everything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from api.errors.request import BadRequest, ControlCharacter, MediaTypeUnsupported
from api.http.negotiation import scope_prefers_page

Page = Callable[[Request], Awaitable[Response]]

FORM = "application/x-www-form-urlencoded"
FIELDS_MAX = 10
"""Fields a form here may have."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters other than tab and line breaks; a JSON body may not contain them either."""


class PageRoute(Route):
    """A page. shared: an API route has the same address, for requests that prefer data."""

    def __init__(self, path: str, page: Page, *, methods: list[str], shared: bool = False) -> None:
        super().__init__(path, page, methods=methods, include_in_schema=False)
        self._shared = shared

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """As any route, but a shared one does not match requests of API clients."""
        match, child = super().matches(scope)
        if match is not Match.NONE and self._shared and not scope_prefers_page(scope):
            return Match.NONE, {}
        # The access log names the route by its pattern: an address may contain a link's secret.
        return match, {**child, "route": self}


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of a repeated field, the last value.

    Raises: MediaTypeUnsupported, BadRequest, ControlCharacter.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != FORM:
        raise MediaTypeUnsupported(wanted=FORM)
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:  # also raised for text that is not ASCII or not UTF-8, and too many fields
        raise BadRequest() from None
    if any(_CONTROL.search(value) for _, value in pairs):
        raise ControlCharacter()
    return dict(pairs)


def is_same_origin(request: Request) -> bool:
    """Whether one of our own pages sent a form, by the browser's word.

    Every current browser sends Sec-Fetch-Site or Origin with a POST. A client that sends neither is
    not a browser and has no use for forms.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None or origin == "null":
        return False
    return urlsplit(origin).netloc == request.headers.get("host", "")

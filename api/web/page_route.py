"""Routes of pages, beside the routes of the API and partly at the same addresses.

A page is for who asks for HTML, as browsers do; an API client that asks for the same address finds
the JSON. Forms are read here as well: a small, plain one, or a refusal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from api.errors.request import BadRequest, MediaTypeUnsupported

Page = Callable[[Request], Awaitable[Response]]

FORM = "application/x-www-form-urlencoded"
FIELDS_MAX = 10
"""Fields a form here may have."""

_HTML = ("text/html", "application/xhtml+xml")
_JSON = ("application/json", "application/problem+json")


class PageRoute(Route):
    """A page. shared: an API route has the same address, for who does not ask for HTML."""

    def __init__(self, path: str, page: Page, *, methods: list[str], shared: bool = False) -> None:
        super().__init__(path, page, methods=methods, include_in_schema=False)
        self._shared = shared

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """As any route, but passing API clients on."""
        match, child = super().matches(scope)
        if match is not Match.NONE and self._shared and not scope_wants_page(scope):
            return Match.NONE, {}
        # The log line names the route by its pattern; an address may hold a link's secret.
        return match, {**child, "route": self}


def scope_wants_page(scope: Any) -> bool:
    """Whether a request asks for a page rather than for data."""
    for name, value in scope["headers"]:
        if name == b"accept":
            return wants_page(value.decode("latin-1"))
    return False


def wants_page(accept: str) -> bool:
    """Whether an Accept header names HTML, and no JSON before it."""
    html = json = 0.0
    for part in accept.split(",")[:30]:
        name, _, rest = part.partition(";")
        name = name.strip().lower()
        if name in _HTML:
            html = max(html, _weight(rest))
        elif name in _JSON:
            json = max(json, _weight(rest))
    return html > 0 and html >= json


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of a field that stands twice, the last.

    Raises: MediaTypeUnsupported, BadRequest.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != FORM:
        raise MediaTypeUnsupported(wanted=FORM)
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:  # also what is not ASCII, not UTF-8, or too many fields
        raise BadRequest() from None
    if any("\x00" in value for _, value in pairs):
        raise BadRequest()
    return dict(pairs)


def is_from_here(request: Request) -> bool:
    """Whether a form was sent from one of our own pages, as the browser tells.

    Every browser of today sends one of the two headers with a POST; who sends neither is no
    browser, and needs no form.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None or origin == "null":
        return False
    return urlsplit(origin).netloc == request.headers.get("host", "")

"""How a page becomes a response: its language, its template, its headers.

A page loads nothing from other hosts: styles and the icon are served from `static/`, there is no
script at all, and the content security policy enforces both. Reading order: the language, render,
the template environment, static files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.requests import Request
from starlette.responses import Response

from api.http.negotiation import LANGUAGES, Language, preferred_language
from api.web import formatting
from api.web.i18n import TAGS, has_text, text

LANGUAGE_COOKIE = "lang"
LANGUAGE_COOKIE_S = 365 * 86400

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Vary": "Accept, Accept-Language, Cookie",
}
"""Headers of every page. Only the finance pages need a cookie; no page may be framed."""

Caching = Literal["revalidate", "never"]
_CACHE_CONTROL: dict[Caching, str] = {"revalidate": "no-cache", "never": "no-store"}


@dataclass(frozen=True)
class LanguageSwitch:
    """How to get a page in the other language.

    href: the same address in the other language. form: id of the form to submit again instead,
    for a page that answers a form; then href is the form's action.
    """

    href: str
    form: str | None = None


def language_of(request: Request) -> Language:
    """The language chosen in this request, else an earlier choice, else the browser's."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for language in LANGUAGES:
            if chosen == language:
                return language
    return preferred_language(request.headers.get("accept-language"))


def switch_of(request: Request, language: Language, form: str | None = None) -> LanguageSwitch:
    """The switch to the other language, with all other query parameters unchanged."""
    other = "en" if language == "zh" else "zh"
    parameters = parse_qsl(request.url.query, keep_blank_values=True)
    query = urlencode([pair for pair in parameters if pair[0] != "lang"] + [("lang", other)])
    # An address that starts with two slashes would name another host.
    path = "/" + request.url.path.lstrip("/")
    return LanguageSwitch(f"{path}?{query}", form)


def render(
    request: Request,
    template: str,
    *,
    caching: Caching = "revalidate",
    status: int = 200,
    form: str | None = None,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Response:
    """A page.

    caching: `revalidate` lets the browser cache the page and check its ETag, `never` is for
    personal data. form: id of the page's form, where the page answers one.
    """
    language = language_of(request)
    body = page(
        template,
        language,
        switch=switch_of(request, language, form),
        here=request.url.path,
        status=status,
        **context,
    ).encode()
    given = {
        **HEADERS,
        "Content-Language": TAGS[language],
        "Cache-Control": _CACHE_CONTROL[caching],
    }
    given |= headers or {}
    if caching == "revalidate" and status == 200:
        given["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if given["ETag"] in request.headers.get("if-none-match", ""):
            status, body = 304, b""
    response = Response(body, status, given, media_type="text/html")
    _remember_language(request, response)
    return response


def _remember_language(request: Request, response: Response) -> None:
    """Set the cookie of a language chosen in this request."""
    chosen = request.query_params.get("lang")
    if chosen in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            chosen,
            max_age=LANGUAGE_COOKIE_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )


def page(template: str, language: Language, **context: Any) -> str:
    """The HTML of a page. Raises: UndefinedError for a value that the template misses."""
    known = {"lang": language, "tag": TAGS[language], **context}
    return environment().get_template(template).render(known)


@cache
def environment() -> Environment:
    """The template environment: everything is escaped, unknown names raise."""
    environment = Environment(
        loader=PackageLoader("api.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "t": _t,
        "word": _word,
        "static": static_address,
        "nothing": formatting.NOTHING,
    }
    environment.filters |= {
        "yuan": formatting.yuan,
        "grouped": formatting.grouped,
        "day": _in_language(formatting.show_day),
        "short_day": formatting.show_short_day,
        "moment": _in_language(formatting.show_moment),
        "short_moment": formatting.show_short_moment,
        "number": formatting.spaced_number,
        "level": _in_language(formatting.level_name),
        "masked": _in_language(formatting.show_masked),
    }
    return environment


@pass_context
def _t(context: Context, key: str, /, **given: Any) -> str:
    return text(context["lang"], key, **given)


@pass_context
def _word(context: Context, kind: str, value: Any, otherwise: str | None = None) -> str:
    """The word for a value from the data; without one, `otherwise` or the value itself."""
    key = f"{kind}.{value}"
    if has_text(key):
        return text(context["lang"], key)
    return str(value) if otherwise is None else otherwise


def _in_language(shows: Any) -> Any:
    @pass_context
    def filtered(context: Context, value: Any) -> Any:
        return shows(context["lang"], value)

    return filtered


# --- static files ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class StaticFile:
    """A file as it is served. version: changes with its bytes."""

    body: bytes
    media_type: str
    version: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Every static file by name. The parts of the style sheet are served as one file."""
    folder = resources.files("api.web") / "static"
    parts = sorted(p.name for p in folder.iterdir() if p.name.endswith(".css"))
    sheet = "\n".join((folder / name).read_text(encoding="utf-8") for name in parts)
    found = {
        "site.css": (sheet.encode(), "text/css; charset=utf-8"),
        "mark.svg": ((folder / "mark.svg").read_bytes(), "image/svg+xml"),
    }
    return {
        name: StaticFile(body, media_type, hashlib.sha256(body).hexdigest()[:16])
        for name, (body, media_type) in found.items()
    }


def static_address(name: str) -> str:
    """The address of a static file. It changes with the content, so it may be cached forever."""
    return f"/static/{name}?v={static_files()[name].version}"

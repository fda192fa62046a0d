"""How a page becomes a response: its language, its template, its headers.

Nothing on a page comes from outside: styles and the mark are served from `static/`, there is no
script at all, and the content policy says so to the browser. Reading order: Look, render, the
language, static files.
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

from api.errors.problem_details import preferred_language
from api.web import formatting as values
from api.web.i18n import LANGUAGES, TAGS, Language, has_text, text

LANGUAGE_COOKIE = "lang"
LANGUAGE_KEPT_S = 365 * 86400

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
"""Headers of every page. Only the finance pages rely on a cookie; none of them may be framed."""

Keep = Literal["revalidate", "never"]
_CACHE_CONTROL: dict[Keep, str] = {"revalidate": "no-cache", "never": "no-store"}


@dataclass(frozen=True)
class Switch:
    """Where the other language of a page is found.

    href: the same address in the other language. form: id of the form to send again instead, for
    a page that is the answer to a form; then href is the form's action.
    """

    href: str
    form: str | None = None


def language_of(request: Request) -> Language:
    """The language chosen now, or earlier, or else the one the browser asks for."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for language in LANGUAGES:
            if chosen == language:
                return language
    return preferred(request.headers.get("accept-language"))


def preferred(header: str | None) -> Language:
    """The language a browser asks for; Chinese when it asks for none of ours."""
    return "en" if preferred_language(header) == "en" else "zh"


def switch_of(request: Request, language: Language, form: str | None = None) -> Switch:
    """The way to this page's other language, all other parts of its address kept."""
    other = "en" if language == "zh" else "zh"
    asked = parse_qsl(request.url.query, keep_blank_values=True)
    query = urlencode([pair for pair in asked if pair[0] != "lang"] + [("lang", other)])
    # Two slashes at the beginning would name another host.
    path = "/" + request.url.path.lstrip("/")
    return Switch(f"{path}?{query}", form)


def render(
    request: Request,
    template: str,
    *,
    keep: Keep = "revalidate",
    status: int = 200,
    form: str | None = None,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Response:
    """A page.

    keep: `revalidate` lets a browser keep the page but ask whether it still holds, `never` is for
    what is personal. form: id of the page's form, where the page answers one.
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
    given = {**HEADERS, "Content-Language": TAGS[language], "Cache-Control": _CACHE_CONTROL[keep]}
    given |= headers or {}
    if keep == "revalidate" and status == 200:
        given["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if given["ETag"] in request.headers.get("if-none-match", ""):
            status, body = 304, b""
    response = Response(body, status, given, media_type="text/html")
    remember(request, response)
    return response


def remember(request: Request, response: Response) -> None:
    """Keep the language that was chosen with this request."""
    chosen = request.query_params.get("lang")
    if chosen in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            chosen,
            max_age=LANGUAGE_KEPT_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )


def page(template: str, language: Language, **context: Any) -> str:
    """The text of a page. Raises: UndefinedError for a value the template needs and has not."""
    known = {"lang": language, "tag": TAGS[language], **context}
    return environment().get_template(template).render(known)


@cache
def environment() -> Environment:
    """Templates that escape everything and complain about everything unknown."""
    made = Environment(
        loader=PackageLoader("api.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "t": _t,
        "word": _word,
        "static": static_address,
        "nothing": values.NOTHING,
    }
    made.filters |= {
        "yuan": values.yuan,
        "grouped": values.grouped,
        "day": _in_language(values.show_day),
        "short_day": values.show_short_day,
        "moment": _in_language(values.show_moment),
        "short_moment": values.show_short_moment,
        "number": values.spaced_number,
        "level": _in_language(values.level_name),
        "masked": _in_language(values.show_masked),
    }
    return made


@pass_context
def _t(context: Context, key: str, /, **given: Any) -> str:
    return text(context["lang"], key, **given)


@pass_context
def _word(context: Context, kind: str, value: Any, otherwise: str | None = None) -> str:
    """The word for a value from the data; where the table has none, another or the value itself."""
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
    """A file as it is served; `version` changes with its bytes."""

    body: bytes
    media_type: str
    version: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Every static file by its name. The parts of the style sheet are one file to the outside."""
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
    """The address of a static file; it changes with its content, so it may be kept for ever."""
    return f"/static/{name}?v={static_files()[name].version}"

"""A refusal as a page, in the same look, for who asked for one.

`refusal` is the one way a refusal leaves the service: browsers get a page, API clients the problem
(RFC 9457) it is made of, with the same status and the same headers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from api.errors.problem_details import problem_of, problem_response
from api.web.i18n import has_text, text
from api.web.page_route import scope_wants_page
from api.web.rendering import language_of, preferred, render
from domain.errors import LedgerError

log = logging.getLogger("certledger.faults")

_NOT_FOR_PAGES = ("content-type", "content-length", "content-language", "vary", "cache-control")


def refusal(
    request: Request,
    error: LedgerError,
    trace_id: str,
    headers: Mapping[str, str] | None,
) -> Response:
    """What a refused request is answered with."""
    language = preferred(request.headers.get("accept-language"))
    problem = problem_response(error, language, trace_id, headers)
    if not scope_wants_page(request.scope):
        return problem
    try:
        return error_page(request, error, trace_id, problem.headers)
    except Exception as fault:
        # Nothing stands behind this any more: a fault of the page must not hide the refusal.
        log.error("trace %s: no page for %s: %s", trace_id, error.code, type(fault).__name__)
        return problem


def error_page(
    request: Request, error: LedgerError, trace_id: str, headers: Mapping[str, str]
) -> Response:
    """The page of a refusal. headers: those of the problem it stands for."""
    language = language_of(request)
    told = problem_of(error, language, trace_id)
    status = told["status"]
    advice = f"error.advice.{status}"
    return render(
        request,
        "error.html",
        keep="never",
        status=status,
        headers={k: v for k, v in headers.items() if k.lower() not in _NOT_FOR_PAGES},
        title=told["title"],
        detail=told["detail"],
        advice=text(language, advice if has_text(advice) else "error.advice.any"),
        code=told["code"],
        trace_id=trace_id,
    )

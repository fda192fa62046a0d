"""Renders a refusal as a page for browsers, and as a problem (RFC 9457) for API clients.

Every refusal leaves the service through `render_error`. The page shows the same problem, with the
same status and headers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from api.errors.problem_details import problem_of, problem_response
from api.http.negotiation import preferred_language, scope_prefers_page
from api.web.i18n import has_text, text
from api.web.rendering import language_of, render
from domain.errors import LedgerError

log = logging.getLogger("certledger.faults")

_NOT_FOR_PAGES = ("content-type", "content-length", "content-language", "vary", "cache-control")


def render_error(
    request: Request,
    error: LedgerError,
    trace_id: str,
    headers: Mapping[str, str] | None,
) -> Response:
    """The response to a refused request."""
    language = preferred_language(request.headers.get("accept-language"))
    problem = problem_response(error, language, trace_id, headers)
    if not scope_prefers_page(request.scope):
        return problem
    try:
        return error_page(request, error, trace_id, problem.headers)
    except Exception as fault:
        # No other handler follows: a fault of the page must not hide the refusal.
        log.error("trace %s: no page for %s: %s", trace_id, error.code, type(fault).__name__)
        return problem


def error_page(
    request: Request, error: LedgerError, trace_id: str, headers: Mapping[str, str]
) -> Response:
    """The page of a refusal. headers: of the problem that it shows."""
    language = language_of(request)
    problem = problem_of(error, language, trace_id)
    status = problem["status"]
    advice = f"error.advice.{status}"
    return render(
        request,
        "error.html",
        caching="never",
        status=status,
        headers={k: v for k, v in headers.items() if k.lower() not in _NOT_FOR_PAGES},
        title=problem["title"],
        detail=problem["detail"],
        advice=text(language, advice if has_text(advice) else "error.advice.any"),
        code=problem["code"],
        trace_id=trace_id,
    )

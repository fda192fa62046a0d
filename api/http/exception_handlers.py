"""Exception handlers of the application: each error becomes a problem (RFC 9457) or a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.errors.request import BadRequest, MethodNotAllowed, RouteNotFound
from api.errors.validation import invalid_request
from domain.errors import LedgerError

RenderError = Callable[[Request, LedgerError, str, Mapping[str, str] | None], Response]
"""(request, error, trace id, headers) to the response, as `api.web.error_pages.render_error`."""


def install(app: FastAPI, render_error: RenderError) -> None:
    """Register the handlers. The middleware answers every other exception with 500."""

    async def on_ledger_error(request: Request, error: Any) -> Response:
        return render_error(request, error, request.state.trace_id, None)

    async def on_validation_error(request: Request, error: Any) -> Response:
        return await on_ledger_error(request, invalid_request(error.errors()))

    async def on_framework_error(request: Request, error: Any) -> Response:
        """Refusals of the framework: unknown route, wrong method, malformed body."""
        refusals = {404: RouteNotFound, 405: MethodNotAllowed}
        refused = refusals.get(error.status_code, BadRequest)()
        return render_error(request, refused, request.state.trace_id, error.headers)

    app.add_exception_handler(LedgerError, on_ledger_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_framework_error)

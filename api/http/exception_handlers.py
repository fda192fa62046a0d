"""Every way a request can end badly, turned into one shape: a problem (RFC 9457), or its page."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.errors.request import BadRequest, MethodNotAllowed, RouteNotFound
from api.errors.validation import invalid_request
from api.web.error_pages import refusal
from domain.errors import LedgerError


def install(app: FastAPI) -> None:
    """Make every error a problem. What is not named here is caught by the gate as a 500."""
    app.add_exception_handler(LedgerError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _refused(request: Request, error: Any) -> Response:
    return _answer(request, error)


async def _invalid(request: Request, error: Any) -> Response:
    return _answer(request, invalid_request(error.errors()))


async def _http(request: Request, error: Any) -> Response:
    """What the framework itself refuses: no such route, not that method, an odd body."""
    refusals = {404: RouteNotFound, 405: MethodNotAllowed}
    refused = refusals.get(error.status_code, BadRequest)()
    return _answer(request, refused, error.headers)


def _answer(request: Request, error: LedgerError, headers: Any = None) -> Response:
    return refusal(request, error, request.state.trace_id, headers)

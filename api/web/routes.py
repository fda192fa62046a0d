"""The pages: what citizens, accountants and regulators open in a browser.

Everything is made on the server and works without a script. Reading order: here the front page and
the table of routes; `web_lookup`, `web_scores` and `web_finance` for the three front doors;
`web_reading` for what they read, `web_render` for how a page becomes a response, `web_errors` for
refusals, `templates/texts/` for every word.
"""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.errors.request import RouteNotFound
from api.http.context import AppContext
from api.web import api_docs as web_docs
from api.web import finance as web_finance
from api.web import lookup as web_lookup
from api.web import score_board as web_scores
from api.web.page_route import PageRoute
from api.web.queries import overview
from api.web.rendering import render, static_files
from projections.engine.tables import Row

OVERVIEW_FRESH_S = 10.0
"""Counting every certificate of every ledger takes a moment, so the answer is kept for so long."""


class Overview:
    """The figures of the front page, counted at most every few seconds, once for all who ask."""

    def __init__(self) -> None:
        self._books: list[Row] = []
        self._counted_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def books(self, service: AppContext) -> list[Row]:
        """Every ledger with its last position and its number of certificates."""
        async with self._one_at_a_time:
            if time.monotonic() - self._counted_at > OVERVIEW_FRESH_S:
                self._books = await service.read(service.views.ask, overview)
                self._counted_at = time.monotonic()
        return self._books


async def home(request: Request) -> Response:
    """GET /: what is here for whom, and how far every ledger is."""
    state = request.app.state
    if not hasattr(state, "overview"):
        state.overview = Overview()
    books = await state.overview.books(state.service)
    return render(
        request,
        "home.html",
        books=books,
        certificates=sum(book["certificates"] for book in books),
        entries=sum(book["position"] for book in books),
    )


async def static(request: Request) -> Response:
    """GET /static/{name}: kept for ever under the address that names its content."""
    file = static_files().get(request.path_params["name"])
    if file is None:
        raise RouteNotFound()
    exact = request.query_params.get("v") == file.version
    headers = {
        "ETag": f'"{file.version}"',
        "Cache-Control": "public, max-age=31536000, immutable" if exact else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.media_type)


GET, POST = ["GET"], ["POST"]

router = APIRouter()
router.routes.extend(
    [
        PageRoute("/", home, methods=GET),
        PageRoute("/static/{name}", static, methods=GET),
        PageRoute("/docs", web_docs.docs, methods=GET),
        PageRoute("/lookup", web_lookup.lookup_form, methods=GET, shared=True),
        PageRoute("/lookup", web_lookup.lookup_answer, methods=POST, shared=True),
        PageRoute("/v/{token}", web_lookup.link_page, methods=GET, shared=True),
        PageRoute("/scores", web_scores.boards, methods=GET),
        PageRoute("/ledgers/{ledger}/scores", web_scores.board, methods=GET, shared=True),
        PageRoute("/ledgers/{ledger}/scores/{notice_id}", web_scores.rows, methods=GET),
        PageRoute("/sign-in", web_finance.sign_in_form, methods=GET),
        PageRoute("/sign-in", web_finance.sign_in, methods=POST),
        PageRoute("/finance", web_finance.ledgers, methods=GET),
        PageRoute("/finance/sign-out", web_finance.sign_out, methods=POST),
        PageRoute("/finance/{ledger}/refunds", web_finance.refund_list, methods=GET),
        PageRoute("/finance/{ledger}/refunds.csv", web_finance.refund_csv, methods=GET),
    ]
)
"""To stand before the routes of the API: at an address both have, the page asks first."""

"""The routes of the pages, for citizens, accountants and regulators at a browser.

The server renders every page, and every page works without scripts. Here are the front page, the
static files and the table of routes; `lookup`, `score_board` and `finance` are the three areas,
`queries` is what they read, `rendering` makes a response, `templates/texts/` has every word.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.errors.request import RouteNotFound
from api.http.context import AppContext
from api.web import api_docs, finance, lookup, score_board
from api.web.page_route import PageRoute
from api.web.queries import REGISTRY, overview
from api.web.rendering import render, static_files
from projections.engine.tables import Row

OVERVIEW_FRESH_S = 10.0
"""How long the counts are cached: counting the certificates of every ledger is slow."""


class Overview:
    """The figures of the front page, cached for OVERVIEW_FRESH_S and counted by one request."""

    def __init__(self) -> None:
        self._ledgers: list[Row] = []
        self._counted_at = float("-inf")
        self._lock = asyncio.Lock()

    async def ledgers(self, service: AppContext) -> list[Row]:
        """Every ledger with its last position and its number of certificates."""
        async with self._lock:
            if time.monotonic() - self._counted_at > OVERVIEW_FRESH_S:
                self._ledgers = await service.read(service.views.ask, overview)
                self._counted_at = time.monotonic()
        return self._ledgers


async def home(request: Request) -> Response:
    """GET /: the areas of the site, and the progress of every ledger."""
    state = request.app.state
    if not hasattr(state, "overview"):
        state.overview = Overview()
    is_wrong = partial(state.service.views.is_wrong, REGISTRY)
    ledgers = [
        row | {"certificates": None} if is_wrong(row["ledger"]) else row
        for row in await state.overview.ledgers(state.service)
    ]
    return render(
        request,
        "home.html",
        ledgers=ledgers,
        certificates=sum(row["certificates"] or 0 for row in ledgers),
        entries=sum(row["position"] for row in ledgers),
    )


async def static(request: Request) -> Response:
    """GET /static/{name}: cached forever at the address with the version of its content."""
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
        PageRoute("/docs", api_docs.docs, methods=GET),
        PageRoute("/lookup", lookup.lookup_form, methods=GET, shared=True),
        PageRoute("/lookup", lookup.lookup_answer, methods=POST, shared=True),
        PageRoute("/v/{token}", lookup.link_page, methods=GET, shared=True),
        PageRoute("/scores", score_board.boards, methods=GET),
        PageRoute("/ledgers/{ledger}/scores", score_board.board, methods=GET, shared=True),
        PageRoute("/ledgers/{ledger}/scores/{notice_id}", score_board.rows, methods=GET),
        PageRoute("/sign-in", finance.sign_in_form, methods=GET),
        PageRoute("/sign-in", finance.sign_in, methods=POST),
        PageRoute("/finance", finance.ledgers, methods=GET),
        PageRoute("/finance/sign-out", finance.sign_out, methods=POST),
        PageRoute("/finance/{ledger}/refunds", finance.refund_list, methods=GET),
        PageRoute("/finance/{ledger}/refunds.csv", finance.refund_csv, methods=GET),
    ]
)
"""These come before the routes of the API: at a shared address the page is matched first."""

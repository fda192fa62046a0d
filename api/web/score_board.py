"""The pages of the public score board: notices, and the rows of a notice while it runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.http.context import AppContext
from api.web.queries import SCORE_BOARD, all_ledgers, notice, notices, recorded_at
from api.web.rendering import HEADERS, render
from domain.decision import NotFound
from domain.store.errors import UnknownLedger
from domain.values.working_days import SHANGHAI
from projections.engine.tables import Row

NOTICES_A_PAGE = 20
ROWS_A_PAGE = 100
_LEDGER = re.compile(r"[a-z][a-z0-9-]{1,30}")
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


async def boards(request: Request) -> Response:
    """GET /scores: choose a ledger. Redirects where there is only one."""
    service: AppContext = request.app.state.service
    ledgers = await service.read(service.views.ask, all_ledgers, SCORE_BOARD)
    if len(ledgers) == 1:
        address = f"/ledgers/{ledgers[0]['ledger']}/scores"
        return RedirectResponse(address, 303, headers=HEADERS | {"Cache-Control": "no-store"})
    return render(request, "boards.html", ledgers=ledgers)


async def board(request: Request) -> Response:
    """GET /ledgers/{ledger}/scores: every notice, the latest first."""
    service: AppContext = request.app.state.service
    name = ledger_of(request)
    service.views.ensure_right(SCORE_BOARD, name)
    page = service.page(
        f"page of notices|{name}", request.query_params.get("after"), NOTICES_A_PAGE
    )
    after = page.after
    key = (date.fromisoformat(after[0]), str(after[1])) if after else None
    ledger, found = await service.read(service.views.ask, notices, name, key, page.rows_max)
    ledger = known(ledger, name)
    shown, cursor = page.split(
        found, lambda row: [row["published_on"].isoformat(), row["notice_id"]]
    )
    await _open_late_reasons(service, name, shown)
    today = datetime.now(SHANGHAI).date()
    return render(
        request,
        "scores.html",
        **as_of(ledger),
        notices=[_phased(row, today) for row in shown],
        first=request.url.path if after else None,
        next=_after(cursor) if cursor else None,
    )


async def rows(request: Request) -> Response:
    """GET /ledgers/{ledger}/scores/{notice_id}: one notice, with its rows while it runs."""
    service: AppContext = request.app.state.service
    name, notice_id = ledger_of(request), request.path_params["notice_id"]
    if not _ID.fullmatch(notice_id):
        raise NotFound(what="notice", id="with this name")
    service.views.ensure_right(SCORE_BOARD, name)
    page = service.page(
        f"page of rows|{name}|{notice_id}", request.query_params.get("after"), ROWS_A_PAGE
    )
    after = page.after
    today = datetime.now(SHANGHAI).date()
    ledger, found = await service.read(
        service.views.ask,
        notice,
        name,
        notice_id,
        today,
        str(after[0]) if after else None,
        page.rows_max,
    )
    ledger = known(ledger, name)
    if found is None:
        raise NotFound(what="notice", id=notice_id)
    shown, cursor = page.split(found["rows"], lambda row: [row["ticket_number"]])
    await _open_late_reasons(service, name, [found])
    return render(
        request,
        "scores_notice.html",
        **as_of(ledger),
        n=_phased(found, today),
        rows=shown,
        totals=found["totals"],
        first=request.url.path if after else None,
        next=_after(cursor) if cursor else None,
    )


async def _open_late_reasons(service: AppContext, name: str, rows: Sequence[Row]) -> None:
    """Put the text in place of each sealed reason; None where its key was destroyed."""
    sealed = [row for row in rows if row["late_reason"] is not None]
    if sealed:
        opener = (await service.ledger(name)).open_texts
        texts = await service.read(opener, [row["late_reason"] for row in sealed])
        for row, text in zip(sealed, texts, strict=True):
            row["late_reason"] = text


def ledger_of(request: Request) -> str:
    """The ledger in a page's address. Raises: UnknownLedger."""
    name: str = request.path_params["ledger"]
    if not _LEDGER.fullmatch(name):
        raise UnknownLedger(ledger="with this name")
    return name


def known(ledger: Row | None, name: str) -> Row:
    """The row of a ledger. Raises: UnknownLedger."""
    if ledger is None:
        raise UnknownLedger(ledger=name)
    return ledger


def as_of(ledger: Row) -> dict[str, Any]:
    """Template values about the ledger of a page."""
    return {"ledger": ledger, "position": ledger["position"], "recorded_at": recorded_at(ledger)}


def _phased(row: Row, today: date) -> Row:
    """A notice with the phase it is in: running, over (but not closed yet), closed."""
    running = row["published_on"] <= today <= row["ends_on"]
    phase = "closed" if row["status"] == "closed" else "running" if running else "over"
    return {**row, "phase": phase}


def _after(cursor: str) -> str:
    return f"?after={quote(cursor)}"

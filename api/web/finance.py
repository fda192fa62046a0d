"""The finance pages: signing in with a token, the refund list, its export.

The token is the one of the API. It is stored in a cookie that scripts cannot read, that the browser
does not send with requests from other sites, and that it sends to addresses under /finance only;
each request checks it again. `api.auth.permissions` decides who may see the list, as in the API.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from api.auth.permissions import require_role, roles_of_read
from api.auth.tokens import Principal, TokenInvalid, TokenMissing
from api.errors.request import RoleNotAllowed
from api.files.csv_export import BYTE_ORDER_MARK, amount, csv_lines
from api.http.context import AppContext
from api.http.negotiation import Language
from api.web.formatting import as_moment
from api.web.i18n import TAGS, has_text, text
from api.web.page_route import form_of, is_same_origin
from api.web.queries import (
    OPEN,
    REFUND_LEDGER,
    all_ledgers,
    line_key,
    one_ledger,
    refund_lines,
    refunds,
    totals,
)
from api.web.rendering import HEADERS, language_of, render
from api.web.score_board import as_of, known, ledger_of
from projections.engine.tables import Row

COOKIE = "certledger_finance"
COOKIE_PATH = "/finance"
COOKIE_CHARS_MAX = 3800
"""A browser silently drops a cookie of more than 4096 characters."""
ROLES = roles_of_read("list_refunds")
LINES_A_PAGE = 50
CSV_CHUNK = 1000
STATES = (
    "entitled", "ordered", "approved", "accepted", "abnormal", "closed", "declined", "settled",
    "refused", "paid", "used", "enrolled",
)  # fmt: skip
"""In the order in which they need attention: money that is owed comes first."""
COLUMNS = ("paid_fen", "entitled_fen", "ordered_fen", "settled_fen")
TONES = {
    "entitled": "wait",
    "ordered": "wait",
    "approved": "wait",
    "accepted": "wait",
    "abnormal": "bad",
    "closed": "bad",
    "declined": "bad",
    "settled": "good",
}
NO_STORE = HEADERS | {"Cache-Control": "no-store"}


# --- signing in -----------------------------------------------------------------------------------


async def sign_in_form(request: Request) -> Response:
    """GET /sign-in."""
    return _sign_in(request, signed_out="signed-out" in request.query_params)


async def sign_in(request: Request) -> Response:
    """POST /sign-in: check the token and store it in its cookie."""
    if not is_same_origin(request):
        return _sign_in(request, "sign_in.foreign", status=403)
    token = (await form_of(request)).get("token", "").strip().removeprefix("Bearer ").strip()
    if not token:
        return _sign_in(request, "sign_in.empty", status=422)
    if len(token) > COOKIE_CHARS_MAX:
        return _sign_in(request, "sign_in.too_long", status=422)
    service: AppContext = request.app.state.service
    try:
        principal = await service.tokens.check(token)
        require_role(ROLES, principal, None)
    except TokenInvalid:
        return _sign_in(request, "sign_in.refused", status=422)
    except RoleNotAllowed:
        return _sign_in(request, "sign_in.wrong_role", status=403)
    response = RedirectResponse("/finance", 303, headers=NO_STORE)
    response.set_cookie(
        COOKIE,
        token,
        max_age=max(1, principal.expires_at - int(time.time())),
        path=COOKIE_PATH,
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )
    return response


async def sign_out(request: Request) -> Response:
    """POST /finance/sign-out: delete the token's cookie."""
    if not is_same_origin(request):
        return _sign_in(request, "sign_in.foreign", status=403)
    return _to_sign_in(request, "/sign-in?signed-out=1")


def _sign_in(
    request: Request, fault: str | None = None, *, status: int = 200, signed_out: bool = False
) -> Response:
    return render(
        request,
        "sign_in.html",
        caching="never",
        status=status,
        fault=text(language_of(request), fault) if fault else "",
        signed_out=signed_out,
    )


def _to_sign_in(request: Request, address: str = "/sign-in") -> Response:
    response = RedirectResponse(address, 303, headers=NO_STORE)
    response.delete_cookie(
        COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict", secure=_is_secure(request)
    )
    return response


def _is_secure(request: Request) -> bool:
    """Whether clients reach the service by https; then the cookie must not be sent over http."""
    service: AppContext = request.app.state.service
    return request.url.scheme == "https" or service.settings.public_base_url.startswith("https:")


async def _signed_in(request: Request, ledger: str | None = None) -> Principal | None:
    """The signed-in caller if they may see this; None if nobody is signed in.

    Raises: RoleNotAllowed, LedgerNotInToken.
    """
    service: AppContext = request.app.state.service
    try:
        principal = await service.tokens.check(request.cookies.get(COOKIE, ""))
        require_role(ROLES, principal, ledger)
    except (TokenInvalid, TokenMissing):
        return None
    request.state.principal = principal
    return principal


# --- the list -------------------------------------------------------------------------------------


async def ledgers(request: Request) -> Response:
    """GET /finance: choose a ledger. Redirects where the token covers one only."""
    principal = await _signed_in(request)
    if principal is None:
        return _to_sign_in(request)
    service: AppContext = request.app.state.service
    rows = await service.read(service.views.ask, all_ledgers, REFUND_LEDGER)
    mine = [row for row in rows if principal.may_enter(row["ledger"])]
    if len(mine) == 1:
        return RedirectResponse(f"/finance/{mine[0]['ledger']}/refunds", 303, headers=NO_STORE)
    return render(request, "finance.html", caching="never", ledgers=mine, subject=principal.subject)


async def refund_list(request: Request) -> Response:
    """GET /finance/{ledger}/refunds: sums, and the lines in one state or in all."""
    name = ledger_of(request)
    principal = await _signed_in(request, name)
    if principal is None:
        return _to_sign_in(request)
    service: AppContext = request.app.state.service
    service.views.ensure_right(REFUND_LEDGER, name)
    state = _state(request)
    page = service.page(
        f"page of refunds|{name}|{state}", request.query_params.get("after"), LINES_A_PAGE
    )
    ledger, sums, lines = await service.read(
        service.views.ask, refunds, name, state, page.after, page.rows_max
    )
    shown, cursor = page.split(lines, lambda row: line_key(row, state))
    chosen = {"state": state} if state else {}
    following = None if cursor is None else "?" + urlencode(chosen | {"after": cursor})
    return render(
        request,
        "refunds.html",
        caching="never",
        **as_of(known(ledger, name)),
        subject=principal.subject,
        sums=sorted(sums, key=lambda row: (row["component"], STATES.index(row["state"]))),
        total=totals(sums),
        lines=shown,
        state=state or "",
        states=STATES,
        columns=COLUMNS,
        tones=TONES,
        csv=f"{request.url.path}.csv" + (f"?{urlencode(chosen)}" if chosen else ""),
        first=f"{request.url.path}?{urlencode(chosen)}" if page.after else None,
        next=following,
    )


def _state(request: Request) -> str | None:
    """The requested state; None, meaning all, for an unknown one."""
    state = request.query_params.get("state")
    return state if state in (*STATES, OPEN) else None


# --- the export -----------------------------------------------------------------------------------

_CSV_COLUMNS = (
    "application", "payment", "component", "state", *COLUMNS, "refund_no", "paid_by",
    "merchant_order_no", "provider_transaction_id", "paid_at", "changed_at", "position",
)  # fmt: skip


async def refund_csv(request: Request) -> Response:
    """GET /finance/{ledger}/refunds.csv: the same list, all of it."""
    name = ledger_of(request)
    principal = await _signed_in(request, name)
    if principal is None:
        return _to_sign_in(request)
    service: AppContext = request.app.state.service
    service.views.ensure_right(REFUND_LEDGER, name)
    ledger = known(await service.read(service.views.ask, one_ledger, REFUND_LEDGER, name), name)
    state, language = _state(request), language_of(request)
    file = "-".join(["refunds", name, *([state] if state else []), str(ledger["position"])])
    headers = NO_STORE | {
        "Content-Disposition": f'attachment; filename="{file}.csv"',
        "Content-Language": TAGS[language],
    }
    return StreamingResponse(
        _csv(service, name, state, language), headers=headers, media_type="text/csv; charset=utf-8"
    )


async def _csv(
    service: AppContext, name: str, state: str | None, language: Language
) -> AsyncIterator[str]:
    """The file in chunks. A fault aborts the transfer, so the client notices it."""
    heads = [text(language, f"refunds.{column}") for column in _CSV_COLUMNS]
    yield BYTE_ORDER_MARK + csv_lines([heads])
    after: list[str] | None = None
    while True:
        lines = await service.read(service.views.ask, refund_lines, name, state, after, CSV_CHUNK)
        yield csv_lines(_csv_line(line, language) for line in lines)
        if len(lines) < CSV_CHUNK:
            return
        after = line_key(lines[-1], state)


def _csv_line(line: Row, language: Language) -> list[Any]:
    return [
        line["application_id"],
        line["payment_id"],
        _word(language, "component", line["component"]),
        _word(language, "refund", line["state"]),
        *(amount(line[column]) for column in COLUMNS),
        line["refund_no"],
        _word(language, "provider", line["provider"]),
        line["merchant_order_no"],
        line["provider_transaction_id"],
        as_moment(line["paid_at"]).isoformat(timespec="seconds"),
        as_moment(line["changed_at"]).isoformat(timespec="seconds"),
        line["position"],
    ]


def _word(language: Language, kind: str, value: str) -> str:
    key = f"{kind}.{value}"
    return text(language, key) if has_text(key) else value

"""What everybody may look up, nationwide: is this certificate real, and does it count?

Both handlers render only; `api.lookup.criteria` reads the body and says what is searched and found.
`api.server.lookup_fast_path` answers the same requests with any well-formed JSON up to 4,096 bytes;
these handlers answer the rest.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from api.http.context import AppContext
from api.http.dependencies import IfNoneMatch
from api.http.routing import problems, router
from api.lookup.criteria import (
    CertificateFound,
    LookupBody,
    LookupCriteria,
    LookupResult,
    link_result,
    no_such_link,
)
from api.lookup.rate_limit import address_of, limit_of
from domain.values.certificate_links import LINK_PATTERN

routes = router("查询 · Lookup", prefix="")


@routes.post(
    "/lookup",
    operation_id="lookup_certificate",
    summary="证书查询 · Look a certificate up",
    responses={200: {"model": LookupResult}, **problems(400, 413, 415, 422, 429, 500, 503)},
)
async def lookup_certificate(request: Request, body: LookupBody) -> Response:
    """证书编号、姓名、证件号码任填两项;查无与不符答复相同。· Any two of number, name and document.
    Names and numbers come back masked; "no match" and "a wrong pair" read the same."""
    service: AppContext = request.app.state.service
    registry = service.registry
    criteria = LookupCriteria.of(registry.search_tokens, body)
    limit, address = limit_of(request), address_of(request)
    limit.charge(address)
    query = criteria.query(registry)
    found = criteria.matching([row for key in criteria.keys for row in await query.ask(key)])
    if criteria.is_miss(found):
        limit.charge_miss(address)
        registry.check_absence()
    return Response(criteria.result(found), media_type="application/json")


@routes.get(
    "/v/{token}",
    operation_id="verify_certificate",
    summary="扫码核验 · Verify a certificate by its link",
    responses={200: {"model": CertificateFound}, **problems(400, 404, 422, 500, 503)},
)
async def verify_certificate(
    request: Request,
    token: Annotated[
        str,
        Path(
            pattern=f"^{LINK_PATTERN}$",
            description="二维码中的令牌 · from the QR code",
            examples=["omc-4d0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
        ),
    ],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """二维码指向此处;旧版证书的链接会说明已被替换。· Where the QR code leads. The link of an older
    version says that it was replaced."""
    service: AppContext = request.app.state.service
    rows = await service.registry.by_token.ask(token)
    if not rows:
        service.registry.check_absence()
        raise no_such_link()
    body, tag = link_result(rows[0])
    # Every use revalidates: a revocation has to be visible immediately.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in [part.strip() for part in (if_none_match or "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")

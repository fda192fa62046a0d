"""What everybody may look up, nationwide: is this certificate real, and does it count?

Both handlers render only; `api.lookup.criteria` reads the body and says what is searched and found.
`api.server.lookup_fast_path` answers the same requests with any well-formed JSON up to 4,096 bytes;
these handlers answer the rest.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import orjson
from fastapi import Path, Request
from pydantic import BaseModel, Field
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
from domain.events import CertificateKind
from domain.service.public_cards import card_at
from domain.values.certificate_links import LINK_PATTERN
from projections.certificate_registry import public_record
from projections.certificate_registry.queries import application_of

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


Token = Annotated[
    str,
    Path(
        pattern=f"^{LINK_PATTERN}$",
        description="二维码中的令牌 · from the QR code",
        examples=["omc-4d0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
    ),
]


@routes.get(
    "/v/{token}",
    operation_id="verify_certificate",
    summary="扫码核验 · Verify a certificate by its link",
    responses={200: {"model": CertificateFound}, **problems(400, 404, 422, 500, 503)},
)
async def verify_certificate(
    request: Request,
    token: Token,
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


class PublicCard(BaseModel):
    """The public card (公开卡片), exactly as it was hashed. Marks null: absent (缺考)."""

    document_tail: str = Field(description="last four characters of the document number")
    document_type: str
    issued_on: date
    issuer_name: str = Field(description="发证机构")
    job_type: str | None
    kind: Literal["national", "omc"]
    ledger: str
    level: int
    name: str = Field(description="in full")
    number: str
    occupation: str
    occupation_name: str
    organisation_name: str = Field(description="评价机构")
    photo_sha256: str | None
    practical: str | None
    theory: str | None
    v: Literal[1] = Field(description="form of the card")
    version: int = Field(description="of the certificate")


class CardBody(BaseModel):
    """A card with what proves it; the whole body is canonical JSON (RFC 8785).

    card_sha256 is SHA-256 of `certledger card v1`, a zero byte, the 32 bytes of the salt and the
    canonical JSON of `card`.
    """

    card: PublicCard
    card_sha256: str = Field(description="as the log has it")
    position: int = Field(description="of the event that recorded it, in the card's ledger")
    replaced: bool = Field(description="the link, and so the card, is of an older version")
    salt: str = Field(description="64 hex digits")
    standing: str = Field(description="of the certificate now: valid, suspended, revoked")


@routes.get(
    "/v/{token}/card",
    operation_id="get_card",
    summary="证书公开卡片 · The public card of a certificate",
    responses={200: {"model": CardBody}, **problems(400, 404, 410, 422, 500, 503)},
)
async def get_card(request: Request, token: Token) -> Response:
    """凭二维码链接取得证书全文卡片及其盐值,可据日志自行核验;暂停、撤销或已被替换的仍给出并注明;
    持证人姓名或盐值随删除销毁后为410。· What the certificate says, in full, with the salt under
    which the log has its hash: who has the link has the certificate. Also of one that is suspended,
    revoked or of an older version, which `standing` and `replaced` say. 410 once an erasure has
    destroyed the holder's name or the salt, which are kept while a rule keeps them."""
    service: AppContext = request.app.state.service
    registry = service.registry
    rows = await registry.by_token.ask(token)
    if not rows:
        registry.check_absence()
        raise no_such_link()
    _, record, replaced, version = rows[0]
    shown = public_record.decode(record)
    ledger, kind, number = await service.ledger(shown["ledger"]), shown["kind"], shown["number"]
    application_id = await service.read(
        service.views.ask, application_of, ledger.name, number, kind, registry.checks
    )
    if application_id is None:
        raise no_such_link()
    version = shown["version"] if version is None else version
    given = await service.read(
        card_at, ledger, application_id, CertificateKind(kind), number, version
    )
    proof = {
        "card_sha256": given.sha256,
        "position": given.position,
        "replaced": replaced,
        "salt": given.salt,
        "standing": shown["standing"],
    }
    # The card as it was hashed, not encoded again; "card" sorts first, so the whole is canonical.
    body = b'{"card":%b,%b' % (given.card, orjson.dumps(proof)[1:])
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")

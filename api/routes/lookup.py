"""What everybody may look up, nationwide: is this certificate real, and does it count?

Personal data travel in the body only. A lookup needs two of number, name and document that agree;
"no match" and "a wrong pair" get the same answer from the same query. Requests that arrive
together share one query (`RequestCoalescer`).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Annotated, Any, NamedTuple

import orjson
from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.errors.request import LookupNeedsTwo, LookupsTooFast
from api.http.context import AppContext
from api.http.dependencies import IfNoneMatch
from api.http.routing import problems, router
from api.lookup.coalescing import Found, RequestCoalescer
from api.lookup.rate_limit import RateLimiter, TooManyLookups, address_of, limit_of
from api.lookup.registry import RegistryClient, Sought
from domain.decision import NotFound
from domain.values.certificate_numbers import (
    InvalidCertificateNumber,
    NumberKind,
    OmcNumber,
    classify_number,
    normalise_number,
)
from domain.values.identity_documents import DocumentType, validate_document
from domain.values.person_names import normalise_name
from domain.values.primitives import Level
from domain.values.working_days import shanghai_date
from projections.certificate_registry import public_record as public_answer
from projections.certificate_registry import queries as registry_queries

routes = router("查询 · Lookup", prefix="")

LEVEL_NAMES = {level.value: level.chinese_name for level in Level}

NAME_TYPED_MAX = 80
"""Characters of a name as it is typed."""


class LookupBody(BaseModel):
    """Any two of the three; all that are given must agree."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {"certificate_number": "S000033000123264000001", "name": "张三"}
        },
    )
    certificate_number: str | None = Field(
        default=None, min_length=1, max_length=60, description="证书编号"
    )
    name: str | None = Field(
        default=None, min_length=1, max_length=NAME_TYPED_MAX, description="姓名"
    )
    document_number: str | None = Field(
        default=None, min_length=1, max_length=40, description="证件号码"
    )
    document_type: DocumentType = Field(
        default=DocumentType.RESIDENT_ID, description="证件类型 of document_number"
    )


class ParsedLookup(NamedTuple):
    """What a `LookupBody` says most often, known to be in its form without the model."""

    certificate_number: str
    name: str
    document_number: str | None = None
    document_type: DocumentType = DocumentType.RESIDENT_ID


class CertificateFound(BaseModel):
    """One certificate as everybody may see it."""

    ledger: str
    kind: str = Field(description="national 职业技能等级证书, omc 巨量认证证书")
    number: str
    masked_name: str | None
    masked_number: str | None
    document_type: str | None
    occupation: str
    occupation_name: str
    edition: str
    level: int
    level_name: str
    job_type: str | None
    theory: str | None
    practical: str | None
    issued_on: date | None
    organisation_name: str | None = Field(description="评价机构")
    issuer_name: str | None = Field(description="发证机构")
    progress: str
    seen_province_on: date | None
    seen_nation_on: date | None
    standing: str = Field(description="valid, suspended, revoked")
    reason_class: str | None = Field(description="why it was revoked")
    version: int
    reissued_on: date | None
    current_since: datetime
    replaced: bool | None = Field(default=None, description="the link is of an older version")


class LookupResult(BaseModel):
    """What was found. hint depends on the form of the number alone, never on the registry."""

    certificates: list[CertificateFound]
    hint: str | None = Field(
        default=None,
        description="obsolete_draft, qualification, qualification_shanghai, unknown",
    )


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
    ensure_two(body)
    limit, address = limit_of(request), address_of(request)
    enter(limit, address)
    facts = LookupCriteria.of(service.registry, body)
    questions, keys = facts.questions(service.registry)
    shown = facts.agreeing([row for key in keys for row in await questions.ask(key)])
    if not shown:
        limit.missed(address)
    return Response(facts.answer(shown), media_type="application/json")


def ensure_two(body: LookupBody) -> None:
    """Two of the three were given. Raises: LookupNeedsTwo."""
    given = (body.certificate_number, body.name, body.document_number)
    if sum(value is not None for value in given) < 2:
        raise LookupNeedsTwo()


def enter(limit: RateLimiter, address: str) -> None:
    """Pay for one lookup. Raises: LookupsTooFast."""
    try:
        limit.enter(address)
    except TooManyLookups as wait:
        raise LookupsTooFast(seconds=wait.seconds) from None


_WELL_FORMED = (NumberKind.NATIONAL, NumberKind.NATIONAL_SENIOR, NumberKind.OMC)


def _number(text: str | None) -> tuple[str | None, str | None]:
    """A number in the form the registry keeps, and what it looks like if it can't be one."""
    if text is None:
        return None, None
    plain = normalise_number(text)
    kind = classify_number(plain)
    if kind is NumberKind.OMC:
        with suppress(InvalidCertificateNumber):
            plain = str(OmcNumber.parse(plain))
    return plain, None if kind in _WELL_FORMED else kind.value


class LookupCriteria(NamedTuple):
    """What a lookup goes by, None where it was not given.

    hint: what the number looks like if it can't be one.
    """

    number: str | None
    hint: str | None
    names: Sought | None
    documents: Sought | None

    @classmethod
    def of(cls, registry: RegistryClient, body: LookupBody | ParsedLookup) -> LookupCriteria:
        """What was typed, as the registry keeps it.

        Raises: InvalidName, InvalidIdentityDocument.
        """
        number, hint = _number(body.certificate_number)
        name, document = body.name, None
        names = None if name is None else registry.sought("name", normalise_name(name))
        if body.document_number is not None:
            text = document_text(body.document_type, body.document_number)
            document = registry.sought("document", text)
        return cls(number, hint, names, document)

    def questions(self, registry: RegistryClient) -> tuple[RequestCoalescer, tuple[str, ...]]:
        """What to ask the registry, and under which keys."""
        if self.number is not None:
            return registry.by_number, (self.number,)
        return registry.by_document, () if self.documents is None else self.documents.all()

    def agreeing(self, found: list[Found]) -> list[dict[str, Any]]:
        """Certificates that agree with everything that was given, as everybody may see them."""
        answers = registry_queries.agreeing(
            map(registry_queries.Found._make, found),
            number=self.number,
            names=self.names,
            documents=self.documents,
        )
        return [_shown(answer) for answer in answers]

    def answer(self, shown: list[dict[str, Any]]) -> bytes:
        """The body of the answer."""
        return orjson.dumps({"certificates": shown, "hint": self.hint})


def document_text(kind: DocumentType, number: str) -> str:
    """What of a document is indexed. Raises: InvalidIdentityDocument."""
    today = shanghai_date(datetime.now(UTC))
    return f"{kind.value}|{validate_document(kind, number, today).same_person_key}"


def _shown(answer: str) -> dict[str, Any]:
    """A certificate as everybody may see it."""
    shown = public_answer.told(answer)
    shown["level_name"] = LEVEL_NAMES[shown["level"]]
    return shown


def no_such_link() -> NotFound:
    """A link that leads nowhere. The token is a secret of its holder, so it is not repeated."""
    return NotFound(what="certificate", id="with this link")


def link_answer(found: Found) -> tuple[bytes, str]:
    """What the link of a certificate is answered with, and the entity tag of that."""
    _, answer, replaced = found
    shown = _shown(answer)
    shown["replaced"] = replaced
    body = orjson.dumps(shown)
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


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
            pattern="^[0-9a-f]{32}$",
            description="二维码中的令牌 · from the QR code",
            examples=["0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
        ),
    ],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """二维码指向此处;旧版证书的链接会说明已被替换。· Where the QR code leads. The link of an older
    version says that it was replaced."""
    service: AppContext = request.app.state.service
    found = await service.registry.by_token.ask(token)
    if not found:
        raise no_such_link()
    body, tag = link_answer(found[0])
    # Kept by nobody: a revocation has to be seen at once.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in [part.strip() for part in (if_none_match or "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")

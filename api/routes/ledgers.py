"""Ledgers: opening one, its fees, and the list of all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from api.errors.validation import invalid_request
from api.http.command_route import CommandRequest, CommandRoute
from api.http.context import AppContext
from api.http.dependencies import Read, json_response
from api.http.routing import OPEN_READING, router
from domain.decision import NotFound
from domain.editions.edition import EditionKind
from domain.states.editions import fees_on
from domain.states.folds import LedgerState, NoOrganisation
from domain.steps.ledger_setup import OPEN_LEDGER, SET_ISSUER_URL, OpenLedger, opening_fact
from domain.values.certificate_numbers import format_national
from domain.values.primitives import Level
from domain.values.working_days import shanghai_date

TAG = "账本 · Ledgers"
everywhere = router(TAG, prefix="")
routes = router(TAG)


class LedgerBody(BaseModel):
    """一个评价机构的账本 · one evaluation organisation's ledger."""

    ledger: str
    organisation_name: str = Field(description="评价机构")
    issuer_name: str = Field(description="发证机构")
    site_code: str = Field(description="证书编号前13位")
    log_origin: str = Field(description="name of its transparency log")


class FeeBody(BaseModel):
    """What one occupation and level costs today, fen."""

    occupation: str
    level: int
    certification_fee_fen: int
    study_material_fee_fen: int


class IssuerUrlBody(BaseModel):
    """An address that links on certificates begin with."""

    url: str
    valid_from: str = Field(alias="from", description="first day on which it is printed")


class LedgerDetailBody(LedgerBody):
    """The same with what it charges, and the addresses of its links, the newest last."""

    unified_social_credit_code: str
    fees_edition: str = Field(description="the edition of fees that holds today")
    fees: list[FeeBody]
    issuer_urls: list[IssuerUrlBody]


class LedgerListBody(BaseModel):
    """All ledgers that are open."""

    data: list[LedgerBody]


@everywhere.get(
    "/ledgers",
    operation_id="list_ledgers",
    summary="账本列表 · List ledgers",
    responses={200: {"model": LedgerListBody}, **OPEN_READING},
)
async def list_ledgers(request: Request) -> Response:
    """已开立的全部账本。· Every ledger that was opened, in order of name."""
    service: AppContext = request.app.state.service
    found = []
    for name in await service.ledger_names():
        ledger = await service.ledger(name)
        try:
            found.append(_shown(name, await service.read(ledger.state, "ledger")))
        except (NotFound, NoOrganisation):
            continue  # created, but not opened yet; or the operator's own
    return json_response({"data": found})


class _OpenLedgerRoute(CommandRoute):
    """The one command whose ledger is created first."""

    async def carry_out(self, request: CommandRequest) -> Response:
        """Create the ledger, then record that it is open.

        Raises: InvalidRequest, InvalidCertificateNumber, SiteCodeTaken, then as for any command.
        """
        command = self.command(request)
        assert isinstance(command, OpenLedger)
        _check_before_creating(command)
        name = request.path_params["ledger"]
        ledger = await request.service.create_ledger(name, command.site_code)
        context = self.context(request, ledger)
        return self.receipt_response(context, command, await context.record(command))


def _check_before_creating(command: OpenLedger) -> None:
    """Refuse now what the decision would refuse: the site code is final once the ledger exists.

    Raises: InvalidRequest, InvalidCertificateNumber.
    """
    format_national(command.site_code, 2026, Level.INTERMEDIATE, 1)
    try:
        opening_fact(command)
    except ValidationError as wrong:
        raise invalid_request(wrong.errors(), where="body") from None


everywhere.routes += [
    _OpenLedgerRoute(
        OPEN_LEDGER,
        "PUT /",
        "open_ledger",
        tag=TAG,
        summary="开立账本 · Open a ledger",
        docs="""
        为评价机构开立账本;站点代码一经使用不可更改。· Open the ledger of an evaluation
        organisation. Its site code begins every national number and never changes.""",
        example={
            "organisation_name": "浙江今日头条科技有限公司",
            "issuer_name": "浙江今日头条科技有限公司",
            "unified_social_credit_code": "91330100MA2B0EXAMP",
            "site_code": "S000033000123",
            "log_origin": "ledger.example.cn/omc",
        },
    ),
]


@routes.get(
    "",
    operation_id="get_ledger",
    summary="查看账本与收费标准 · Show a ledger and its fees",
    responses={200: {"model": LedgerDetailBody}, **OPEN_READING},
)
async def get_ledger(read: Read) -> Response:
    """账本信息与各职业、等级的现行收费标准。· Whose ledger it is, and what it charges today.

    Other days and points in time: `GET …/editions/fees`. Source: 2.1-2.3.
    """
    state = await read.state("ledger")
    editions = await read.run(read.ledger.editions, EditionKind.FEES)
    today = shanghai_date(datetime.now(UTC))
    table = fees_on(editions, today)
    detail = {
        "unified_social_credit_code": state.organisation.unified_social_credit_code,
        "fees_edition": editions.in_force(today)[0].edition,
        "fees": [fee.model_dump(mode="json") for fee in table.fees],
        "issuer_urls": [each.model_dump(mode="json") for each in state.issuer_urls],
    }
    return json_response(_shown(read.ledger.name, state) | detail)


def _shown(name: str, state: LedgerState) -> dict[str, Any]:
    opened = state.organisation
    return {
        "ledger": name,
        "organisation_name": opened.organisation_name,
        "issuer_name": opened.issuer_name,
        "site_code": opened.site_code,
        "log_origin": opened.log_origin,
    }


routes.routes += [
    CommandRoute(
        SET_ISSUER_URL,
        "POST /issuer-urls",
        "set_issuer_url",
        tag=TAG,
        summary="设定发证地址 · Set the issuer's address",
        docs="""
        证书链接自某日起使用的地址;旧地址须跳转。· With which address the links on certificates
        begin, from a day on. Older addresses have to redirect, and a service whose
        CERTLEDGER_PUBLIC_BASE_URL is another one does not start. Source: 5.3.""",
        example={"url": "https://cert.example.cn", "valid_from": "2026-12-01"},
        location="",
    ),
]

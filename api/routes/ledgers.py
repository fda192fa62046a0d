"""The books: opening one, what it charges, which ones there are."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from api.errors.validation import invalid_request
from api.http.body_models import RECORDED, body_of, command_of
from api.http.context import AppContext
from api.http.dependencies import IdempotencyKeyHeader as Key
from api.http.dependencies import (
    LedgerName,
    OccurredAtHeader,
    Read,
    Write,
    answer,
    recorded,
    write_on,
)
from api.http.routing import OPEN_READING, router
from domain import events as e
from domain.decision import NotFound
from domain.steps.ledger_setup import OpenLedger, SetFeeSchedule
from domain.values.certificate_numbers import format_national
from domain.values.primitives import Level

everywhere = router("账本 · Ledgers", prefix="")
routes = router("账本 · Ledgers")

OpenLedgerBody = body_of(
    OpenLedger,
    example={
        "organisation_name": "浙江今日头条科技有限公司",
        "issuer_name": "浙江今日头条科技有限公司",
        "unified_social_credit_code": "91330100MA2B0EXAMP",
        "site_code": "S000033000123",
        "log_origin": "ledger.example.cn/omc",
    },
)
FeeScheduleBody = body_of(
    SetFeeSchedule,
    example={
        "occupation": "4-01-02-07",
        "level": 4,
        "certification_fee_fen": 30000,
        "study_material_fee_fen": 18000,
        "valid_from": "2026-01-01",
    },
)


class LedgerBody(BaseModel):
    """一个评价机构的账本 · one evaluation organisation's book."""

    ledger: str
    organisation_name: str = Field(description="评价机构")
    issuer_name: str = Field(description="发证机构")
    site_code: str = Field(description="证书编号前13位")
    log_origin: str = Field(description="name of its transparency log")


class FeeBody(BaseModel):
    """One fee schedule, fen."""

    occupation: str
    level: int
    certification_fee_fen: int
    study_material_fee_fen: int
    valid_from: str


class LedgerDetailBody(LedgerBody):
    """The same with what it charges."""

    unified_social_credit_code: str
    fees: list[FeeBody]


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
    """已开立的全部账本。· Every ledger whose book is open, in order of name."""
    service: AppContext = request.app.state.service
    found = []
    for name in await service.ledger_names():
        ledger = await service.ledger(name)
        try:
            found.append(_shown(name, await service.read(ledger.state, "ledger")))
        except NotFound:
            continue  # its row was made, its book is still being opened
    return answer({"data": found})


@everywhere.put(
    "/ledgers/{ledger}",
    operation_id="open_ledger",
    summary="开立账本 · Open a ledger",
    status_code=201,
    responses=RECORDED,
)
async def open_ledger(
    request: Request,
    ledger: LedgerName,
    body: OpenLedgerBody,  # type: ignore[valid-type]
    idempotency_key: Key,
    occurred_at: OccurredAtHeader = None,
) -> Response:
    """为评价机构开立账本;站点代码一经使用不可更改。· Open the book of an evaluation
    organisation. Its site code begins every national number and never changes."""
    command = command_of(OpenLedger, body)
    _check_before_making(command)
    service: AppContext = request.app.state.service
    made = await service.create_ledger(ledger, command.site_code)
    write = await write_on(request, made, occurred_at)
    return recorded(await write.record(command), location=f"/ledgers/{ledger}")


def _check_before_making(command: OpenLedger) -> None:
    """Refuse now what the decision would refuse: the site code is kept from here on.

    Raises: InvalidRequest, InvalidCertificateNumber.
    """
    format_national(command.site_code, 2026, Level.INTERMEDIATE, 1)
    try:
        e.LedgerOpened(**command.model_dump())
    except ValidationError as wrong:
        raise invalid_request(wrong.errors(), where="body") from None


@routes.get(
    "",
    operation_id="get_ledger",
    summary="查看账本与收费标准 · Show a ledger and its fees",
    responses={200: {"model": LedgerDetailBody}, **OPEN_READING},
)
async def get_ledger(read: Read) -> Response:
    """账本信息与各职业、等级的收费标准。· Who keeps the book, and what it charges."""
    book = await read.state("ledger")
    fees = [fee.model_dump(mode="json") for fee in book.fees]
    detail = {"unified_social_credit_code": book.opened.unified_social_credit_code, "fees": fees}
    return answer(_shown(read.ledger.name, book) | detail)


def _shown(name: str, book: Any) -> dict[str, Any]:
    opened = book.opened
    return {
        "ledger": name,
        "organisation_name": opened.organisation_name,
        "issuer_name": opened.issuer_name,
        "site_code": opened.site_code,
        "log_origin": opened.log_origin,
    }


@routes.post(
    "/fee-schedules",
    operation_id="set_fee_schedule",
    summary="设定收费标准 · Set a fee schedule",
    status_code=201,
    responses=RECORDED,
)
async def set_fee_schedule(
    write: Write,
    body: FeeScheduleBody,  # type: ignore[valid-type]
) -> Response:
    """自某日起的认证费用与学员资料费用(分)。· What an application costs from a day on, in
    its two components, fen. Source: 2.1-2.3."""
    receipt = await write.record(command_of(SetFeeSchedule, body))
    return recorded(receipt, location=write.path(""))

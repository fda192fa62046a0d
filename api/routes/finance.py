"""Read routes of finance: refunds and their steps, totals, the double-entry postings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.dependencies import (
    AsOf,
    Cursor,
    Limit,
    MinPosition,
    Read,
    ThingId,
    as_of_moment,
    json_response,
)
from api.http.read_models import REFUND_LEDGER
from api.http.routing import READING, router
from api.routes.rows import open_texts, pick
from domain.decision import NotFound
from projections.refund_ledger import queries as ledger_of_refunds

routes = router("财务 · Finance")

RefundState = Literal[
    "ordered", "approved", "declined", "accepted", "abnormal", "settled", "closed"
]
IdFilter = Annotated[str | None, Query(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$")]


class RefundRow(BaseModel):
    """One refund."""

    refund_no: str
    application_id: str
    payment_id: str
    component: str
    amount_fen: int = Field(description="fen")
    provider: str
    channel_id: str = Field(description="商户号, the merchant account")
    provider_transaction_id: str
    merchant_order_no: str
    clause: str
    state: str
    provider_refund_id: str | None
    channel: str | None
    ordered_by: str
    approved_by: str | None
    ordered_at: datetime
    accepted_at: datetime | None
    settled_at: datetime | None
    reason: str | None
    position: int


class RefundListBody(BaseModel):
    """A page of refunds in order of number."""

    data: list[RefundRow]
    next: str | None


class StepRow(BaseModel):
    """One thing that happened to a refund: who, when, what was said."""

    step: str
    subject: str
    role: str
    amount_fen: int
    provider_refund_id: str | None
    channel: str | None
    clause: str | None
    reason: str | None
    received_account: str | None = Field(description="masked, as the provider names it")
    occurred_at: datetime
    recorded_at: datetime
    position: int


class RefundDetailBody(RefundRow):
    """One refund with everything that happened to it, the oldest first."""

    steps: list[StepRow]


class StateTotal(BaseModel):
    """Components of payments by state."""

    state: str
    component: str
    lines: int
    paid_fen: int
    entitled_fen: int
    ordered_fen: int
    settled_fen: int


class AccountTotal(BaseModel):
    """One account of the trial balance (科目余额)."""

    account: str
    name: str
    kind: str
    beancount: str
    debit_fen: int
    credit_fen: int
    balance_fen: int = Field(description="debit positive")


class InvariantShown(BaseModel):
    """What must hold of the whole ledger."""

    name: str
    left_fen: int
    right_fen: int
    holds: bool


class TotalsBody(BaseModel):
    """Totals. as_of moves the trial balance; states and invariants are of now."""

    currency: Literal["CNY"]
    by_state: list[StateTotal]
    trial_balance: list[AccountTotal]
    invariants: list[InvariantShown]


class PostingRow(BaseModel):
    """One line of a voucher (凭证)."""

    entry_no: int
    line: int
    account: str
    debit_fen: int
    credit_fen: int
    application_id: str
    payment_id: str
    component: str
    refund_no: str | None
    rule_id: str
    rule_version: int
    effective_at: datetime
    recorded_at: datetime
    position: int


class PostingListBody(BaseModel):
    """A page of voucher lines in order of voucher and line."""

    data: list[PostingRow]
    next: str | None


@routes.get(
    "/refunds",
    operation_id="list_refunds",
    summary="退费列表 · List refunds",
    responses={200: {"model": RefundListBody}, **READING},
)
async def list_refunds(
    read: Read,
    state: Annotated[list[RefundState] | None, Query(description="可多选 · any of these")] = None,
    application_id: IdFilter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Response:
    """按退费单号排列;state=ordered 即待审批清单。· In order of number; `state=ordered` is the list
    of what waits for approval."""
    await read.wait_for_position(REFUND_LEDGER, min_position)
    list_name = f"refunds|{read.ledger.name}|{state}|{application_id}"
    page = read.service.page(list_name, cursor, limit)
    found = await read.ask(
        ledger_of_refunds.refunds,
        states=state,
        application_id=application_id,
        after=page.after[0] if page.after else None,
        limit=page.limit,
    )
    rows, following = page.split(found, lambda row: [row["refund_no"]])
    await open_texts(read, rows, "reason")
    return json_response({"data": [pick(row, RefundRow) for row in rows], "next": following})


@routes.get(
    "/refunds/{refund_no}/steps",
    operation_id="get_refund_steps",
    summary="退费经过 · What happened to a refund",
    responses={200: {"model": RefundDetailBody}, **READING},
)
async def get_refund_steps(
    read: Read, refund_no: ThingId, min_position: MinPosition = None, as_of: AsOf = None
) -> Response:
    """何人何时做了什么;as_of 只影响经过。· Who did what and when; `as_of` moves the steps, the
    refund itself is of now."""
    moment = as_of_moment(as_of)
    await read.wait_for_position(REFUND_LEDGER, min_position)
    found = await read.ask(ledger_of_refunds.refund, refund_no)
    if found is None:
        raise NotFound(what="refund", id=refund_no)
    steps = await read.ask(ledger_of_refunds.steps, refund_no=refund_no, as_of=moment)
    await open_texts(read, [found, *steps], "reason")
    await open_texts(read, steps, "received_account")
    return json_response(pick(found, RefundRow) | {"steps": [pick(row, StepRow) for row in steps]})


@routes.get(
    "/refunds/totals",
    operation_id="get_refund_totals",
    summary="退费与科目汇总 · Totals and trial balance",
    responses={200: {"model": TotalsBody}, **READING},
)
async def get_refund_totals(
    read: Read, min_position: MinPosition = None, as_of: AsOf = None
) -> Response:
    """按状态汇总、科目余额表、必须成立的等式。· By state, the trial balance, and the equations that
    must hold to the fen."""
    moment = as_of_moment(as_of)
    await read.wait_for_position(REFUND_LEDGER, min_position)
    by_state = await read.ask(ledger_of_refunds.summary)
    balance = await read.ask(ledger_of_refunds.trial_balance, as_of=moment)
    invariants = await read.ask(ledger_of_refunds.invariants)
    return json_response(
        {
            "currency": "CNY",
            "by_state": [pick(row, StateTotal) for row in by_state],
            "trial_balance": [pick(row, AccountTotal) for row in balance],
            "invariants": [pick(row, InvariantShown) for row in invariants],
        }
    )


@routes.get(
    "/postings",
    operation_id="list_postings",
    summary="分录 · Voucher lines",
    responses={200: {"model": PostingListBody}, **READING},
)
async def list_postings(
    read: Read,
    account: Annotated[str | None, Query(pattern=r"^[0-9]{4}(\.[0-9]{1,2}){0,2}$")] = None,
    application_id: IdFilter = None,
    limit: Limit = 200,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    as_of: AsOf = None,
) -> Response:
    """复式记账,凭证号连续无缺。· Double entry; voucher numbers have no gap."""
    moment = as_of_moment(as_of)
    await read.wait_for_position(REFUND_LEDGER, min_position)
    list_name = f"postings|{read.ledger.name}|{account}|{application_id}|{as_of}"
    page = read.service.page(list_name, cursor, limit)
    found = await read.ask(
        ledger_of_refunds.postings,
        account=account,
        application_id=application_id,
        after=(page.after[0], page.after[1]) if page.after else None,
        limit=page.limit,
        as_of=moment,
    )
    rows, following = page.split(found, lambda row: [row["entry_no"], row["line"]])
    return json_response({"data": [pick(row, PostingRow) for row in rows], "next": following})

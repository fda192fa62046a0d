"""Fees (缴费): what arrived, and the use of what was paid for."""

from __future__ import annotations

from starlette.responses import Response

from api.http.body_models import RECORDED, body_of, command_of
from api.http.dependencies import ThingId, Write, recorded
from api.http.routing import router
from domain.steps.payment import RecordPayment, UseItem

routes = router("缴费 · Payments")

PaymentBody = body_of(
    RecordPayment,
    "application_id",
    example={
        "provider": "wechat",
        "provider_transaction_id": "4200002345202611230000000001",
        "merchant_order_no": "OMC202611230001",
        "paid_at": "2026-11-20T10:00:00+08:00",
        "lines": [
            {"component": "certification_fee", "amount_fen": 30000},
            {"component": "study_material", "amount_fen": 18000},
        ],
    },
)
ItemUseBody = body_of(UseItem, "application_id", example={"item": "recorded_course"})


@routes.post(
    "/applications/{application_id}/payments",
    operation_id="record_payment",
    summary="登记到账 · Record a payment",
    status_code=201,
    responses=RECORDED,
)
async def record_payment(
    write: Write,
    application_id: ThingId,
    body: PaymentBody,  # type: ignore[valid-type]
) -> Response:
    """两个组成部分、各按当日标准、单位为分;多付的钱照收并全额待退。· Both components at the
    price of the day, in fen. Money that nobody owed is recorded as excess and goes back whole.
    The provider's transaction id counts once. Source: 2.1-2.3."""
    command = command_of(RecordPayment, body, application_id=application_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/item-uses",
    operation_id="use_item",
    summary="登记使用学员资料 · Record the use of an item",
    status_code=201,
    responses=RECORDED,
)
async def use_item(
    write: Write,
    application_id: ThingId,
    body: ItemUseBody,  # type: ignore[valid-type]
) -> Response:
    """学员资料首次使用后即不予退费。· The first use of study material ends its refund.
    Source: 2.3, 2.4(1)."""
    command = command_of(UseItem, body, application_id=application_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))

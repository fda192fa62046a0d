"""Refunds (退费): ordered, approved by a second person, and what the provider says of them."""

from __future__ import annotations

from starlette.responses import Response

from api.http.body_models import RECORDED, body_of, command_of
from api.http.dependencies import ThingId, Write, recorded
from api.http.routing import router
from domain.steps.refund import ApproveRefund, DeclineRefund, OrderRefund, RecordRefundOutcome

routes = router("退费 · Refunds")

RefundBody = body_of(
    OrderRefund,
    "application_id",
    example={"payment_id": "p1", "component": "certification_fee"},
)
DeclineBody = body_of(
    DeclineRefund, "application_id", "refund_no", example={"reason": "金额与流水不符"}
)
OutcomeBody = body_of(
    RecordRefundOutcome,
    "application_id",
    "refund_no",
    example={
        "outcome": "settled",
        "provider_refund_id": "50300000000000000001",
        "channel": "original",
        "settled_at": "2026-11-22T15:00:00+08:00",
    },
)


@routes.post(
    "/applications/{application_id}/refunds",
    operation_id="order_refund",
    summary="申请退费 · Order a refund",
    status_code=201,
    responses=RECORDED,
)
async def order_refund(
    write: Write,
    application_id: ThingId,
    body: RefundBody,  # type: ignore[valid-type]
) -> Response:
    """按组成部分、原路退回;依规不退的也会记录,可申诉。· One component of one payment, back the
    way it came. What a rule keeps is recorded as a refusal with its clause, so that it can be
    appealed: look at `outcome`. Source: 2.4(1), 2.4(2)."""
    command = command_of(OrderRefund, body, application_id=application_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/refunds/{refund_no}/approval",
    operation_id="approve_refund",
    summary="批准退费 · Approve a refund",
    status_code=201,
    responses=RECORDED,
)
async def approve_refund(write: Write, application_id: ThingId, refund_no: ThingId) -> Response:
    """须由申请人以外的人批准。· By somebody other than who ordered it."""
    command = ApproveRefund(application_id=application_id, refund_no=refund_no)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/refunds/{refund_no}/decline",
    operation_id="decline_refund",
    summary="驳回退费 · Decline a refund",
    status_code=201,
    responses=RECORDED,
)
async def decline_refund(
    write: Write,
    application_id: ThingId,
    refund_no: ThingId,
    body: DeclineBody,  # type: ignore[valid-type]
) -> Response:
    """驳回后可重新申请,另用新号。· A declined refund may be ordered anew, under a new number."""
    command = command_of(DeclineRefund, body, application_id=application_id, refund_no=refund_no)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/refunds/{refund_no}/outcome",
    operation_id="record_refund_outcome",
    summary="登记退费结果 · Record what the provider says",
    status_code=201,
    responses=RECORDED,
)
async def record_refund_outcome(
    write: Write,
    application_id: ThingId,
    refund_no: ThingId,
    body: OutcomeBody,  # type: ignore[valid-type]
) -> Response:
    """受理不等于到账。· Accepted is not yet arrived: settled, closed and abnormal follow."""
    command = command_of(
        RecordRefundOutcome, body, application_id=application_id, refund_no=refund_no
    )
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))

"""Refunds (退费): ordered, approved by a second person, and their outcome at the provider."""

from __future__ import annotations

from api.http.command_route import CommandRoute
from api.http.routing import router
from domain.steps.refund import APPROVE_REFUND, DECLINE_REFUND, ORDER_REFUND, RECORD_REFUND_OUTCOME

TAG = "退费 · Refunds"
routes = router(TAG)


routes.routes += [
    CommandRoute(
        ORDER_REFUND,
        "POST /applications/{application_id}/refunds",
        "order_refund",
        tag=TAG,
        summary="申请退费 · Order a refund",
        docs="""
        按组成部分、原路退回;依规不退的也会记录,可申诉。· One component of one payment, back the
        way it came. What a rule keeps is recorded as a refusal with its clause, so that it can be
        appealed: look at `outcome`. Source: 2.4(1), 2.4(2).""",
        example={"payment_id": "PAY1", "component": "certification_fee"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        APPROVE_REFUND,
        "POST /applications/{application_id}/refunds/{refund_no}/approval",
        "approve_refund",
        tag=TAG,
        summary="批准退费 · Approve a refund",
        docs="""
        须由申请人以外的人批准。· By somebody other than who ordered it.""",
        location="/applications/{application_id}",
    ),
    CommandRoute(
        DECLINE_REFUND,
        "POST /applications/{application_id}/refunds/{refund_no}/decline",
        "decline_refund",
        tag=TAG,
        summary="驳回退费 · Decline a refund",
        docs="""
        驳回后可重新申请,另用新号。· A declined refund may be ordered again, under a new number.""",
        example={"reason": "金额与流水不符"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        RECORD_REFUND_OUTCOME,
        "POST /applications/{application_id}/refunds/{refund_no}/outcome",
        "record_refund_outcome",
        tag=TAG,
        summary="登记退费结果 · Record what the provider says",
        docs="""
        受理不等于到账。· Accepted is not yet arrived: settled, closed and abnormal follow.""",
        example={
            "outcome": "settled",
            "provider_refund_id": "50300000000000000001",
            "channel": "original",
            "settled_at": "2026-11-22T15:00:00+08:00",
        },
        location="/applications/{application_id}",
    ),
]

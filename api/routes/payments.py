"""Fees (缴费): recording payments, and the use of what was paid for."""

from __future__ import annotations

from api.http.command_route import CommandRoute
from api.http.routing import router
from domain.steps.payment import RECORD_PAYMENT, USE_ITEM

TAG = "缴费 · Payments"
routes = router(TAG)


routes.routes += [
    CommandRoute(
        RECORD_PAYMENT,
        "POST /applications/{application_id}/payments",
        "record_payment",
        tag=TAG,
        summary="登记到账 · Record a payment",
        docs="""
        两个组成部分、各按当日标准、单位为分;多付的钱照收并全额待退。· Both components at the
        price of the day, in fen. Money that nobody owed is recorded as excess and goes back whole.
        The provider's transaction id counts once. Source: 2.1-2.3.""",
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
        location="/applications/{application_id}",
    ),
    CommandRoute(
        USE_ITEM,
        "POST /applications/{application_id}/item-uses",
        "use_item",
        tag=TAG,
        summary="登记使用学员资料 · Record the use of an item",
        docs="""
        学员资料首次使用后即不予退费。· The first use of study material ends its refund.
        Source: 2.3, 2.4(1).""",
        example={"item": "recorded_course"},
        location="/applications/{application_id}",
    ),
]

"""Refunds: orders, decisions, and the providers' outcomes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from scripts.cohort.journey import CALLBACK, CASHIER, FINANCE, Case
from scripts.cohort.rng import at_office
from scripts.cohort.tables import Row

Script = Literal[
    "refused", "ordered", "approved", "accepted", "settled", "declined", "closed", "abnormal",
    "abnormal then settled",
]  # fmt: skip
COMPONENTS = ("certification_fee", "study_material")


def refund_both(case: Case, *scripts: Script, by_office: bool = False) -> None:
    """Refunds both components of the first payment; one script for both, or one each."""
    for component, script in zip(COMPONENTS, (*scripts, *scripts), strict=False):
        refund(case, case.payments[0], component, script, by_office=by_office)


def refund(
    case: Case, payment: Row, component: str, script: Script, *, by_office: bool = False
) -> None:
    """Refunds one component of one payment, as far as the script goes."""
    payment_id = payment["id"]
    if by_office:
        case.at_office(0, 1)
    else:
        case.at_home(1, 30)
    case.write(
        "refunds",
        FINANCE if by_office else case.person.login,
        payment_id=payment_id,
        component=component,
    )
    if script == "refused":
        return
    case.refunds[payment_id] = case.refunds.get(payment_id, 0) + 1
    refund_no = f"R{payment_id}-{case.refunds[payment_id]}"
    if script == "ordered":
        return
    case.at_office(0, 1)
    if script == "declined":
        case.write(
            "refund_decisions",
            CASHIER,
            refund_no=refund_no,
            decision="decline",
            reason="退款材料缺少本人签字，请补齐后重新申请",
        )
        return
    case.write("refund_decisions", CASHIER, refund_no=refund_no, decision="approve")
    if script != "approved":
        _outcomes(case, payment, refund_no, script)


ACCOUNTS = {"微信": "支付用户零钱", "支付宝": "159****5620", "银行": "某银行储蓄卡0403"}
"""Where money went back to, as each provider masks it."""


def _outcomes(case: Case, payment: Row, refund_no: str, script: Script) -> None:
    provider = payment["支付渠道"]
    number = case.cohort.count("provider refund")
    provider_refund_id = {
        "微信": f"50300{number:05d}{case.now:%Y%m%d}{case.cohort.rng.digits(10)}",
        "支付宝": f"{payment['渠道交易号']}{number:04d}",
        "银行": f"TK{case.now:%y%m%d}{number:06d}",
    }[provider]
    accepted: dict[str, Any] = {"refund_no": refund_no, "provider_refund_id": provider_refund_id}
    case.soon(5, 50)
    if script == "closed":
        closed = {"refund_no": refund_no, "reason": "渠道关闭退款：商户账户余额不足"}
        case.write("refund_outcomes", CALLBACK, outcome="closed", **closed)
        return
    case.write("refund_outcomes", CALLBACK, outcome="accepted", **accepted)
    if script == "accepted":
        return
    channel = "bank_transfer" if provider == "银行" else "original"
    if script.startswith("abnormal"):
        case.at_home(4, 20)
        case.write(
            "refund_outcomes",
            CALLBACK,
            outcome="abnormal",
            refund_no=refund_no,
            reason="原支付账户已注销，退款无法入账",
        )
        if script == "abnormal":
            return
        case.now = at_office(case.cohort.rng, case.now, 3)
        channel = "other_bankcard"
    else:
        case.at_home(1, 30)
    settled_at = case.now - timedelta(minutes=case.cohort.rng.between(1, 30))
    account = ACCOUNTS["银行" if channel == "other_bankcard" else provider]
    accepted |= {"channel": channel, "settled_at": settled_at, "received_account": account}
    case.write("refund_outcomes", CALLBACK, outcome="settled", **accepted)

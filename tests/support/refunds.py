"""Commands of a refund's steps, and worlds with a refund in progress."""

from __future__ import annotations

from typing import Any

from domain.events import Component
from domain.steps.refund import ApproveRefund, DeclineRefund, RecordRefundOutcome
from tests.support.actors import FINANCE, candidate
from tests.support.commands import order
from tests.support.journeys import a_rejected_application
from tests.support.world import World


def approve(refund_no: str = "RPAY1-1", n: int = 1) -> ApproveRefund:
    """A second person approves."""
    return ApproveRefund(application_id=f"A{n}", refund_no=refund_no)


def decline(refund_no: str = "RPAY1-1") -> DeclineRefund:
    """A second person declines."""
    return DeclineRefund(application_id="A1", refund_no=refund_no, reason="账户待核实")


def provider_outcome(
    outcome: str, refund_no: str = "RPAY1-1", n: int = 1, **more: Any
) -> RecordRefundOutcome:
    """A provider's outcome."""
    return RecordRefundOutcome(application_id=f"A{n}", refund_no=refund_no, outcome=outcome, **more)


def accepted(
    refund_no: str = "RPAY1-1", number: str = "5030001", n: int = 1
) -> RecordRefundOutcome:
    """The provider accepted the refund."""
    return provider_outcome("accepted", refund_no, n, provider_refund_id=number)


def settled(world: World, refund_no: str = "RPAY1-1", **changed: Any) -> RecordRefundOutcome:
    """The money arrived."""
    fields: dict[str, Any] = {
        "provider_refund_id": "5030001",
        "channel": "original",
        "settled_at": world.now,
    }
    return provider_outcome("settled", refund_no, **(fields | changed))


def an_ordered_refund(component: Component = Component.CERTIFICATION_FEE) -> World:
    """A rejected candidate ordered the refund of one component."""
    world = a_rejected_application()
    world.do(order(component), by=candidate(1))
    return world


def an_accepted_refund() -> World:
    """Ordered, approved, and accepted by the provider."""
    world = an_ordered_refund()
    world.do(approve(), by=FINANCE)
    world.do(accepted(), by=FINANCE)
    return world


def an_abnormal_refund() -> World:
    """The provider could not reach the account."""
    world = an_accepted_refund()
    world.do(provider_outcome("abnormal", reason="银行卡已注销"), by=FINANCE)
    return world

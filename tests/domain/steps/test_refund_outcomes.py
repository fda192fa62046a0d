"""What a provider says of a refund, and what it must say with it (退款结果)."""

from datetime import timedelta

import pytest

from domain import events as e
from domain.decision import InTheFuture, TooEarly
from domain.events import Component, Provider
from domain.steps.enrolment import ApplicationNotOpen
from domain.steps.payment import NotPaid
from domain.steps.refund import OutcomeIncomplete, RefundOutOfOrder, WrongProviderRefund
from domain.store.errors import ClaimTaken
from tests.support.actors import FINANCE
from tests.support.commands import ENDED_AT, order, pay_again, use, withdraw
from tests.support.refunds import (
    accepted,
    an_abnormal_refund,
    an_accepted_refund,
    an_ordered_refund,
    approve,
    decline,
    provider_outcome,
    settled,
)
from tests.support.world import given

FEE = Component.CERTIFICATION_FEE
MATERIAL = Component.STUDY_MATERIAL


def test_acceptance_is_not_yet_the_arrival_of_the_money():
    """Source: source-document 2.4(1)."""
    world = an_accepted_refund()
    [refund] = world.candidacy("A1").refunds
    assert (refund.state, refund.provider_refund_id) == ("accepted", "5030001")
    given(world).when(settled(world)).then(
        e.RefundSettled(
            application_id="A1",
            person_id="P1",
            refund_no="RPAY1-1",
            provider_refund_id="5030001",
            channel="original",
            settled_at=world.now,
            source=e.EvidenceSource.PERSON,
        )
    )


EVIDENCE = {
    "source": e.EvidenceSource.BILL,
    "evidence_sha256": "b" * 64,
    "provider_refund_fen": 29_400,
    "fee_returned_fen": 180,
    "received_account": "招商银行信用卡0403",
}


def test_what_the_provider_says_of_a_refund_is_recorded_with_its_evidence():
    """Source: source-document 2.4(1)."""
    world = an_ordered_refund()
    world.do(approve(), by=FINANCE)
    at = world.now
    which = {"application_id": "A1", "person_id": "P1", "refund_no": "RPAY1-1"}
    taken = provider_outcome("accepted", provider_refund_id="5030001", accepted_at=at, **EVIDENCE)
    given(world).when(taken, by=FINANCE).then(
        e.RefundAccepted(**which, **EVIDENCE, provider_refund_id="5030001", accepted_at=at)
    )
    world.do(taken, by=FINANCE)
    failed = provider_outcome("abnormal", reason="银行卡已注销", abnormal_at=at, **EVIDENCE)
    given(world).when(failed, by=FINANCE).then(
        e.RefundAbnormal(**which, **EVIDENCE, reason="银行卡已注销", abnormal_at=at)
    )
    closed = provider_outcome("closed", reason="余额不足", closed_at=at, **EVIDENCE)
    given(world).when(closed, by=FINANCE).then(
        e.RefundClosed(**which, **EVIDENCE, reason="余额不足", closed_at=at)
    )


def test_an_account_with_its_whole_number_is_refused():
    with pytest.raises(ValueError, match="an account is masked"):
        provider_outcome("accepted", received_account="招商银行 6225 8801 0000 0403")


@pytest.mark.parametrize("outcome", ["accepted", "settled", "closed", "abnormal"])
def test_a_time_of_another_outcome_is_refused(outcome):
    for other in {"accepted", "settled", "closed", "abnormal"} - {outcome}:
        with pytest.raises(ValueError, match=f"{other}_at is a time of another outcome"):
            provider_outcome(outcome, **{f"{other}_at": ENDED_AT})


def test_the_provider_accepts_between_the_payment_and_now():
    world = an_ordered_refund()
    world.do(approve(), by=FINANCE)
    number = {"provider_refund_id": "5030001"}
    late = provider_outcome("accepted", **number, accepted_at=world.now + timedelta(days=1))
    given(world).when(late).fails(InTheFuture, field="accepted_at")
    early = world.candidacy("A1").paid[0].paid_at - timedelta(seconds=1)
    given(world).when(provider_outcome("accepted", **number, accepted_at=early)).fails(
        TooEarly, field="accepted_at"
    )


MOVES = {
    "ordered": set(),
    "approved": {"accepted", "closed"},
    "accepted": {"settled", "closed", "abnormal"},
    "abnormal": {"settled"},
    "settled": set(),
    "closed": set(),
    "declined": set(),
}


@pytest.mark.parametrize("state", list(MOVES))
@pytest.mark.parametrize("outcome", ["accepted", "settled", "closed", "abnormal"])
def test_a_refund_moves_only_along_its_path(state, outcome):
    """Source: source-document 2.4(1)."""
    world = an_ordered_refund()
    if state == "declined":
        world.do(decline(), by=FINANCE)
    elif state != "ordered":
        world.do(approve(), by=FINANCE)
    if state in ("accepted", "abnormal", "settled"):
        world.do(accepted())
    if state == "abnormal":
        world.do(provider_outcome("abnormal", reason="银行卡已注销"))
    elif state == "settled":
        world.do(settled(world))
    elif state == "closed":
        world.do(provider_outcome("closed", reason="商户余额不足"))
    complete = provider_outcome(
        outcome,
        provider_refund_id="5030001",
        channel="original",
        settled_at=world.now if outcome == "settled" else None,
        reason="银行退回",
    )
    when = given(world).when(complete, by=FINANCE)
    if outcome in MOVES[state]:
        assert f"refund_{outcome}.v1" == when.decided.facts[0][1].TOPIC
    else:
        when.fails(RefundOutOfOrder, state=state, wanted=outcome)


@pytest.mark.parametrize(
    ("outcome", "field"),
    [
        ("accepted", "provider_refund_id"),
        ("settled", "provider_refund_id"),
        ("settled", "channel"),
        ("settled", "settled_at"),
        ("closed", "reason"),
        ("abnormal", "reason"),
    ],
)
def test_an_outcome_says_all_that_belongs_to_it(outcome, field):
    world = an_accepted_refund()
    if outcome == "accepted":
        world = an_ordered_refund()
        world.do(approve(), by=FINANCE)
    complete = {
        "provider_refund_id": "5030001",
        "channel": "original",
        "settled_at": world.now if outcome == "settled" else None,
        "reason": "银行退回",
    }
    del complete[field]
    given(world).when(provider_outcome(outcome, **complete)).fails(
        OutcomeIncomplete, outcome=outcome, field=field
    )


def test_a_refund_out_of_order_is_refused_before_what_is_missing():
    given(an_ordered_refund()).when(provider_outcome("settled")).fails(RefundOutOfOrder)


def test_money_arrives_between_the_payment_and_now():
    world = an_accepted_refund()
    paid_at = world.candidacy("A1").paid[0].paid_at
    late = settled(world, settled_at=world.now + timedelta(days=1))
    given(world).when(late).fails(InTheFuture, field="settled_at")
    early = settled(world, settled_at=paid_at - timedelta(seconds=1))
    given(world).when(early).fails(TooEarly, field="settled_at")
    at_once = settled(world, settled_at=paid_at)
    given(world).when(at_once).then_kinds(e.RefundSettled)


def test_one_number_of_the_providers_stands_for_one_refund():
    """One movement of money never settles two refunds. Source: source-document 2.4(1)."""
    world = an_accepted_refund()
    world.do(order(MATERIAL), by=FINANCE)
    other = "RPAY1-2"
    clerk = FINANCE.model_copy(update={"subject": "finance-3"})
    world.do(approve(other), by=clerk)
    given(world).when(accepted(other)).fails(ClaimTaken, kind="provider_refund")
    world.do(accepted(other, "5030002"))
    given(world).when(settled(world, other)).fails(WrongProviderRefund, refund_no=other)
    given(world).when(settled(world, other, provider_refund_id="5030002")).then_kinds(
        e.RefundSettled
    )


def test_two_providers_may_give_the_same_number():
    world = an_accepted_refund()
    world.do(pay_again(provider=Provider.ALIPAY), by=FINANCE)
    world.do(order(FEE, "TWIN1"))
    world.do(approve("RTWIN1-1"), by=FINANCE)
    given(world).when(accepted("RTWIN1-1")).then_kinds(e.RefundAccepted)


def test_an_abnormal_refund_stays_owed_and_is_settled_by_a_bank_transfer():
    """Source: source-document 2.4(1)."""
    world = an_abnormal_refund()
    assert world.candidacy("A1").refunds[0].state == "abnormal"
    transfer = settled(world, channel="bank_transfer", provider_refund_id="BANK-77")
    after = given(world).when(transfer, by=FINANCE).then_kinds(e.RefundSettled)
    assert after.candidacy("A1").refunds[0].state == "settled"
    assert after.claimed("provider_refund", "bank|BANK-77")


def test_a_bank_transfer_settles_one_refund_only():
    world = an_abnormal_refund()
    world.do(settled(world, channel="bank_transfer", provider_refund_id="BANK-77"))
    world.do(order(MATERIAL))
    world.do(approve("RPAY1-2"), by=FINANCE)
    world.do(accepted("RPAY1-2", "5030002"))
    again = settled(world, "RPAY1-2", channel="bank_transfer", provider_refund_id="BANK-77")
    given(world).when(again).fails(ClaimTaken, kind="provider_refund")


def test_a_callback_that_comes_twice_is_refused():
    given(an_accepted_refund()).when(accepted()).fails(RefundOutOfOrder, state="accepted")
    world = an_accepted_refund()
    world.do(settled(world))
    given(world).when(settled(world)).fails(RefundOutOfOrder, state="settled")


def test_withdrawing_and_using_are_over_while_a_refund_is_on_its_way():
    """Source: source-document 2.4(1)."""
    world = an_ordered_refund()
    given(world).when(withdraw()).fails(ApplicationNotOpen)
    given(world).when(use(e.Item.HANDBOOK)).fails(NotPaid)

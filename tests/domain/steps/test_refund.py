"""Money that goes back, per component and to the original payment (退费)."""

import pytest

from domain import events as e
from domain.decision import NotFound, NotYourOwn, OwnApplication
from domain.events import Component, Item, RefundRefusal
from domain.steps.refund import (
    AlreadyRefunded,
    ApplicationStillOpen,
    NothingToRefund,
    RefundOutOfOrder,
    SecondPersonNeeded,
    UnknownFeeLine,
)
from tests.support.actors import FINANCE, FINANCE_2, candidate
from tests.support.commands import both_lines, order, pay, pay_again, set_fees, use, withdraw
from tests.support.journeys import (
    a_paid_application,
    a_refused_application,
    a_rejected_application,
    an_application_in_review,
    an_eligible_application,
    an_enrolled_application,
)
from tests.support.refunds import (
    accepted,
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
MATERIAL_ITEMS = [Item.CAREER_ASSESSMENT, Item.RECORDED_COURSE, Item.MOCK_EXAM, Item.HANDBOOK]


def ordered(component: Component, amount_fen: int, refund_no: str = "RPAY1-1") -> e.RefundOrdered:
    return e.RefundOrdered(
        application_id="A1",
        person_id="P1",
        refund_no=refund_no,
        payment_id="PAY1",
        component=component,
        amount_fen=amount_fen,
        provider=e.Provider.WECHAT,
        channel_id="wechat",
        provider_transaction_id=pay().provider_transaction_id,
        clause="2.4(1)",
    )


# --- the three rules ------------------------------------------------------------------------------


def test_after_a_rejection_the_certification_fee_goes_back_to_the_original_payment():
    """Source: source-document 2.4, 2.4(1)."""
    given(a_rejected_application()).when(order(FEE), by=candidate(1)).returns(
        refund_no="RPAY1-1", amount_fen=30_000
    ).then(ordered(FEE, 30_000))


def test_after_a_rejection_unused_study_material_goes_back_too():
    """Source: source-document 2.4(1)."""
    given(a_rejected_application()).when(order(MATERIAL), by=candidate(1)).then(
        ordered(MATERIAL, 18_000)
    )


def test_after_a_withdrawal_both_components_go_back():
    """Source: source-document 2.4(1)."""
    world = a_paid_application()
    world.do(withdraw(), by=candidate(1))
    world.do(order(FEE), by=candidate(1))
    given(world).when(order(MATERIAL), by=candidate(1)).then(
        ordered(MATERIAL, 18_000, refund_no="RPAY1-2")
    )


@pytest.mark.parametrize("item", MATERIAL_ITEMS)
def test_study_material_is_refused_once_any_item_of_it_was_used(item):
    """Source: source-document 2.3, 2.4(1)."""
    world = a_rejected_application(used=[item])
    given(world).when(order(MATERIAL), by=candidate(1)).refuses_refund(
        RefundRefusal.STUDY_MATERIAL_USED, "2.4(1)"
    )


def test_the_certification_fee_goes_back_though_study_material_was_used():
    """Source: source-document 2.4(1)."""
    world = a_rejected_application(used=MATERIAL_ITEMS)
    given(world).when(order(FEE), by=candidate(1)).then(ordered(FEE, 30_000))


@pytest.mark.parametrize("component", [FEE, MATERIAL])
@pytest.mark.parametrize("used", [(), (Item.HANDBOOK,)])
def test_after_enrolment_neither_component_goes_back(component, used):
    """Source: source-document 2.4(2), 2.4(3)."""
    world = an_enrolled_application()
    for item in used:
        world.do(use(item), by=candidate(1))
    given(world).when(order(component), by=candidate(1)).refuses_refund(
        RefundRefusal.FINAL_REVIEW_PASSED, "2.4(2)"
    )


def test_until_the_final_review_passed_enrolment_is_not_reached():
    """Two passed reviews keep nothing. Source: source-document 2.4(3)."""
    world = an_application_in_review(passed=2)
    given(world).when(order(FEE), by=candidate(1)).fails(ApplicationStillOpen, status="in_review")
    world.do(withdraw(), by=candidate(1))
    given(world).when(order(FEE), by=candidate(1)).then(ordered(FEE, 30_000))


@pytest.mark.parametrize("world", [a_paid_application(), an_application_in_review()])
def test_while_the_application_is_open_nothing_is_refunded(world):
    """Source: source-document 2.4(1)."""
    given(world).when(order(FEE), by=candidate(1)).fails(ApplicationStillOpen)
    given(world).when(order(MATERIAL), by=candidate(1)).fails(ApplicationStillOpen)


def test_used_study_material_is_refused_even_before_the_outcome_is_known():
    """Source: source-document 2.4(1)."""
    world = a_paid_application()
    world.do(use(Item.MOCK_EXAM), by=candidate(1))
    given(world).when(order(MATERIAL), by=candidate(1)).refuses_refund(
        RefundRefusal.STUDY_MATERIAL_USED, "2.4(1)"
    )


def test_a_refusal_moves_no_money_and_can_be_asked_for_again():
    world = a_rejected_application(used=[Item.HANDBOOK])
    world.do(order(MATERIAL), by=candidate(1))
    assert world.candidacy("A1").refunds == ()
    given(world).when(order(MATERIAL), by=candidate(1)).then_kinds(e.RefundRefused)


# --- money that nobody owed -----------------------------------------------------------------------


def test_an_excess_payment_goes_back_whatever_became_of_the_application():
    """Source: source-document 2.4."""
    enrolled = an_enrolled_application()
    refused = a_refused_application()
    for world in (enrolled, refused, a_paid_application(), a_rejected_application()):
        world.do(pay_again(), by=FINANCE)
        for component in (FEE, MATERIAL):
            when = given(world).when(order(component, "TWIN1"), by=FINANCE)
            [(_, fact)] = when.decided.facts
            assert (type(fact), fact.clause) == (e.RefundOrdered, "excess")


def test_an_excess_payment_goes_back_though_the_study_material_was_used():
    world = a_paid_application()
    world.do(use(Item.HANDBOOK), by=candidate(1))
    world.do(pay_again(), by=FINANCE)
    given(world).when(order(MATERIAL, "TWIN1")).then_kinds(e.RefundOrdered)
    given(world).when(order(MATERIAL, "PAY1")).then_kinds(e.RefundRefused)


def test_what_is_owed_back_on_failure_leaves_excess_payments_aside():
    """Source: source-document 2.4(1)."""
    world = a_paid_application()
    world.do(pay_again(), by=FINANCE)
    world.do(withdraw(), by=candidate(1))
    [entitled] = world.facts(e.RefundEntitled)
    assert {line.payment_id for line in entitled.lines} == {"PAY1"}


# --- what can't be ordered ------------------------------------------------------------------------


def test_only_what_was_paid_can_be_asked_for_back():
    world = a_rejected_application()
    given(world).when(order(FEE, "PAY9")).fails(UnknownFeeLine, payment_id="PAY9")
    world.do(pay_again(lines=both_lines()[:1]))
    given(world).when(order(MATERIAL, "TWIN1")).fails(UnknownFeeLine, component="study_material")


def test_a_component_that_cost_nothing_does_not_go_back():
    world = an_eligible_application()
    set_fees(world, edition="fees-2", study_material_fee_fen=0)
    world.do(pay(lines=both_lines(30_000, 0)))
    world.do(withdraw(), by=candidate(1))
    [entitled] = world.facts(e.RefundEntitled)
    assert [line.component for line in entitled.lines] == [FEE]
    given(world).when(order(MATERIAL)).fails(NothingToRefund)


def test_nobody_asks_for_somebody_elses_money():
    given(a_rejected_application()).when(order(FEE), by=candidate(2)).fails(NotYourOwn)


def test_refusals_of_an_order_come_in_their_order():
    unknown = given(an_eligible_application())
    unknown.when(order(FEE, n=9), by=candidate(2)).fails(NotFound)
    unknown.when(order(FEE), by=candidate(2)).fails(NotYourOwn)
    unknown.when(order(FEE), by=candidate(1)).fails(UnknownFeeLine)
    # On its way already comes before every rule, nothing to refund before the rules too.
    free = an_eligible_application()
    set_fees(free, edition="fees-2", study_material_fee_fen=0)
    free.do(pay(lines=both_lines(30_000, 0)))
    free.do(use(Item.HANDBOOK), by=candidate(1))
    given(free).when(order(MATERIAL)).fails(NothingToRefund)


# --- nothing goes back twice ----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["ordered", "approved", "accepted", "abnormal", "settled"])
def test_nothing_is_refunded_twice(state):
    """Source: source-document 2.4(1)."""
    world = an_ordered_refund()
    steps = {
        "approved": lambda: world.do(approve(), by=FINANCE),
        "accepted": lambda: world.do(accepted()),
        "abnormal": lambda: world.do(provider_outcome("abnormal", reason="银行卡已注销")),
        "settled": lambda: world.do(settled(world)),
    }
    for name, step in steps.items():
        if world.candidacy("A1").refunds[0].state == state:
            break
        if name != "abnormal" or state == "abnormal":
            step()
    assert world.candidacy("A1").refunds[0].state == state
    given(world).when(order(FEE)).fails(AlreadyRefunded, refund_no="RPAY1-1")


def test_a_declined_refund_is_ordered_again_with_the_next_number():
    """Source: source-document 2.4."""
    world = an_ordered_refund()
    world.do(decline(), by=FINANCE)
    given(world).when(order(FEE)).then(ordered(FEE, 30_000, refund_no="RPAY1-2"))


def test_a_closed_refund_is_ordered_again_with_the_next_number():
    """Source: source-document 2.4(1)."""
    for world in (an_ordered_refund(), an_accepted_refund()):
        if world.candidacy("A1").refunds[0].state == "ordered":
            world.do(approve(), by=FINANCE)
        world.do(provider_outcome("closed", reason="商户余额不足"), by=FINANCE)
        given(world).when(order(FEE)).then(ordered(FEE, 30_000, refund_no="RPAY1-2"))


def test_numbers_count_per_payment_and_no_number_is_used_twice():
    world = a_rejected_application()
    world.do(pay_again(), by=FINANCE)
    numbers = [
        world.do(order(component, payment), by=FINANCE).outcome["refund_no"]
        for payment in ("PAY1", "TWIN1")
        for component in (FEE, MATERIAL)
    ]
    assert numbers == ["RPAY1-1", "RPAY1-2", "RTWIN1-1", "RTWIN1-2"]
    assert {("refund", number) for number in numbers} <= set(world.claims)


def test_the_longest_payment_id_still_gives_a_refund_number():
    world = an_eligible_application()
    world.do(pay(payment_id="0a" * 16))
    world.do(withdraw(), by=candidate(1))
    given(world).when(order(FEE, "0a" * 16)).returns(refund_no=f"R{'0a' * 16}-1")


def test_an_unknown_refund_cannot_be_moved():
    world = a_rejected_application()
    for command in (approve(), decline(), accepted()):
        given(world).when(command, by=FINANCE).fails(NotFound, what="refund")


# --- four eyes ------------------------------------------------------------------------------------


def test_a_second_person_approves_a_refund():
    """Source: source-document 2.4."""
    given(an_ordered_refund()).when(approve(), by=FINANCE).then(
        e.RefundApproved(application_id="A1", person_id="P1", refund_no="RPAY1-1")
    )


def test_a_second_person_declines_a_refund():
    """Source: source-document 2.4."""
    given(an_ordered_refund()).when(decline(), by=FINANCE).then(
        e.RefundDeclined(
            application_id="A1", person_id="P1", refund_no="RPAY1-1", reason="账户待核实"
        )
    )


def test_who_ordered_a_refund_neither_approves_nor_declines_it():
    world = a_rejected_application()
    world.do(order(FEE), by=FINANCE)
    given(world).when(approve(), by=FINANCE).fails(SecondPersonNeeded)
    given(world).when(decline(), by=FINANCE).fails(SecondPersonNeeded)
    given(world).when(approve(), by=FINANCE_2).then_kinds(e.RefundApproved)


def test_who_receives_the_money_does_not_approve_it():
    """A finance clerk who is the candidate. Source: source-document 2.4."""
    world = a_rejected_application()
    world.do(order(FEE), by=FINANCE)
    clerk = FINANCE_2.model_copy(update={"subject": "candidate-1"})
    given(world).when(approve(), by=clerk).fails(OwnApplication)


def test_a_refund_is_approved_or_declined_once():
    world = an_ordered_refund()
    world.do(approve(), by=FINANCE)
    given(world).when(approve(), by=FINANCE_2).fails(RefundOutOfOrder, state="approved")
    given(world).when(decline(), by=FINANCE_2).fails(RefundOutOfOrder, wanted="declined")


def test_a_refund_out_of_order_is_refused_before_the_second_person():
    world = a_rejected_application()
    world.do(order(FEE), by=FINANCE)
    world.do(approve(), by=FINANCE_2)
    given(world).when(approve(), by=FINANCE).fails(RefundOutOfOrder)
    given(world).when(decline(), by=FINANCE).fails(RefundOutOfOrder)

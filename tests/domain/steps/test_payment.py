"""The fee, its two components, and the use of what it pays for (缴纳费用)."""

from datetime import date, timedelta

import pytest

from domain import events as e
from domain.decision import AlreadyExists, InTheFuture, NotFound, NotYourOwn, TooEarly
from domain.events import Component, FeeLine, Item
from domain.states.application import Status
from domain.steps.payment import (
    ComponentMissing,
    ItemUsedUp,
    NoFeeSchedule,
    NotPaid,
    NotYetPayable,
    RecordPayment,
    UsedBySitting,
    UseItem,
    WrongAmount,
    component_of,
)
from domain.store.errors import ClaimTaken
from domain.values.primitives import Level
from tests.support.actors import FINANCE, candidate
from tests.support.commands import OCCUPATION, both_lines, pay, pay_again, set_fees, use, when
from tests.support.journeys import (
    a_paid_application,
    a_refused_application,
    a_rejected_application,
    an_application_in_review,
    an_eligible_application,
    an_enrolled_application,
)
from tests.support.world import given

MATERIAL_ITEMS = [Item.CAREER_ASSESSMENT, Item.RECORDED_COURSE, Item.MOCK_EXAM, Item.HANDBOOK]


def paid(kind: type[e.Fact], command: RecordPayment, **more: object) -> e.Fact:
    found = {"person_id": "P1", "channel_id": command.channel_id or command.provider.value}
    return kind(**(command.model_dump() | found | more))


# --- paying ---------------------------------------------------------------------------------------


def test_an_eligible_candidate_pays_both_components_at_once():
    """Source: source-document 2.1, 2.2, 2.3."""
    command = pay()
    world = (
        given(an_eligible_application()).when(command, by=FINANCE).then(paid(e.FeePaid, command))
    )
    assert world.candidacy("A1").status is Status.PAID


def test_the_outcome_names_the_payment_and_that_nothing_is_excess():
    given(an_eligible_application()).when(pay(payment_id=None)).returns(
        payment_id="id-1", excess=False
    )


def test_a_payment_names_its_merchant_account_and_what_it_is_known_from():
    """Source: source-document 2.1, 2.4."""
    said = {"channel_id": "1900000109", "source": "notification", "evidence_sha256": "a" * 64}
    command = pay(**said)
    world = (
        given(an_eligible_application()).when(command, by=FINANCE).then(paid(e.FeePaid, command))
    )
    assert {line.channel_id for line in world.candidacy("A1").paid} == {"1900000109"}
    again = pay_again(**said)
    given(world).when(again, by=FINANCE).then(
        paid(e.ExcessPaymentReceived, again, reason="component_already_paid")
    )


def test_nobody_pays_before_the_assessment():
    """Source: source-document 2.1."""
    opened = e.ApplicationOpened(
        application_id="A1",
        person_id="P1",
        occupation=OCCUPATION,
        occupation_name="互联网营销师",
        edition="2021",
        level=Level.INTERMEDIATE,
    )
    given(opened).when(pay()).fails(NotYetPayable, status="opened")


def test_a_payment_for_an_unknown_application_is_refused():
    given().when(pay()).fails(NotFound, what="application")


def test_a_payment_to_come_is_not_recorded():
    world = an_eligible_application()
    later = pay(paid_at=world.now + timedelta(hours=1))
    given(world).when(later).fails(InTheFuture, field="paid_at")


@pytest.mark.parametrize(
    ("lines", "component", "expected_fen", "given_fen"),
    [
        (both_lines(29_999, 18_000), "certification_fee", 30_000, 29_999),
        (both_lines(30_001, 18_000), "certification_fee", 30_000, 30_001),
        (both_lines(30_000, 0), "study_material", 18_000, 0),
        (both_lines(18_000, 30_000), "certification_fee", 30_000, 18_000),
    ],
)
def test_each_component_costs_exactly_what_the_schedule_says(
    lines, component, expected_fen, given_fen
):
    """Source: source-document 2.1."""
    given(an_eligible_application()).when(pay(lines=lines)).fails(
        WrongAmount, component=component, expected_fen=expected_fen, given_fen=given_fen
    )


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (both_lines()[:1], "study_material"),
        (both_lines()[1:], "certification_fee"),
    ],
)
def test_neither_component_is_bought_alone(lines, missing):
    """Source: source-document 2.1."""
    given(an_eligible_application()).when(pay(lines=lines)).fails(
        ComponentMissing, component=missing
    )


def test_no_payment_names_a_component_twice_not_even_an_excess_one():
    """A refund hangs on one component of one payment. Source: source-document 2.4(1)."""
    twice = (both_lines()[0], FeeLine(component=Component.CERTIFICATION_FEE, amount_fen=1))
    given(an_eligible_application()).when(pay(lines=twice)).fails(ComponentMissing)
    given(a_paid_application()).when(pay_again(lines=twice)).fails(ComponentMissing)


def test_the_price_is_that_of_the_day_of_payment_in_shanghai():
    """Source: source-document 2.1."""
    world = an_eligible_application()
    set_fees(world, edition="fees-2", valid_from=date(2026, 3, 3), certification_fee_fen=40_000)
    before, after = when("2026-03-02 23:59"), when("2026-03-03 00:00")
    now = after + timedelta(minutes=1)
    given(world).when(pay(paid_at=before), at=now).then_kinds(e.FeePaid)
    given(world).when(pay(paid_at=after), at=now).fails(WrongAmount, expected_fen=40_000)


def test_without_a_fee_for_the_level_nobody_pays():
    world = an_eligible_application()
    early = pay(paid_at=when("2025-12-31 23:59"))
    given(world).when(early).fails(NoFeeSchedule, day="2025-12-31", level=4)


def test_a_component_that_costs_nothing_still_has_its_line():
    world = an_eligible_application()
    set_fees(world, edition="fees-2", study_material_fee_fen=0)
    given(world).when(pay(lines=both_lines(30_000, 0))).then_kinds(e.FeePaid)
    given(world).when(pay(lines=both_lines()[:1])).fails(ComponentMissing)


def test_refusals_of_a_payment_come_in_their_order():
    world = an_eligible_application()
    wrong = {"lines": both_lines(1, 1)[:1], "paid_at": world.now + timedelta(days=1)}
    given(world).when(pay(9, **wrong)).fails(NotFound)
    given(world).when(pay(**wrong)).fails(InTheFuture)
    past = wrong | {"paid_at": when("2025-01-01 08:00")}
    given(world).when(pay(**past)).fails(NoFeeSchedule)
    today = past | {"paid_at": world.now}
    given(world).when(pay(**today)).fails(ComponentMissing)


# --- money that nobody owed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (a_paid_application(), "component_already_paid"),
        (an_application_in_review(), "component_already_paid"),
        (an_enrolled_application(), "component_already_paid"),
        (a_refused_application(), "application_closed"),
        (a_rejected_application(), "application_closed"),
    ],
)
def test_money_that_nobody_owed_is_kept_apart_and_changes_nothing_else(world, reason):
    """Source: source-document 2.1, 2.4."""
    before = world.candidacy("A1").status
    command = pay_again(lines=both_lines(12_345, 1)[:1])
    expected = paid(e.ExcessPaymentReceived, command, reason=reason)
    after = given(world).when(command, by=FINANCE).returns(excess=True).then(expected)
    assert after.candidacy("A1").status is before


def test_a_payment_is_recorded_once_however_often_the_provider_calls():
    world = a_paid_application()
    given(world).when(pay()).fails(AlreadyExists, what="payment")
    given(world).when(pay(payment_id="PAY9")).fails(ClaimTaken, kind="provider_transaction")


def test_a_payment_id_stands_for_one_payment_of_all_applications():
    world = an_eligible_application(2, a_paid_application())
    given(world).when(pay(2, payment_id="PAY1")).fails(ClaimTaken, kind="payment")


def test_two_providers_may_use_the_same_number():
    world = an_eligible_application(2, a_paid_application())
    same = pay().provider_transaction_id
    command = pay(2, provider=e.Provider.ALIPAY, provider_transaction_id=same)
    given(world).when(command).then_kinds(e.FeePaid)


# --- using ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", MATERIAL_ITEMS)
def test_each_item_of_the_study_material_is_used_once(item):
    """Source: source-document 2.3."""
    world = a_paid_application()
    used_at = world.now + timedelta(minutes=1)
    after = (
        given(world)
        .when(use(item), by=candidate(1))
        .then(
            e.FeeItemUsed(
                application_id="A1",
                person_id="P1",
                payment_id="PAY1",
                component=Component.STUDY_MATERIAL,
                item=item,
                used_at=used_at,
            )
        )
    )
    given(after).when(use(item), by=candidate(1)).fails(ItemUsedUp, item=item.value)


@pytest.mark.parametrize("item", [Item.THEORY_EXAM, Item.PRACTICAL_EXAM])
def test_the_exams_are_used_by_sitting_them_and_not_by_saying_so(item):
    """Source: source-document 2.2."""
    assert component_of(item) is Component.CERTIFICATION_FEE
    given(an_enrolled_application()).when(use(item), by=candidate(1)).fails(UsedBySitting)


def test_nothing_is_used_before_it_is_paid():
    given(an_eligible_application()).when(use(Item.HANDBOOK), by=candidate(1)).fails(
        NotPaid, component="study_material"
    )


def test_an_excess_payment_buys_nothing():
    world = a_refused_application()
    world.do(pay_again())
    given(world).when(use(Item.HANDBOOK), by=candidate(1)).fails(NotPaid)


def test_nothing_is_used_once_the_application_failed():
    """What is owed back is not used meanwhile. Source: source-document 2.4(1)."""
    given(a_rejected_application()).when(use(Item.HANDBOOK), by=candidate(1)).fails(NotPaid)


def test_who_is_enrolled_goes_on_using_the_study_material():
    """Source: source-document 2.3."""
    given(an_enrolled_application()).when(use(Item.MOCK_EXAM)).then_kinds(e.FeeItemUsed)


def test_a_use_lies_between_the_payment_and_now():
    world = a_paid_application()
    paid_at = world.candidacy("A1").paid[0].paid_at
    early = UseItem(application_id="A1", item=Item.HANDBOOK, used_at=paid_at - timedelta(seconds=1))
    given(world).when(early).fails(TooEarly, field="used_at")
    late = UseItem(application_id="A1", item=Item.HANDBOOK, used_at=world.now + timedelta(days=1))
    given(world).when(late).fails(InTheFuture, field="used_at")
    exact = UseItem(application_id="A1", item=Item.HANDBOOK, used_at=paid_at)
    given(world).when(exact).then_kinds(e.FeeItemUsed)


def test_nobody_uses_what_somebody_else_paid_for():
    given(a_paid_application()).when(use(Item.HANDBOOK), by=candidate(2)).fails(NotYourOwn)


def test_an_unknown_application_uses_nothing():
    given().when(use(Item.HANDBOOK)).fails(NotFound)

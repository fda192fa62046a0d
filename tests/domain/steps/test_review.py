"""The three reviews, who gives them and what follows (资料审核)."""

import pytest

from domain import events as e
from domain.actors import Role
from domain.decision import NotFound, OwnApplication
from domain.documents.materials import MaterialKind
from domain.events import Component, Item, Stage
from domain.states.application import Status
from domain.steps.review import (
    PASSED,
    REJECTED,
    RETURNED,
    ROUNDS_MAX,
    DocumentsIncomplete,
    ReasonMissing,
    ReviewedBefore,
    ReviewOutOfOrder,
    RoundChanged,
    TooManyRounds,
    WrongReviewer,
)
from tests.support.actors import AGENCY, ASSISTANT, CERTIFIER, PROVINCE, candidate, staff
from tests.support.commands import (
    NEEDED,
    STAGES,
    apply_for,
    give,
    hand_in,
    pay,
    submit,
    use,
)
from tests.support.journeys import (
    a_paid_application,
    a_registered_person,
    a_rejected_application,
    an_application_in_review,
    an_enrolled_application,
)
from tests.support.world import World, given


def a_supplement(*missing: MaterialKind) -> World:
    world = an_application_in_review()
    world.do(give(Stage.INITIAL, "return", missing=missing), by=AGENCY)
    return world


# --- the three reviews ----------------------------------------------------------------------------


def test_three_reviews_in_order_lead_to_enrolment():
    """Source: source-document 3.2, 3.2(1), 3.2(2), 2.4(3)."""
    world = an_application_in_review()
    for stage, actor in STAGES:
        assert world.candidacy("A1").status is Status.IN_REVIEW
        world.do(give(stage, "pass"), by=actor)
    assert world.candidacy("A1").status is Status.ENROLLED


@pytest.mark.parametrize("passed", [0, 1, 2])
@pytest.mark.parametrize("verdict", ["pass", "return", "reject"])
def test_each_review_has_three_outcomes(passed, verdict):
    """Source: source-document 3.2(2)."""
    stage, actor = STAGES[passed]
    world = an_application_in_review(passed=passed)
    when = given(world).when(give(stage, verdict), by=actor)
    fields = {} if verdict == "pass" else {"reason": "单位证明未盖章"}
    outcomes = {"pass": PASSED, "return": RETURNED, "reject": REJECTED}[verdict]
    expected = outcomes[stage](application_id="A1", person_id="P1", round=1, **fields)
    assert when.decided.facts[0][1] == expected


@pytest.mark.parametrize("passed", [0, 1, 2])
def test_no_review_is_given_before_its_turn_or_after_it(passed):
    """Source: source-document 3.2(2)."""
    world = an_application_in_review(passed=passed)
    due = STAGES[passed][0]
    for stage, actor in STAGES:
        if stage is not due:
            given(world).when(give(stage, "pass"), by=actor).fails(
                ReviewOutOfOrder, stage=stage.value, due=due.value
            )


def test_only_what_is_in_review_is_reviewed():
    for world in (
        a_paid_application(),
        a_supplement(),
        a_rejected_application(),
        an_enrolled_application(),
    ):
        given(world).when(give(Stage.INITIAL, "pass"), by=AGENCY).fails(ReviewOutOfOrder)


@pytest.mark.parametrize("passed", [0, 1, 2])
@pytest.mark.parametrize("role", list(Role))
def test_each_review_is_given_by_its_own_role(passed, role):
    """Source: source-document 3.2(2)."""
    stage, right = STAGES[passed]
    world = an_application_in_review(passed=passed)
    office = "agency-a" if role is Role.AGENCY else "another-office"
    when = given(world).when(give(stage, "pass"), by=staff("somebody", role, office))
    if role is right.role:
        when.then_kinds(PASSED[stage])
    else:
        when.fails(WrongReviewer, needed=right.role.value, given=role.value)


@pytest.mark.parametrize("verdict", ["return", "reject"])
def test_a_review_that_does_not_pass_needs_a_reason(verdict):
    command = give(Stage.INITIAL, verdict, reason=None)
    given(an_application_in_review()).when(command, by=AGENCY).fails(ReasonMissing)


def test_a_reviewer_who_read_an_older_round_reads_again():
    world = a_supplement()
    world.do(submit(), by=candidate(1))
    given(world).when(give(Stage.INITIAL, "pass", round=1), by=AGENCY).fails(
        RoundChanged, actual=2, given=1
    )
    given(world).when(give(Stage.INITIAL, "pass", round=2), by=AGENCY).then_kinds(
        e.InitialReviewPassed
    )


# --- who must not review --------------------------------------------------------------------------


def test_nobody_reviews_their_own_application():
    """Source: source-document 3.2(2)."""
    clerk = staff("candidate-1", Role.AGENCY, "agency-a")
    given(an_application_in_review()).when(give(Stage.INITIAL, "pass"), by=clerk).fails(
        OwnApplication
    )


def test_who_registered_the_person_does_not_review():
    """Source: source-document 3.2(2)."""
    given(an_application_in_review()).when(give(Stage.INITIAL, "pass"), by=ASSISTANT).fails(
        OwnApplication
    )


@pytest.mark.parametrize("step", ["opened", "handed in", "submitted"])
def test_who_opened_or_handed_documents_in_does_not_review(step):
    """Source: source-document 3.2(2)."""
    helper = staff("agency-9", Role.AGENCY, "agency-a")
    world = a_registered_person()
    world.do(apply_for(), by=helper if step == "opened" else candidate(1))
    world.do(pay(1, world))
    for kind in NEEDED:
        world.do(hand_in(kind), by=helper if step == "handed in" else candidate(1))
    world.do(submit(), by=helper if step == "submitted" else candidate(1))
    given(world).when(give(Stage.INITIAL, "pass"), by=helper).fails(OwnApplication)
    given(world).when(give(Stage.INITIAL, "pass"), by=AGENCY).then_kinds(e.InitialReviewPassed)


def test_one_person_gives_one_of_the_three_reviews():
    """Source: source-document 3.2(2)."""
    world = an_application_in_review(passed=1)
    same = staff(AGENCY.subject, Role.CERTIFIER, "omc")
    given(world).when(give(Stage.SECOND, "pass"), by=same).fails(ReviewedBefore)


def test_one_organisation_gives_one_of_the_three_reviews():
    """Source: source-document 3.2(2)."""
    world = an_application_in_review(passed=2)
    for organisation in (AGENCY.organisation, CERTIFIER.organisation):
        same = staff("province-9", Role.PROVINCE, organisation)
        given(world).when(give(Stage.FINAL, "pass"), by=same).fails(ReviewedBefore)


def test_a_review_of_an_earlier_round_counts_against_another_stage():
    world = a_supplement()
    world.do(submit(), by=candidate(1))
    world.do(give(Stage.INITIAL, "pass"), by=staff("agency-2", Role.AGENCY, "agency-a"))
    moved = staff(AGENCY.subject, Role.CERTIFIER, "omc")
    given(world).when(give(Stage.SECOND, "pass"), by=moved).fails(ReviewedBefore)


def test_the_same_reviewer_gives_the_same_review_in_the_next_round():
    world = a_supplement()
    world.do(submit(), by=candidate(1))
    given(world).when(give(Stage.INITIAL, "pass"), by=AGENCY).then_kinds(e.InitialReviewPassed)


def test_refusals_of_a_review_come_in_their_order():
    world = an_application_in_review()
    nobody = staff("candidate-1", Role.FINANCE, "omc")
    wrong = {"round": 9, "reason": None}
    given(world).when(give(Stage.SECOND, "reject", 9, **wrong), by=nobody).fails(NotFound)
    given(a_paid_application()).when(give(Stage.SECOND, "reject", **wrong), by=nobody).fails(
        ReviewOutOfOrder, due="none", status="paid"
    )
    given(world).when(give(Stage.SECOND, "reject", **wrong), by=nobody).fails(ReviewOutOfOrder)
    given(world).when(give(Stage.INITIAL, "reject", **wrong), by=nobody).fails(RoundChanged)
    current = wrong | {"round": 1}
    given(world).when(give(Stage.INITIAL, "reject", **current), by=nobody).fails(WrongReviewer)
    own = staff("candidate-1", Role.AGENCY, "agency-a")
    given(world).when(give(Stage.INITIAL, "reject", **current), by=own).fails(OwnApplication)
    second = an_application_in_review(passed=1)
    again = staff(AGENCY.subject, Role.CERTIFIER, "omc")
    given(second).when(give(Stage.SECOND, "reject", **current), by=again).fails(ReviewedBefore)
    given(second).when(give(Stage.SECOND, "reject", **current), by=CERTIFIER).fails(ReasonMissing)


# --- supplements and rejections -------------------------------------------------------------------


@pytest.mark.parametrize("passed", [0, 1, 2])
def test_after_a_supplement_all_three_reviews_start_again(passed):
    """Source: source-document 3.2(2)."""
    stage, actor = STAGES[passed]
    world = an_application_in_review(passed=passed)
    world.do(give(stage, "return"), by=actor)
    assert world.candidacy("A1").status is Status.SUPPLEMENT
    world.do(submit(), by=candidate(1))
    state = world.candidacy("A1")
    assert (state.round, state.passed, state.next_stage()) == (2, (), Stage.INITIAL)


def test_what_a_review_asked_for_has_to_be_handed_in_again():
    """Source: source-document 3.1(3), 3.2(2)."""
    world = a_supplement(MaterialKind.WORK_HISTORY, MaterialKind.SKILL_CERTIFICATE)
    error = given(world).when(submit(), by=candidate(1)).fails(DocumentsIncomplete)
    assert [p["code"] for p in error.problems] == ["missing_material"] * 2
    world.do(hand_in(MaterialKind.WORK_HISTORY), by=candidate(1))
    given(world).when(submit(), by=candidate(1)).fails(DocumentsIncomplete)
    world.do(hand_in(MaterialKind.SKILL_CERTIFICATE), by=candidate(1))
    given(world).when(submit(), by=candidate(1)).then_kinds(e.DocumentsSubmitted)


def test_hand_ins_come_to_an_end():
    world = a_supplement()
    again = e.DocumentsSubmitted(
        application_id="A1", person_id="P1", round=ROUNDS_MAX, kinds=NEEDED
    )
    returned = e.InitialReviewReturned(
        application_id="A1", person_id="P1", round=ROUNDS_MAX, reason="再补"
    )
    given(world, again, returned).when(submit(), by=candidate(1)).fails(TooManyRounds, rounds=99)


@pytest.mark.parametrize("passed", [0, 1, 2])
def test_a_rejection_at_any_stage_is_a_failure_and_owes_the_fee_back(passed):
    """Source: source-document 2.4(1), 3.2(2)."""
    stage, actor = STAGES[passed]
    world = an_application_in_review(passed=passed)
    world.do(use(Item.HANDBOOK), by=candidate(1))
    after = (
        given(world)
        .when(give(stage, "reject"), by=actor)
        .then_kinds(REJECTED[stage], e.RefundEntitled)
    )
    assert after.candidacy("A1").status is Status.REJECTED
    [entitled] = after.facts(e.RefundEntitled)
    assert [line.component for line in entitled.lines] == [Component.CERTIFICATION_FEE]


def test_false_documents_found_in_review_end_the_application():
    """Source: source-document 3.2(3)."""
    command = give(Stage.FINAL, "reject", reason="学历证书不实")
    given(an_application_in_review(passed=2)).when(command, by=PROVINCE).then_kinds(
        e.FinalReviewRejected, e.RefundEntitled
    )


def test_a_rejected_person_may_apply_again():
    again = apply_for(application_id="A9")
    given(a_rejected_application()).when(again, by=candidate(1)).returns(eligible=True)

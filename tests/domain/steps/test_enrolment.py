"""Whether somebody may apply (资质评估), and how they leave again."""

from datetime import date

import pytest

from domain import events as e
from domain.decision import AlreadyExists, InTheFuture, NotFound, NotYourOwn
from domain.documents.materials import MaterialKind
from domain.eligibility.assessment import QualificationInFuture
from domain.eligibility.qualifications import (
    Education,
    HeldCertificate,
    Qualifications,
    Training,
    WorkPeriod,
)
from domain.eligibility.rule_sets import UnknownRuleSet
from domain.events import Component, Item
from domain.states.application import Status
from domain.steps.enrolment import (
    ApplicationNotOpen,
    JobTypeNotOffered,
    PersonErased,
)
from domain.store.errors import ClaimTaken
from domain.values.primitives import Level
from tests.support.actors import AGENCY, candidate
from tests.support.commands import apply_for, erase, use, withdraw
from tests.support.journeys import (
    a_paid_application,
    a_refused_application,
    a_registered_person,
    a_rejected_application,
    an_application_in_review,
    an_eligible_application,
    an_enrolled_application,
)
from tests.support.world import given

# --- eligibility ----------------------------------------------------------------------------------

JUNIOR = HeldCertificate(
    kind="skill_level", level=Level.JUNIOR, relation="own", issued_on=date(2023, 1, 1)
)


def works(first: date, last: date | None = None) -> WorkPeriod:
    return WorkPeriod(started_on=first, ended_on=last, relation="own")


@pytest.mark.parametrize(
    ("alternative", "stated"),
    [
        pytest.param(
            "1.2(1)",
            Qualifications(certificates=(JUNIOR,), work_periods=(works(date(2023, 1, 1)),)),
            id="junior certificate and three years after it",
        ),
        pytest.param(
            "1.2(2)",
            Qualifications(work_periods=(works(date(2022, 3, 3)),)),
            id="four years to the day",
        ),
        pytest.param(
            "1.2(3)",
            Qualifications(
                work_periods=(works(date(2024, 3, 1)),),
                trainings=(
                    Training(
                        level=Level.INTERMEDIATE,
                        hours=104,
                        completed_on=date(2026, 1, 10),
                        certificate=True,
                    ),
                ),
            ),
            id="two years and the training",
        ),
        pytest.param(
            "1.2(4)",
            Qualifications(
                education=(Education(kind="technical_school", relation="own", final_year=True),)
            ),
            id="final year of a technical school",
        ),
    ],
)
def test_any_one_of_the_four_conditions_makes_a_candidate_eligible(alternative, stated):
    """Source: source-document 1.1, 1.2, 1.2(1), 1.2(2), 1.2(3), 1.2(4)."""
    when = given(a_registered_person()).when(apply_for(qualifications=stated), by=candidate(1))
    when.returns(eligible=True, alternative=alternative)
    world = when.then_kinds(e.ApplicationOpened, e.EligibilityConfirmed)
    assert world.candidacy("A1").status is Status.ELIGIBLE


def test_the_condition_that_was_met_decides_which_documents_are_asked_for():
    """Source: source-document 3.1, 1.2(2)."""
    state = an_eligible_application().candidacy("A1")
    assert state.required == (
        MaterialKind.IDENTITY_PROOF,
        MaterialKind.WORK_HISTORY,
        MaterialKind.PHOTO,
    )


def test_one_day_short_of_four_years_is_refused_with_what_is_missing():
    """Source: source-document 1.2(2)."""
    stated = Qualifications(work_periods=(works(date(2022, 3, 4)),))
    when = given(a_registered_person()).when(apply_for(qualifications=stated), by=candidate(1))
    when.returns(eligible=False, nearest="1.2(2)")
    world = when.then_kinds(e.ApplicationOpened, e.EligibilityRefused)
    assert world.candidacy("A1").status is Status.NOT_ELIGIBLE
    refused = world.facts(e.EligibilityRefused)[0]
    [unmet] = refused.missing
    assert (unmet.predicate, unmet.figures.lacking) == ("total_years", (0, 0, 1))


def test_years_are_not_counted_beyond_today():
    """A day of the count to come would make anybody eligible. Source: source-document 1.2(2)."""
    tomorrow = apply_for(as_of=date(2026, 3, 3))
    given(a_registered_person()).when(tomorrow, by=candidate(1)).fails(InTheFuture, field="as_of")


def test_years_may_be_counted_up_to_an_earlier_day():
    command = apply_for(as_of=date(2024, 12, 30))
    given(a_registered_person()).when(command, by=candidate(1)).returns(eligible=False)


def test_a_day_stated_after_the_day_of_the_count_is_refused():
    stated = Qualifications(work_periods=(works(date(2026, 4, 1)),))
    command = apply_for(qualifications=stated)
    given(a_registered_person()).when(command, by=candidate(1)).fails(QualificationInFuture)


def test_an_application_is_judged_by_the_standard_it_names():
    """Source: source-document 3.2(1)."""
    world = a_registered_person()
    given(world).when(apply_for(edition="1999")).fails(UnknownRuleSet)
    given(world).when(apply_for(occupation="9-99-99-99")).fails(UnknownRuleSet)


def test_a_code_that_was_renumbered_names_the_same_occupation():
    """Source: source-document 3.2(1)."""
    world = a_registered_person()
    world.do(apply_for(occupation="4-01-06-02"), by=candidate(1))
    assert world.candidacy("A1").occupation == "4-01-02-07"
    given(world).when(apply_for(application_id="A9"), by=candidate(1)).fails(
        ClaimTaken, kind="live_application"
    )


def test_a_job_type_is_applied_for_only_at_the_levels_it_is_certified_in():
    """Source: source-document 0.1, 3.2(1)."""
    world = a_registered_person()
    command = apply_for(job_type="平台管理员", level=Level.TECHNICIAN)
    given(world).when(command, by=candidate(1)).fails(JobTypeNotOffered)
    given(world).when(apply_for(job_type="选品员"), by=candidate(1)).returns(eligible=True)


@pytest.mark.parametrize(
    ("by", "named", "agency"),
    [(candidate(1), "agency-b", "agency-b"), (candidate(1), None, None), (AGENCY, "b", "agency-a")],
)
def test_an_application_names_its_enrolment_agency(by, named, agency):
    """An agency's own applications are its own, whatever it says. Source: source-document 1.1."""
    when = given(a_registered_person()).when(apply_for(agency=named), by=by)
    [opened, _] = [fact for _, fact in when.decided.facts]
    assert opened.agency == agency
    assert when.world.candidacy("A1").agency == agency


def test_refusals_of_an_application_come_in_their_order():
    world = a_registered_person()
    everything_wrong = {"edition": "1999", "as_of": date(2030, 1, 1), "job_type": "平台管理员"}
    unknown = apply_for(person_id="P9", **everything_wrong)
    given(world).when(unknown, by=candidate(2)).fails(NotFound, what="person")
    erased = world.copy()
    erase(erased)
    given(erased).when(apply_for(**everything_wrong), by=candidate(2)).fails(PersonErased)
    given(world).when(apply_for(**everything_wrong), by=candidate(2)).fails(NotYourOwn)
    opened = world.copy()
    opened.do(apply_for(), by=candidate(1))
    given(opened).when(apply_for(**everything_wrong), by=candidate(1)).fails(AlreadyExists)
    given(world).when(apply_for(**everything_wrong), by=candidate(1)).fails(UnknownRuleSet)
    known = everything_wrong | {"edition": "2021", "level": Level.TECHNICIAN}
    given(world).when(apply_for(**known), by=candidate(1)).fails(JobTypeNotOffered)
    offered = known | {"job_type": None}
    given(world).when(apply_for(**offered), by=candidate(1)).fails(InTheFuture)


def test_a_person_has_one_open_application_for_an_occupation_and_level():
    again = apply_for(application_id="A9")
    given(an_eligible_application()).when(again, by=candidate(1)).fails(
        ClaimTaken, kind="live_application"
    )
    given(a_refused_application()).when(again, by=candidate(1)).returns(eligible=True)


def test_another_level_is_another_application():
    junior = apply_for(application_id="A9", level=Level.JUNIOR)
    given(an_eligible_application()).when(junior, by=candidate(1)).returns(eligible=True)


# --- withdrawal -----------------------------------------------------------------------------------


def test_a_withdrawn_application_is_owed_both_components_back():
    """Source: source-document 2.4(1)."""
    world = (
        given(a_paid_application())
        .when(withdraw(), by=candidate(1))
        .then(
            e.ApplicationWithdrawn(application_id="A1", person_id="P1", reason="个人原因"),
            e.RefundEntitled(
                application_id="A1",
                person_id="P1",
                lines=(
                    e.RefundLine(
                        payment_id="PAY1",
                        component=Component.CERTIFICATION_FEE,
                        amount_fen=30_000,
                    ),
                    e.RefundLine(
                        payment_id="PAY1", component=Component.STUDY_MATERIAL, amount_fen=18_000
                    ),
                ),
                not_refundable=(),
            ),
        )
    )
    assert world.candidacy("A1").status is Status.WITHDRAWN


def test_used_study_material_is_not_owed_back_on_withdrawal():
    """Source: source-document 2.4(1)."""
    world = a_paid_application()
    world.do(use(Item.HANDBOOK), by=candidate(1))
    world.do(withdraw(), by=candidate(1))
    [entitled] = world.facts(e.RefundEntitled)
    assert [line.component for line in entitled.lines] == [Component.CERTIFICATION_FEE]


def test_what_is_owed_back_is_recorded_with_what_is_not():
    """Source: source-document 2.4(1)."""
    world = a_paid_application()
    world.do(use(Item.HANDBOOK), by=candidate(1))
    fee = {"payment_id": "PAY1", "component": Component.CERTIFICATION_FEE, "amount_fen": 30_000}
    used = {"payment_id": "PAY1", "component": Component.STUDY_MATERIAL, "amount_fen": 18_000}
    rule = {"refusal": e.RefundRefusal.STUDY_MATERIAL_USED, "clause": "2.4(1)"}
    given(world).when(withdraw(), by=candidate(1)).then(
        e.ApplicationWithdrawn(application_id="A1", person_id="P1", reason="个人原因"),
        e.RefundEntitled(
            application_id="A1",
            person_id="P1",
            lines=(e.RefundLine(**fee),),
            not_refundable=(e.NotRefundableLine(**used, **rule),),
        ),
    )


def test_nothing_is_owed_back_where_nothing_was_paid():
    given(an_eligible_application()).when(withdraw(), by=candidate(1)).then_kinds(
        e.ApplicationWithdrawn
    )


def test_an_application_in_review_can_still_be_withdrawn():
    """Source: source-document 2.4(3)."""
    world = an_application_in_review(passed=2)
    given(world).when(withdraw(), by=candidate(1)).then_kinds(
        e.ApplicationWithdrawn, e.RefundEntitled
    )


def test_after_enrolment_an_application_cannot_be_withdrawn():
    """Source: source-document 2.4(2), 2.4(3)."""
    given(an_enrolled_application()).when(withdraw(), by=candidate(1)).fails(
        ApplicationNotOpen, status="enrolled"
    )


def test_what_is_closed_cannot_be_withdrawn():
    withdrawn = an_eligible_application()
    withdrawn.do(withdraw())
    for world in (withdrawn, a_refused_application(), a_rejected_application()):
        given(world).when(withdraw()).fails(ApplicationNotOpen)


def test_nobody_withdraws_somebody_elses_application():
    given(a_paid_application()).when(withdraw(), by=candidate(2)).fails(NotYourOwn)
    given(a_paid_application()).when(withdraw(), by=AGENCY).then_kinds(
        e.ApplicationWithdrawn, e.RefundEntitled
    )


def test_a_person_who_withdrew_may_apply_again():
    world = a_paid_application()
    world.do(withdraw(), by=candidate(1))
    world.do(apply_for(application_id="A9"), by=candidate(1))
    assert world.candidacy("A9").status is Status.ELIGIBLE

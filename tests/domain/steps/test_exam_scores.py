"""Scores are recorded, verified by a second person, and put right (成绩)."""

import pytest

from domain import events as e
from domain.actors import Role
from domain.decision import NotFound, OwnApplication
from domain.events import Component, Item, Subject
from domain.steps.exam import (
    AlreadyVerified,
    CertificateAlreadyNumbered,
    ScoreAlreadyRecorded,
    ScoreDiffers,
    ScoreMissing,
    ScoreUnchanged,
    SecondPersonNeeded,
    SessionNotHeld,
)
from domain.values.primitives import Marks
from tests.support.actors import EXAMINER, EXAMINER_2, VERIFIER, VERIFIER_2, staff
from tests.support.commands import (
    ENDED_AT,
    PASSED,
    correct,
    marks,
    object_to,
    score,
    settle,
    verify,
)
from tests.support.journeys import (
    a_held_session,
    final_results,
    issued_certificates,
    numbered_certificates,
    published_results,
    recorded_scores,
    seated_applications,
    verified_scores,
)
from tests.support.world import given

THEORY, PRACTICAL = Subject.THEORY, Subject.PRACTICAL
HIMSELF = staff("candidate-1", Role.EXAMINER, "exam-office")


# --- recording ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "kind", "item"),
    [
        (THEORY, e.TheoryScoreRecorded, Item.THEORY_EXAM),
        (PRACTICAL, e.PracticalScoreRecorded, Item.PRACTICAL_EXAM),
    ],
)
def test_sitting_a_subject_records_its_score_and_uses_what_was_paid_for(subject, kind, item):
    """Source: source-document 2.2, 4.3(1), 4.3(2)."""
    given(a_held_session()).when(score(subject, "59.5"), by=EXAMINER).returns(
        application_id="A1"
    ).then(
        kind(application_id="A1", person_id="P1", session_id="S1", marks=Marks("59.5")),
        e.FeeItemUsed(
            application_id="A1",
            person_id="P1",
            payment_id="PAY1",
            component=Component.CERTIFICATION_FEE,
            item=item,
            used_at=ENDED_AT,
        ),
    )


def test_an_absence_is_no_zero_and_uses_the_exam_up_all_the_same():
    """Source: source-document 2.2, 4.3(2)."""
    world = a_held_session()
    absent = given(world).when(score(THEORY, None), by=EXAMINER)
    used = e.FeeItemUsed(
        application_id="A1",
        person_id="P1",
        payment_id="PAY1",
        component=Component.CERTIFICATION_FEE,
        item=Item.THEORY_EXAM,
        used_at=ENDED_AT,
    )
    absent.then(
        e.TheoryScoreRecorded(application_id="A1", person_id="P1", session_id="S1", marks=None),
        used,
    )
    zero = given(world).when(score(THEORY, "0"), by=EXAMINER)
    zero.then_kinds(e.TheoryScoreRecorded, e.FeeItemUsed)


@pytest.mark.parametrize("text", ["0", "0.5", "59.5", "60", "99.5", "100"])
def test_marks_are_given_in_half_points_from_zero_to_a_hundred(text):
    """Source: source-document 4.3(2)."""
    when = given(a_held_session()).when(score(THEORY, text), by=EXAMINER)
    assert str(when.decided.facts[0][1].marks) == text


@pytest.mark.parametrize("text", ["100.5", "59.25", "-1", "sixty"])
def test_other_marks_do_not_exist(text):
    """Source: source-document 4.3(2)."""
    with pytest.raises(ValueError):
        score(THEORY, text)


def test_no_score_is_recorded_before_the_session_was_held():
    """Source: source-document 4.2."""
    given(seated_applications()).when(score(THEORY, "60"), by=EXAMINER).fails(SessionNotHeld)


def test_a_ticket_of_the_session_is_needed():
    """Source: source-document 4.1, 4.2."""
    world = a_held_session()
    given(world).when(score(THEORY, "60", 2), by=EXAMINER).fails(NotFound, what="ticket")
    given().when(score(THEORY, "60"), by=EXAMINER).fails(NotFound, what="session")


def test_a_recorded_score_is_put_right_only_by_a_correction():
    world = recorded_scores(PASSED)
    given(world).when(score(THEORY, "90"), by=EXAMINER).fails(
        ScoreAlreadyRecorded, subject="theory"
    )
    absent = recorded_scores((None, "60"))
    given(absent).when(score(THEORY, "90"), by=EXAMINER).fails(ScoreAlreadyRecorded)


def test_nobody_marks_their_own_paper():
    given(a_held_session()).when(score(THEORY, "100"), by=HIMSELF).fails(OwnApplication)


# --- verifying ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theory", "practical", "passed"),
    [
        ("60", "60", True),
        ("100", "100", True),
        ("59.5", "100", False),
        ("100", "59.5", False),
        ("59.5", "60.5", False),
        ("0", "0", False),
        (None, "100", False),
        ("100", None, False),
        (None, None, False),
    ],
)
def test_sixty_in_both_subjects_passes_and_nothing_less(theory, practical, passed):
    """Source: source-document 4.3(3)."""
    world = recorded_scores((theory, practical))
    given(world).when(verify(theory, practical), by=VERIFIER).returns(passed=passed).then(
        e.ScoresVerified(
            application_id="A1",
            person_id="P1",
            theory=marks(theory),
            practical=marks(practical),
            passed=passed,
        )
    )


def test_who_recorded_a_score_does_not_verify_it():
    """Source: source-document 4.3(3)."""
    world = a_held_session()
    world.do(score(THEORY, "60"), by=EXAMINER)
    world.do(score(PRACTICAL, "60"), by=EXAMINER_2)
    for actor in (EXAMINER, EXAMINER_2):
        given(world).when(verify("60", "60"), by=actor).fails(SecondPersonNeeded)


def test_nobody_verifies_their_own_scores():
    world = recorded_scores(PASSED)
    given(world).when(verify(*PASSED), by=HIMSELF).fails(OwnApplication)


@pytest.mark.parametrize(
    ("theory", "practical", "differs"),
    [
        ("72.5", "65.5", "theory"),
        ("72", "65", "practical"),
        (None, "65.5", "theory"),
        ("72", None, "practical"),
    ],
)
def test_scores_that_differ_from_the_paper_are_not_verified(theory, practical, differs):
    """Source: source-document 4.3(3)."""
    given(recorded_scores(PASSED)).when(verify(theory, practical), by=VERIFIER).fails(
        ScoreDiffers, subject=differs
    )


def test_an_absence_is_not_verified_as_a_zero():
    """Source: source-document 4.3(2), 4.3(3)."""
    given(recorded_scores((None, "60"))).when(verify("0", "60"), by=VERIFIER).fails(ScoreDiffers)


def test_both_scores_are_needed():
    world = a_held_session()
    given(world).when(verify("60", "60"), by=VERIFIER).fails(ScoreMissing, subject="theory")
    world.do(score(THEORY, "60"), by=EXAMINER)
    given(world).when(verify("60", "60"), by=VERIFIER).fails(ScoreMissing, subject="practical")


def test_scores_are_verified_once():
    given(verified_scores(PASSED)).when(verify(*PASSED), by=VERIFIER_2).fails(AlreadyVerified)


def test_refusals_of_a_verification_come_in_their_order():
    given().when(verify("1", "1"), by=EXAMINER).fails(NotFound)
    given(a_held_session()).when(verify("1", "1"), by=EXAMINER).fails(ScoreMissing)
    given(verified_scores(PASSED)).when(verify("1", "1"), by=EXAMINER).fails(AlreadyVerified)
    given(recorded_scores(PASSED)).when(verify("1", "1"), by=EXAMINER).fails(SecondPersonNeeded)
    given(recorded_scores(PASSED)).when(verify("1", "1"), by=HIMSELF).fails(OwnApplication)
    given(recorded_scores(PASSED)).when(verify("1", "1"), by=VERIFIER).fails(ScoreDiffers)


# --- putting right --------------------------------------------------------------------------------


def test_a_correction_is_a_new_fact_and_asks_for_verification_again():
    """Source: source-document 4.3(2), 5.1."""
    world = (
        given(verified_scores(("55", "70")))
        .when(correct(THEORY, "61"), by=EXAMINER_2)
        .then(
            e.ScoreCorrected(
                application_id="A1",
                person_id="P1",
                subject=THEORY,
                marks=Marks("61"),
                reason="漏判一题",
            )
        )
    )
    assert not world.candidacy("A1").verified
    given(world).when(verify("61", "70"), by=EXAMINER_2).fails(SecondPersonNeeded)
    given(world).when(verify("61", "70"), by=VERIFIER).returns(passed=True)


@pytest.mark.parametrize(("given_marks", "subject"), [("72", THEORY), ("65.5", PRACTICAL)])
def test_a_correction_changes_the_score(given_marks, subject):
    given(verified_scores(PASSED)).when(correct(subject, given_marks)).fails(
        ScoreUnchanged, subject=subject.value
    )


def test_an_absence_that_was_none_can_be_put_right_and_the_other_way_round():
    """Source: source-document 4.3(2)."""
    given(verified_scores((None, "60"))).when(correct(THEORY, "0")).then_kinds(e.ScoreCorrected)
    given(verified_scores(("0", "60"))).when(correct(THEORY, None)).then_kinds(e.ScoreCorrected)


def test_only_recorded_scores_are_corrected():
    given(a_held_session()).when(correct(THEORY, "60")).fails(ScoreMissing)
    given().when(correct(THEORY, "60")).fails(NotFound)


@pytest.mark.parametrize("world", [numbered_certificates(), issued_certificates()])
def test_no_score_is_corrected_under_a_certificate(world):
    """Source: source-document 5.2."""
    given(world).when(correct(THEORY, "90")).fails(CertificateAlreadyNumbered)


def test_a_score_is_corrected_after_the_notice_closed_but_before_the_certificate():
    """Source: source-document 5.1."""
    given(final_results()).when(correct(THEORY, "59")).then_kinds(e.ScoreCorrected)


def test_nobody_corrects_their_own_score():
    given(verified_scores(PASSED)).when(correct(THEORY, "99"), by=HIMSELF).fails(OwnApplication)


def test_a_correction_names_only_an_objection_to_this_row_that_was_upheld():
    """Source: source-document 5.1."""
    world = published_results(("55", "70"), PASSED)
    world.do(object_to(1))
    world.do(object_to(2))
    because = correct(THEORY, "61", objection_id="O1")
    given(world).when(because).fails(NotFound, what="upheld objection")
    world.do(settle("upheld", 2))
    wrong_row = correct(THEORY, "61", objection_id="O2")
    given(world).when(wrong_row).fails(NotFound)
    world.do(settle("upheld", 1))
    given(world).when(because).then_kinds(e.ScoreCorrected)
    given(world).when(correct(THEORY, "61", objection_id="O9")).fails(NotFound)


def test_refusals_of_a_correction_come_in_their_order():
    himself = HIMSELF
    given(a_held_session()).when(correct(THEORY, "72"), by=himself).fails(ScoreMissing)
    given(issued_certificates()).when(correct(THEORY, "72"), by=himself).fails(ScoreUnchanged)
    given(issued_certificates()).when(correct(THEORY, "73"), by=himself).fails(
        CertificateAlreadyNumbered
    )
    unknown = correct(THEORY, "73", objection_id="O9")
    given(verified_scores(PASSED)).when(unknown, by=himself).fails(OwnApplication)

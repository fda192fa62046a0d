"""Objections to a published result, and what an upheld one leads to (异议)."""

from datetime import timedelta

import pytest

from domain import events as e
from domain.actors import Role
from domain.decision import AlreadyExists, NotFound, NotYourOwn, OwnApplication
from domain.events import Subject
from domain.steps.certificate import IssueCertificates
from domain.steps.contested_registration import JoinRegistration, RejectRegistration
from domain.steps.enrolment import PersonErased
from domain.steps.exam import ScoreUnchanged
from domain.steps.number_allocation import NotPassed, NumberCertificates, ResultNotFinal
from domain.steps.public_notice import (
    NothingToPublish,
    NoticeClosed,
    NoticeOver,
    ObjectionsOpen,
    RowNotInNotice,
)
from tests.support.actors import AGENCY, CERTIFIER, REGISTRAR, VERIFIER, candidate, staff
from tests.support.commands import (
    CLOSED_AT,
    ISSUED_AT,
    PASSED,
    apply_for,
    close,
    correct,
    correct_person,
    erase,
    object_as_outsider,
    object_to,
    publish,
    settle,
    verify,
    when,
)
from tests.support.journeys import a_registered_person, final_results, published_results
from tests.support.world import World, given

THEORY = Subject.THEORY
FAILED = ("59.5", "100")
NUMBER = NumberCertificates(application_id="A1")


def an_open_objection(*pairs: object) -> World:
    world = published_results(*pairs)
    world.do(object_to(), by=candidate(1))
    return world


def an_objection_of_an_outsider() -> World:
    world = published_results()
    world.do(object_as_outsider(), by=CERTIFIER)
    return world


def an_upheld_objection() -> World:
    world = an_open_objection(FAILED)
    world.do(settle("upheld"))
    return world


def filed_by(objector_id: str) -> e.ObjectionFiled:
    """The fact of objection O1, to the row of candidate 1."""
    return e.ObjectionFiled(
        notice_id="N1",
        objection_id="O1",
        application_id="A1",
        person_id="P1",
        objector_id=objector_id,
        text="技能考核第二题漏判",
    )


# --- filing ---------------------------------------------------------------------------------------


def test_a_candidate_objects_to_their_own_row():
    """Source: source-document 5.1."""
    given(published_results()).when(object_to(), by=candidate(1)).returns(objection_id="O1").then(
        filed_by("P1")
    )


def test_anybody_who_is_known_objects_to_any_row():
    """The fact names both, the applicant and who objects. Source: source-document 5.1."""
    world = a_registered_person(8, published_results())
    given(world).when(object_to(by=8), by=candidate(8)).then(filed_by("P8"))
    given(world).when(object_to(by=9), by=AGENCY).fails(NotFound, what="person")


def test_who_is_not_registered_objects_under_their_name_and_gets_an_id():
    """Source: source-document 5.1."""
    named = e.ObjectorNamed(person_id="W1", name="王证", contact="0571-87654321")
    given(published_results()).when(object_as_outsider(), by=CERTIFIER).returns(
        objection_id="O1", objector_id="W1"
    ).then(filed_by("W1"), named)
    given(published_results()).when(
        object_as_outsider(objector_id=None, objection_id=None), by=AGENCY
    ).returns(objector_id="id-1", objection_id="id-2")


def test_an_objector_objects_again_under_their_id():
    world = an_objection_of_an_outsider()
    again = object_to(objection_id="O2", objector_id="W1")
    given(world).when(again, by=CERTIFIER).then_kinds(e.ObjectionFiled)
    given(world).when(object_as_outsider(objection_id="O2"), by=CERTIFIER).fails(
        AlreadyExists, what="person"
    )


def test_an_agency_names_no_objector_of_another_agency():
    world = published_results()
    world.do(object_as_outsider(), by=AGENCY)
    again = object_to(objection_id="O2", objector_id="W1")
    other = staff("agency-9", Role.AGENCY, "another-agency")
    given(world).when(again, by=other).fails(NotFound, what="person")
    given(world).when(again, by=AGENCY).then_kinds(e.ObjectionFiled)


def test_a_candidate_names_no_objector():
    given(published_results()).when(object_as_outsider(), by=candidate(2)).fails(NotYourOwn)
    given(an_objection_of_an_outsider()).when(
        object_to(objection_id="O2", objector_id="W1"), by=candidate(2)
    ).fails(NotFound, what="person")


@pytest.mark.parametrize(
    ("given_fields", "fault"),
    [
        ({"objector_id": None}, "objector_id or objector_name is needed"),
        ({"objector_contact": "0571-87654321"}, "objector_contact needs objector_name"),
    ],
)
def test_an_objection_says_who_objects(given_fields, fault):
    with pytest.raises(ValueError, match=fault):
        object_to(**given_fields)


def test_an_objector_is_no_registered_person():
    """They apply for nothing, and nobody gives them a document."""
    world = an_objection_of_an_outsider()
    for command, by in (
        (apply_for(1, application_id="A9", person_id="W1"), AGENCY),
        (correct_person(1, person_id="W1"), REGISTRAR),
        (JoinRegistration(person_id="W1"), CERTIFIER),
        (RejectRegistration(person_id="W1", reason="x"), CERTIFIER),
    ):
        given(world).when(command, by=by).fails(NotFound, what="person")


def test_nobody_settles_their_own_objection():
    world = a_registered_person(8, published_results())
    world.do(object_to(by=8), by=candidate(8))
    himself = staff("candidate-8", Role.SCORE_VERIFIER, "exam-office")
    given(world).when(settle("upheld"), by=himself).fails(OwnApplication)


def test_nobody_objects_in_somebody_elses_name():
    given(published_results()).when(object_to(), by=candidate(2)).fails(NotYourOwn)


def test_who_was_erased_objects_no_more():
    world = a_registered_person(8, published_results())
    erase(world, 8)
    given(world).when(object_to(by=8)).fails(PersonErased)


def test_objections_are_taken_until_midnight_of_the_last_day():
    """Source: source-document 5.1."""
    world = published_results()
    last = CLOSED_AT - timedelta(seconds=1)
    given(world).when(object_to(), at=last).then_kinds(e.ObjectionFiled)
    given(world).when(object_to(), at=CLOSED_AT).fails(NoticeOver, ends_on="2026-10-13")


def test_a_closed_notice_takes_no_objection():
    given(final_results()).when(object_to(), by=candidate(1)).fails(NoticeClosed)


def test_only_a_row_of_the_notice_is_objected_to():
    given(published_results()).when(object_to(application_id="A9")).fails(RowNotInNotice)
    given(published_results()).when(object_to(notice_id="N9")).fails(NotFound, what="notice")


def test_an_objection_id_is_given_once_and_made_up_where_none_is_given():
    given(an_open_objection()).when(object_to()).fails(AlreadyExists, what="objection")
    given(published_results()).when(object_to(objection_id=None)).returns(objection_id="id-1")


def test_refusals_of_an_objection_come_in_their_order():
    stranger = candidate(9)
    world = final_results()
    wrong = {"application_id": "A9"}
    given(world).when(object_to(notice_id="N9", **wrong), by=stranger).fails(NotFound)
    given(world).when(object_to(**wrong), by=stranger).fails(NotYourOwn)
    given(world).when(object_to(**wrong), by=candidate(1)).fails(NoticeClosed)
    given(published_results()).when(object_to(**wrong), at=CLOSED_AT).fails(NoticeOver)


# --- settling -------------------------------------------------------------------------------------


def test_a_dismissed_objection_leaves_the_row_where_it_is():
    """Source: source-document 5.1."""
    world = an_open_objection()
    after = (
        given(world)
        .when(settle("dismissed"))
        .then(
            e.ObjectionDismissed(
                notice_id="N1",
                objection_id="O1",
                application_id="A1",
                person_id="P1",
                reason="已核对答卷",
            )
        )
    )
    given(after).when(close(), at=CLOSED_AT).returns(final=1, withheld=[])


def test_an_upheld_objection_takes_the_row_out_of_the_notice():
    """Source: source-document 5.1."""
    world = an_open_objection(FAILED, PASSED)
    after = (
        given(world)
        .when(settle("upheld"))
        .then(
            e.ObjectionUpheld(
                notice_id="N1",
                objection_id="O1",
                application_id="A1",
                person_id="P1",
                reason="已核对答卷",
            )
        )
    )
    given(after).when(close(), at=CLOSED_AT).returns(final=1, withheld=["A1"])


def test_an_open_objection_keeps_the_notice_from_closing():
    """Source: source-document 5.1."""
    world = an_open_objection(PASSED, PASSED)
    world.do(object_to(2, objection_id="O22"), by=candidate(2))
    given(world).when(close(), at=CLOSED_AT).fails(ObjectionsOpen, count=2)
    world.do(settle("dismissed"))
    given(world).when(close(), at=CLOSED_AT).fails(ObjectionsOpen, count=1)


def test_an_objection_is_settled_once_and_only_if_it_was_filed():
    world = an_open_objection()
    given(world).when(settle("upheld", 9)).fails(NotFound, what="open objection")
    world.do(settle("dismissed"))
    given(world).when(settle("upheld")).fails(NotFound, what="open objection")
    given(world).when(settle("upheld", notice="N9")).fails(NotFound, what="notice")


def test_nothing_is_settled_in_a_closed_notice():
    given(final_results()).when(settle("upheld")).fails(NoticeClosed)


def test_nobody_settles_an_objection_to_their_own_row():
    himself = staff("candidate-1", Role.SCORE_VERIFIER, "exam-office")
    given(an_open_objection()).when(settle("upheld"), by=himself).fails(OwnApplication)


def test_an_objection_may_be_settled_after_the_period():
    """Source: source-document 5.1."""
    given(an_open_objection()).when(settle("dismissed"), at=CLOSED_AT).then_kinds(
        e.ObjectionDismissed
    )


# --- from an upheld objection to the certificate --------------------------------------------------


def test_an_upheld_objection_leads_over_a_new_notice_to_the_certificate():
    """Correction, verification, supplementary notice. Source: source-document 5.1, 5.2."""
    world = an_upheld_objection()
    given(world).when(publish("N2")).fails(NothingToPublish)
    world.do(correct(THEORY, "60", objection_id="O1"))
    world.do(close(), at=CLOSED_AT)
    given(world).when(NUMBER, by=REGISTRAR).fails(ResultNotFinal)
    world.do(verify("60", "100"), by=VERIFIER)
    given(world).when(NUMBER, by=REGISTRAR).fails(ResultNotFinal)
    world.do(publish("N2"), at=ISSUED_AT)
    given(world).when(NUMBER, by=REGISTRAR).fails(ResultNotFinal)
    world.do(close("N2"), at=when("2026-10-23 00:00"))
    world.do(NUMBER, by=REGISTRAR)
    given(world).when(IssueCertificates(application_id="A1"), by=REGISTRAR).then_kinds(
        e.CertificateIssued, e.CertificateIssued
    )


def test_an_upheld_row_is_not_final_without_its_correction():
    """Source: source-document 5.1."""
    world = published_results()
    world.do(object_to(), by=candidate(1))
    world.do(settle("upheld"))
    world.do(close(), at=CLOSED_AT)
    given(world).when(NUMBER, by=REGISTRAR).fails(ResultNotFinal)


def test_an_upheld_row_needs_a_correction_that_changes_it():
    world = an_upheld_objection()
    given(world).when(correct(THEORY, "59.5", objection_id="O1")).fails(ScoreUnchanged)


def test_an_upheld_objection_may_end_in_a_result_that_still_fails():
    """Source: source-document 4.3(3), 5.1."""
    world = an_upheld_objection()
    world.do(correct(THEORY, "58", objection_id="O1"))
    world.do(verify("58", "100"), by=VERIFIER)
    world.do(publish("N2"), at=CLOSED_AT)
    world.do(close("N2"), at=when("2026-11-02 09:00"))
    given(world).when(NUMBER, by=REGISTRAR).fails(NotPassed)


@pytest.mark.parametrize("first", ["N1", "N2"])
def test_whichever_notice_closes_first_the_row_becomes_final_once(first):
    """Source: source-document 5.1."""
    world = an_upheld_objection()
    world.do(correct(THEORY, "60", objection_id="O1"))
    world.do(verify("60", "100"), by=VERIFIER)
    world.do(publish("N2"))
    order = ("N1", "N2") if first == "N1" else ("N2", "N1")
    final = [
        world.do(close(name), at=CLOSED_AT + timedelta(days=n)).outcome["final"]
        for n, name in enumerate(order, 7)
    ]
    assert sum(final) == 1
    assert world.notice("N1").withheld == {"A1"}

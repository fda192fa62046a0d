"""Documents are handed in after the fee, and go into review when complete (资料提交)."""

from datetime import date

import pytest

from domain import events as e
from domain.decision import NotFound, NotYourOwn
from domain.documents.materials import MaterialKind
from domain.eligibility.qualifications import Education, Qualifications
from domain.states.application import Status
from domain.steps.review import (
    DocumentFaulty,
    DocumentsClosed,
    DocumentsIncomplete,
    PaymentFirst,
    SameFileTwice,
)
from tests.support.actors import candidate
from tests.support.commands import (
    NEEDED,
    document_of,
    hand_in,
    material,
    name_of,
    pay,
    sealed_name,
    submit,
    withdraw,
)
from tests.support.journeys import (
    a_paid_application,
    a_refused_application,
    a_rejected_application,
    an_application_in_review,
    an_application_with_documents,
    an_eligible_application,
    an_enrolled_application,
)
from tests.support.world import given

# --- handing documents in -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NEEDED)
def test_a_document_is_recorded_by_its_fingerprints_only(kind):
    """Of the sealed file in clear, of the plain bytes under a key of its class.

    Source: source-document 3.1, 3.1(1), 3.1(3), 3.1(4).
    """
    file = material(kind)
    given(a_paid_application()).when(hand_in(kind), by=candidate(1)).then(
        e.DocumentSubmitted(
            application_id="A1",
            person_id="P1",
            kind=kind,
            sha256=sealed_name(file),
            plain_sha256=None if kind is MaterialKind.PHOTO else file.sha256,
            photo_sha256=file.sha256 if kind is MaterialKind.PHOTO else None,
            size_bytes=40_000,
            media_type=file.media_type,
            taken_on=date(2026, 2, 1) if kind is MaterialKind.PHOTO else None,
        )
    )


@pytest.mark.parametrize(
    "kind", [MaterialKind.EDUCATION_CERTIFICATE, MaterialKind.SKILL_CERTIFICATE]
)
def test_more_than_what_is_asked_for_may_be_handed_in(kind):
    """Source: source-document 3.1(2), 3.1(5)."""
    given(a_paid_application()).when(hand_in(kind), by=candidate(1)).then_kinds(e.DocumentSubmitted)


def test_documents_come_after_the_fee():
    """Source: source-document 2.1."""
    world = an_eligible_application()
    given(world).when(hand_in(NEEDED[0]), by=candidate(1)).fails(PaymentFirst)
    given(world).when(submit(), by=candidate(1)).fails(PaymentFirst)


def test_documents_are_closed_while_in_review_and_afterwards():
    withdrawn = an_eligible_application()
    withdrawn.do(withdraw())
    for world, status in (
        (an_application_in_review(), "in_review"),
        (an_enrolled_application(), "enrolled"),
        (a_rejected_application(), "rejected"),
        (a_refused_application(), "not_eligible"),
        (withdrawn, "withdrawn"),
    ):
        given(world).when(hand_in(NEEDED[0])).fails(DocumentsClosed, status=status)
        given(world).when(submit()).fails(DocumentsClosed, status=status)


def test_nobody_hands_in_for_somebody_else():
    given(a_paid_application()).when(hand_in(NEEDED[0]), by=candidate(2)).fails(NotYourOwn)
    given(an_application_with_documents()).when(submit(), by=candidate(2)).fails(NotYourOwn)


def test_an_unknown_application_takes_no_documents():
    given().when(hand_in(NEEDED[0])).fails(NotFound)
    given().when(submit()).fails(NotFound)


def test_a_faulty_photo_is_refused_with_every_fault_at_once():
    """Source: source-document 3.1(4)."""
    photo = material(MaterialKind.PHOTO, size_bytes=51_201)
    old = photo.model_copy(
        update={"photo": photo.photo.model_copy(update={"taken_on": date(2025, 9, 1)})}
    )
    command = hand_in(MaterialKind.PHOTO, material=old, file_name="王五_1.jpg")
    error = given(a_paid_application()).when(command, by=candidate(1)).fails(DocumentFaulty)
    assert [p["code"] for p in error.problems] == [
        "photo_too_large",
        "photo_name_person_differs",
        "photo_name_number_differs",
        "photo_too_old",
    ]
    assert name_of(1) not in str(error)
    assert document_of(1) not in str(error)


def test_a_file_of_the_wrong_type_is_refused():
    """Source: source-document 3.1."""
    word = material(MaterialKind.WORK_HISTORY, media_type="application/msword")
    command = hand_in(MaterialKind.WORK_HISTORY, material=word)
    given(a_paid_application()).when(command).fails(DocumentFaulty)


def test_a_proof_of_enrolment_at_school_is_for_final_year_students_only():
    """Source: source-document 3.1(2)."""
    proof = hand_in(MaterialKind.ENROLMENT_PROOF)
    error = given(a_paid_application()).when(proof).fails(DocumentFaulty)
    assert error.problems[0]["code"] == "enrolment_proof_not_accepted"
    student = an_eligible_application(
        qualifications=Qualifications(
            education=(Education(kind="technical_school", relation="own", final_year=True),)
        )
    )
    student.do(pay(1, student))
    given(student).when(proof, by=candidate(1)).then_kinds(e.DocumentSubmitted)


def test_the_same_file_never_stands_for_two_kinds_of_document():
    """Source: source-document 3.2(3)."""
    world = an_application_with_documents()
    same = material(MaterialKind.TRAINING_CERTIFICATE, fill="0")
    command = hand_in(MaterialKind.TRAINING_CERTIFICATE, material=same)
    given(world).when(command).fails(SameFileTwice, kind="identity_proof")


def test_the_same_file_may_be_handed_in_again_under_its_own_kind():
    given(an_application_with_documents()).when(hand_in(NEEDED[0])).then_kinds(e.DocumentSubmitted)


def test_a_newer_file_takes_the_place_of_the_older_one():
    world = an_application_with_documents()
    newer = material(MaterialKind.WORK_HISTORY, fill="a")
    world.do(hand_in(MaterialKind.WORK_HISTORY, material=newer), by=candidate(1))
    assert world.candidacy("A1").documents[MaterialKind.WORK_HISTORY] == sealed_name(newer)
    assert world.document_sha256("A1", MaterialKind.WORK_HISTORY) == "a" * 64


def test_a_complete_set_goes_into_review_as_round_one():
    """Source: source-document 3.1, 3.2(2)."""
    world = (
        given(an_application_with_documents())
        .when(submit(), by=candidate(1))
        .returns(round=1)
        .then(
            e.DocumentsSubmitted(
                application_id="A1", person_id="P1", round=1, kinds=tuple(sorted(NEEDED))
            )
        )
    )
    assert world.candidacy("A1").status is Status.IN_REVIEW


def test_an_incomplete_set_is_refused_with_everything_that_is_missing():
    """Source: source-document 3.1, 3.1(1), 3.1(3), 3.1(4)."""
    error = given(a_paid_application()).when(submit(), by=candidate(1)).fails(DocumentsIncomplete)
    assert len(error.problems) == 3
    assert "身份证明文件" in error.text

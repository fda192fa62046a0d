"""Who somebody is: registered once, put right, and forgotten when nothing runs any more."""

import pytest

from domain import events as e
from domain.decision import AlreadyExists, NotFound, NotYourOwn
from domain.steps.enrolment import PersonReviewed
from domain.store.errors import ClaimTaken
from domain.values.identity_documents import DocumentType, InvalidIdentityDocument, Refusal
from domain.values.person_names import InvalidName
from tests.support.actors import ASSISTANT, REGISTRAR, candidate
from tests.support.commands import (
    correct_person,
    document_of,
    name_of,
    propose_erasure,
    register,
)
from tests.support.journeys import (
    a_registered_person,
    an_application_in_review,
    an_enrolled_application,
    an_open_ledger,
)
from tests.support.world import given

# --- the person -----------------------------------------------------------------------------------


def test_a_person_is_registered_with_a_normalised_document_and_no_index():
    """Source: source-document 3.1(1)."""
    number = document_of(1)
    command = register(document_number=f" {number.lower()} ", name="欧阳 娜娜")
    given(an_open_ledger()).when(command, by=ASSISTANT).then(
        e.PersonRegistered(
            person_id="P1",
            subject="candidate-1",
            document_type=DocumentType.RESIDENT_ID,
            document_number=number,
            name="欧阳娜娜",
        )
    )


def test_a_candidate_who_registers_is_that_person_whatever_login_they_name():
    when = given(an_open_ledger()).when(register(subject="somebody-else"), by=candidate(7))
    assert when.decided.facts[0][1].subject == "candidate-7"


def test_a_person_without_an_id_gets_a_new_one_in_the_outcome():
    given(an_open_ledger()).when(register(person_id=None)).returns(person_id="id-1")


def test_a_person_id_is_given_once():
    given(a_registered_person()).when(register(document_number=document_of(2))).fails(
        AlreadyExists, what="person"
    )


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        pytest.param(DocumentType.RESIDENT_ID, "330106199503151270", id="wrong check character"),
        pytest.param(DocumentType.HOME_RETURN_PERMIT, "X12345678", id="no home return permit"),
        pytest.param(DocumentType.PASSPORT, "!", id="no passport"),
    ],
)
def test_a_document_number_that_breaks_its_rule_is_refused(kind, number):
    """Source: source-document 3.1(1)."""
    command = register(document_type=kind, document_number=number)
    given(an_open_ledger()).when(command).fails(InvalidIdentityDocument)


def test_a_name_that_is_none_is_refused():
    given(an_open_ledger()).when(register(name="···")).fails(InvalidName)


def test_the_same_document_registers_one_person_only():
    """Source: source-document 3.1(1)."""
    again = register(2, document_number=document_of(1), name=name_of(1))
    given(a_registered_person()).when(again).then_kinds(e.RegistrationContested)


@pytest.mark.parametrize("kind", [DocumentType.HANGZHOU_SOCIAL_CARD, DocumentType.RESIDENCE_PERMIT])
def test_the_same_number_under_another_document_is_the_same_person(kind):
    """Source: source-document 3.1(1)."""
    again = register(2, document_type=kind, document_number=document_of(1))
    given(a_registered_person()).when(again).then_kinds(e.RegistrationContested)


def passport(n: int, country: str | None, **changed: object) -> object:
    named = {"document_type": DocumentType.PASSPORT, "document_number": "E12345678"}
    return register(n, **named, document_country=country, **changed)


def test_a_passport_is_one_persons_by_number_and_country():
    """Source: source-document 3.1(1)."""
    world = an_open_ledger()
    world.do(passport(1, "fra"), by=ASSISTANT)
    [registered] = world.facts(e.PersonRegistered)
    assert registered.document_country == "FRA"
    given(world).when(passport(2, "FRA"), by=ASSISTANT).then_kinds(e.RegistrationContested)
    given(world).when(passport(2, "USA"), by=ASSISTANT).then_kinds(e.PersonRegistered)


@pytest.mark.parametrize(
    ("country", "reason"),
    [(None, Refusal.COUNTRY_MISSING), ("ZZZ", Refusal.UNKNOWN_REGION)],
)
def test_a_passport_names_the_country_that_issued_it(country, reason):
    """Source: source-document 3.1(1)."""
    given(an_open_ledger()).when(passport(1, country), by=ASSISTANT).fails(
        InvalidIdentityDocument, reason=reason
    )


def test_one_login_registers_one_person_only_whichever_document_they_bring():
    """Source: source-document 3.1(1)."""
    other = passport(2, "CHN", subject=None)
    given(a_registered_person()).when(other, by=candidate(1)).fails(ClaimTaken, kind="person_login")


def test_a_name_put_right_leaves_the_person_the_same():
    """Source: source-document 3.2(3)."""
    given(a_registered_person()).when(correct_person(), by=candidate(1)).then(
        e.PersonCorrected(
            person_id="P1",
            document_type=DocumentType.RESIDENT_ID,
            document_number=document_of(1),
            name="赵壹",
            reason="姓名录入错误",
        )
    )


def test_a_document_put_right_frees_the_wrong_one_for_its_owner():
    world = a_registered_person()
    world.do(correct_person(document_number=document_of(2)))
    given(world).when(register(2, document_number=document_of(1))).then_kinds(e.PersonRegistered)
    given(world).when(register(2)).then_kinds(e.RegistrationContested)


def test_nobody_corrects_somebody_elses_person():
    given(a_registered_person()).when(correct_person(), by=candidate(2)).fails(NotYourOwn)


def test_after_all_reviews_only_the_registrar_corrects_who_somebody_is():
    """Source: source-document 3.2(2), 3.2(3)."""
    world = an_enrolled_application()
    given(world).when(correct_person(), by=ASSISTANT).fails(PersonReviewed)
    given(world).when(correct_person(), by=candidate(1)).fails(PersonReviewed)
    given(world).when(correct_person(), by=REGISTRAR).then_kinds(e.PersonCorrected)


def test_before_the_last_review_the_agency_still_corrects_who_somebody_is():
    world = an_application_in_review(passed=2)
    given(world).when(correct_person(), by=ASSISTANT).then_kinds(e.PersonCorrected)


def test_an_unknown_person_cannot_be_corrected_or_erased():
    given(an_open_ledger()).when(correct_person()).fails(NotFound, what="person")
    given(an_open_ledger()).when(propose_erasure()).fails(NotFound, what="person")


def test_a_correction_is_checked_like_a_registration():
    """Source: source-document 3.1(1), 3.2(3)."""
    wrong = correct_person(document_number="330106199503151270")
    given(a_registered_person()).when(wrong).fails(InvalidIdentityDocument)


# --- erasure --------------------------------------------------------------------------------------

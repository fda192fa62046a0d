"""A document that is another person's: the registration is contested until somebody has seen it."""

from __future__ import annotations

import pytest

from domain import events as e
from domain.actors import Actor, Role
from domain.decision import Decision, NotFound, NotYourOwn
from domain.states.folds import Registration
from domain.steps.contested_registration import (
    DocumentsDiffer,
    JoinRegistration,
    OwnRegistration,
    PersonHasLogin,
    RegistrationInUse,
    RegistrationNotContested,
    RejectRegistration,
)
from domain.steps.enrolment import DocumentTaken, PersonErased, RegistrationClosed
from domain.steps.review import RegistrationUnsettled
from domain.store.errors import ClaimTaken
from domain.values.identity_documents import DocumentType
from tests.support.actors import AGENCY, ASSISTANT, CERTIFIER, REGISTRAR, candidate, staff
from tests.support.commands import (
    apply_for,
    correct_person,
    document_of,
    erase,
    give,
    name_of,
    register,
    withdraw,
)
from tests.support.journeys import a_registered_person, an_application_in_review, an_open_ledger
from tests.support.world import World, given

OTHER_AGENCY = staff("assistant-9", Role.AGENCY, "agency-b")
OPENED = (e.ApplicationOpened, e.EligibilityConfirmed)
VERDICTS = ("pass", "reject")


def taken(n: int = 2, **changed: object) -> object:
    """Candidate n's registration with the document of the first."""
    return register(n, document_number=document_of(1), **changed)


def a_person_without_login() -> World:
    world = an_open_ledger()
    world.do(register(1, subject=None), by=ASSISTANT)
    return world


def contested(world: World | None = None) -> World:
    """P1 holds the document that P2 registered with."""
    world = world or a_person_without_login()
    world.do(taken(), by=candidate(2))
    return world


def joined() -> World:
    world = contested()
    world.do(JoinRegistration(person_id="P2"), by=CERTIFIER)
    return world


def rejected() -> World:
    world = contested()
    world.do(RejectRegistration(person_id="P2", reason="证件非本人"), by=CERTIFIER)
    return world


# --- registering ----------------------------------------------------------------------------------


def test_a_document_that_is_taken_is_recorded_as_a_contested_registration() -> None:
    """Source: source-document 3.1(1)."""
    given(a_registered_person()).when(taken(), by=candidate(2)).then(
        e.RegistrationContested(
            person_id="P2",
            subject="candidate-2",
            document_type=DocumentType.RESIDENT_ID,
            document_number=document_of(1),
            name=name_of(2),
            held_by="P1",
        )
    )


def shape(decision: Decision) -> tuple[object, ...]:
    [(stream, fact)] = decision.facts
    fields = fact.model_dump(exclude={"document_number", "held_by"})
    return stream, fields, decision.outcome, decision.claims, decision.erases


def test_the_answer_is_the_same_for_a_taken_and_for_a_free_document() -> None:
    """Source: source-document 3.1(1)."""
    world = a_registered_person()
    for by in (candidate(2), ASSISTANT):
        free = given(world).when(register(2), by=by).decided
        assert shape(given(world).when(taken(), by=by).decided) == shape(free)


def test_the_right_name_tells_a_candidate_no_more() -> None:
    world = a_registered_person()
    named = taken(name=name_of(1))
    given(world).when(named, by=candidate(2)).then_kinds(e.RegistrationContested)


def test_an_agency_that_gives_name_and_document_gets_the_persons_id() -> None:
    """Source: source-document 3.1(1)."""
    found = given(a_registered_person()).when(taken(name=name_of(1)), by=OTHER_AGENCY)
    found.returns(person_id="P1").then_kinds(e.PersonRecognised)
    before, after = a_registered_person().person("P1"), found.world.person("P1")
    assert after.subject == before.subject, "nothing of the person changes"
    assert found.decided.person_claims == ()


def test_an_agency_with_another_name_learns_nothing() -> None:
    """Source: source-document 3.1(1)."""
    found = given(a_registered_person()).when(taken(), by=OTHER_AGENCY)
    found.returns(person_id="P2").then_kinds(e.RegistrationContested)


def test_one_login_has_one_pending_registration() -> None:
    again = taken(3)
    given(contested()).when(again, by=candidate(2)).fails(ClaimTaken, kind="person_login")


def test_another_agency_has_no_rights_over_the_person() -> None:
    world = a_registered_person()
    given(world).when(correct_person(), by=OTHER_AGENCY).fails(NotYourOwn, what="person")
    given(world).when(correct_person(), by=AGENCY).then_kinds(e.PersonCorrected)
    given(world).when(apply_for(1), by=OTHER_AGENCY).fails(NotYourOwn, what="person")


# --- until it is settled --------------------------------------------------------------------------


def test_a_contested_registration_applies_as_any_other() -> None:
    given(contested()).when(apply_for(2), by=candidate(2)).then_kinds(*OPENED)


def test_no_review_passes_before_the_registration_is_settled() -> None:
    """Source: source-document 3.2(1)."""
    world = an_application_in_review()
    [fact] = contested().facts(e.RegistrationContested)
    world.append(fact.model_copy(update={"person_id": "P1"}))
    passed, refused = (given(world).when(give("initial", said), by=AGENCY) for said in VERDICTS)
    passed.fails(RegistrationUnsettled, registration="contested")
    assert refused.decided
    world.append(e.RegistrationRejected(person_id="P1", reason=None))
    passed = given(world).when(give("initial", "pass"), by=AGENCY)
    passed.fails(RegistrationUnsettled, registration="rejected")


def test_a_number_put_right_ends_the_contest() -> None:
    """Source: source-document 3.2(3)."""
    right = correct_person(2, document_number=document_of(2), name=name_of(2))
    world = given(contested()).when(right, by=REGISTRAR).then_kinds(e.PersonCorrected)
    assert world.person("P2").registration is Registration.REGISTERED
    assert "document" in dict(world.person_claims["P2"])


def test_a_name_put_right_leaves_it_contested() -> None:
    again = correct_person(2, document_number=document_of(1), name="钱一")
    world = given(contested()).when(again, by=REGISTRAR).then_kinds(e.PersonCorrected)
    assert world.person("P2").held_by == "P1"
    assert [kind for kind, _ in world.person_claims["P2"]] == ["contested"]


def test_a_registered_person_is_not_corrected_to_anothers_document() -> None:
    world = a_registered_person()
    world.do(register(2), by=ASSISTANT)
    again = correct_person(2, document_number=document_of(1))
    given(world).when(again, by=REGISTRAR).fails(DocumentTaken)


def test_an_agency_learns_from_no_correction_whose_document_it_is() -> None:
    """Source: source-document 3.1(1)."""
    world = a_registered_person()
    world.do(register(2), by=ASSISTANT)
    known, free = (
        given(world).when(correct_person(2, document_number=document_of(n)), by=AGENCY).decided
        for n in (1, 9)
    )
    [(stream, fact)], [(other, same)] = known.facts, free.facts
    assert (stream, type(fact), known.outcome) == (other, type(same), free.outcome)
    again = correct_person(2, document_number=document_of(1))
    after = given(world).when(again, by=AGENCY).then_kinds(e.PersonCorrected)
    assert after.person("P2").registration is Registration.CONTESTED
    back = correct_person(2, document_number=document_of(2))
    after = given(after).when(back, by=AGENCY).then_kinds(e.PersonCorrected)
    assert after.person("P2").registration is Registration.REGISTERED


# --- joining --------------------------------------------------------------------------------------


def test_a_joined_registration_gives_its_login_to_the_person() -> None:
    """Source: source-document 3.1(1)."""
    when = given(contested()).when(JoinRegistration(person_id="P2"), by=CERTIFIER)
    world = when.returns(person_id="P1").then(
        e.RegistrationJoined(person_id="P2", joined_to="P1"),
        e.LoginAssigned(person_id="P1", subject="candidate-2"),
    )
    assert (world.person("P1").subject, world.person("P2").subject) == ("candidate-2", None)
    given(world).when(apply_for(1), by=candidate(2)).then_kinds(*OPENED)
    given(world).when(taken(3), by=candidate(2)).fails(ClaimTaken, kind="person_login")


def test_without_a_login_a_registration_is_joined_all_the_same() -> None:
    world = a_registered_person()
    world.do(taken(subject=None), by=ASSISTANT)
    given(world).when(JoinRegistration(person_id="P2"), by=AGENCY).then_kinds(e.RegistrationJoined)


def test_a_person_with_a_login_gets_no_second_one() -> None:
    world = contested(a_registered_person())
    join = JoinRegistration(person_id="P2")
    given(world).when(join, by=CERTIFIER).fails(PersonHasLogin)


def test_an_open_application_of_the_registration_ends_before_it_is_joined() -> None:
    world = contested()
    world.do(apply_for(2), by=candidate(2))
    join = JoinRegistration(person_id="P2")
    given(world).when(join, by=CERTIFIER).fails(RegistrationInUse)
    world.do(withdraw(2), by=candidate(2))
    given(world).when(join, by=CERTIFIER).then_kinds(e.RegistrationJoined, e.LoginAssigned)


def recorded_again(world: World) -> None:
    world.do(correct_person(document_number=document_of(9)), by=REGISTRAR)


@pytest.mark.parametrize("left", [recorded_again, erase], ids=["corrected", "erased"])
def test_nobody_is_joined_to_a_person_whose_document_it_is_no_longer(left) -> None:
    world = contested()
    left(world)
    given(world).when(JoinRegistration(person_id="P2"), by=CERTIFIER).fails(DocumentsDiffer)
    same = correct_person(2, document_number=document_of(1))
    given(world).when(same, by=REGISTRAR).then_kinds(e.PersonCorrected)


# --- rejecting ------------------------------------------------------------------------------------


def test_a_rejected_registration_does_nothing_more() -> None:
    """Source: source-document 3.1(1)."""
    world = rejected()
    given(world).when(apply_for(2), by=candidate(2)).fails(RegistrationClosed)
    given(world).when(correct_person(2), by=REGISTRAR).fails(RegistrationClosed)
    erase(world, 2)
    given(world).when(register(3), by=candidate(2)).then_kinds(e.PersonRegistered)


# --- who settles ----------------------------------------------------------------------------------

BOTH = [JoinRegistration(person_id="P2"), RejectRegistration(person_id="P2", reason="不符")]


@pytest.mark.parametrize("command", BOTH, ids=["join", "reject"])
def test_nobody_settles_their_own_registration_or_one_they_recorded(command) -> None:
    world = a_person_without_login()
    world.do(taken(subject=None), by=ASSISTANT)
    given(world).when(command, by=ASSISTANT).fails(OwnRegistration)
    own = Actor(subject="candidate-2", role=Role.CERTIFIER, organisation="omc")
    given(contested()).when(command, by=own).fails(OwnRegistration)


@pytest.mark.parametrize("command", BOTH, ids=["join", "reject"])
def test_what_is_settled_or_was_never_contested_is_not_settled_again(command) -> None:
    for world in (joined(), rejected()):
        given(world).when(command, by=CERTIFIER).fails(RegistrationNotContested)
    free = an_open_ledger()
    free.do(register(2), by=ASSISTANT)
    given(free).when(command, by=CERTIFIER).fails(
        RegistrationNotContested, registration="registered"
    )
    given(an_open_ledger()).when(command, by=CERTIFIER).fails(NotFound, what="person")


@pytest.mark.parametrize("command", BOTH, ids=["join", "reject"])
def test_an_erased_registration_is_not_settled(command) -> None:
    world = contested()
    erase(world, 2)
    given(world).when(command, by=CERTIFIER).fails(PersonErased)

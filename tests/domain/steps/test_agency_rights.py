"""An agency works on its own applications and persons, and changes nothing of another agency's."""

from __future__ import annotations

import pytest

from domain import events as e
from domain.actors import Role
from domain.decision import Command, NotYourOwn
from domain.documents.materials import MaterialKind
from domain.events import Component, Item, Stage
from domain.steps.contested_registration import JoinRegistration, RejectRegistration
from tests.support.actors import AGENCY, ASSISTANT, CERTIFIER, candidate, staff
from tests.support.commands import (
    apply_for,
    correct_person,
    document_of,
    give,
    hand_in,
    name_of,
    object_to,
    order,
    register,
    seat,
    submit,
    use,
    withdraw,
)
from tests.support.journeys import (
    a_paid_application,
    a_registered_person,
    an_application_in_review,
    an_enrolled_application,
    an_open_ledger,
    published_results,
)
from tests.support.world import World, given

OTHER = staff("agency-9", Role.AGENCY, "agency-b")
SAME = staff("agency-8", Role.AGENCY, "Ａgency-A ")
"""Of the first agency, spelt otherwise."""

COMMANDS: list[Command] = [
    withdraw(1),
    use(Item.HANDBOOK),
    hand_in(MaterialKind.IDENTITY_PROOF),
    submit(),
    give(Stage.INITIAL, "pass"),
    order(Component.CERTIFICATION_FEE),
    seat(),
]


def assigned(world: World) -> World:
    """The application, which now names the first agency."""
    state = world.candidacy("A1")
    object.__setattr__(state, "agency", AGENCY.organisation)
    return world


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: type(each).__name__)
def test_no_command_of_an_agency_changes_another_agencys_application(command: Command) -> None:
    """Source: source-document 3.2(2)."""
    for world in (a_paid_application(), an_application_in_review(), an_enrolled_application()):
        when = given(assigned(world)).when(command, by=OTHER)
        when.fails(NotYourOwn, what="application")


def test_an_application_is_the_agencys_that_opened_it() -> None:
    world = an_open_ledger()
    world.do(register(1), by=ASSISTANT)
    world.do(apply_for(1), by=ASSISTANT)
    given(world).when(withdraw(1), by=OTHER).fails(NotYourOwn, what="application")
    given(world).when(withdraw(1), by=SAME).then_kinds(e.ApplicationWithdrawn)


def test_an_application_is_the_agencys_that_the_candidate_named() -> None:
    world = a_registered_person()
    world.do(apply_for(1, agency="agency-b"), by=candidate(1))
    given(world).when(withdraw(1), by=AGENCY).fails(NotYourOwn, what="application")
    given(world).when(withdraw(1), by=OTHER).then_kinds(e.ApplicationWithdrawn)


def test_one_that_names_no_agency_is_the_first_reviewers() -> None:
    """Source: source-document 3.2(2)."""
    world = an_application_in_review()
    given(world).when(give(Stage.INITIAL, "return"), by=OTHER).then_kinds(e.InitialReviewReturned)
    world.do(give(Stage.INITIAL, "return"), by=AGENCY)
    given(world).when(submit(), by=OTHER).fails(NotYourOwn, what="application")
    given(world).when(submit(), by=SAME).then_kinds(e.DocumentsSubmitted)


# --- persons --------------------------------------------------------------------------------------


def test_an_agency_opens_applications_for_whom_it_registered_or_recognised() -> None:
    """Source: source-document 3.1(1)."""
    world = a_registered_person()
    given(world).when(apply_for(1), by=OTHER).fails(NotYourOwn, what="person")
    world.do(register(9, document_number=document_of(1), name=name_of(1)), by=OTHER)
    world.do(apply_for(1), by=OTHER)
    assert world.candidacy("A1").agency == "agency-b"


def test_recognising_somebody_gives_no_right_over_the_person() -> None:
    """Source: source-document 3.1(1)."""
    world = an_open_ledger()
    world.do(register(1), by=candidate(1))
    world.do(register(9, document_number=document_of(1), name=name_of(1)), by=OTHER)
    world.do(apply_for(1), by=OTHER)
    given(world).when(correct_person(), by=OTHER).fails(NotYourOwn, what="person")


@pytest.mark.parametrize(("named", "may"), [("agency-b", True), (None, True), ("agency-a", False)])
def test_who_applied_to_an_agency_by_themselves_is_corrected_there(
    named: str | None, *, may: bool
) -> None:
    """Source: source-document 3.2(3)."""
    world = an_open_ledger()
    world.do(register(1), by=candidate(1))
    given(world).when(correct_person(), by=OTHER).fails(NotYourOwn, what="person")
    world.do(apply_for(1, agency=named), by=candidate(1))
    when = given(world).when(correct_person(), by=OTHER)
    if may:
        when.then_kinds(e.PersonCorrected)
    else:
        when.fails(NotYourOwn, what="person")


@pytest.mark.parametrize(
    "command",
    [JoinRegistration(person_id="P2"), RejectRegistration(person_id="P2", reason="不符")],
    ids=["join", "reject"],
)
def test_an_agency_settles_registrations_that_concern_it(command: Command) -> None:
    """Source: source-document 3.1(1)."""
    world = an_open_ledger()
    world.do(register(1, subject=None), by=ASSISTANT)
    world.do(register(2, document_number=document_of(1)), by=candidate(2))
    given(world).when(command, by=OTHER).fails(NotYourOwn, what="person")
    assert given(world).when(command, by=CERTIFIER).decided
    world.do(apply_for(2, agency="agency-b"), by=candidate(2))
    world.do(withdraw(2), by=candidate(2))
    given(world).when(command, by=AGENCY).fails(NotYourOwn, what="person")
    assert given(world).when(command, by=OTHER).decided


def test_an_agency_objects_for_whom_it_is_concerned_with() -> None:
    """Source: source-document 5.1."""
    world = published_results(("72", "72"))
    given(world).when(object_to(), by=OTHER).fails(NotYourOwn, what="person")
    given(world).when(object_to(), by=AGENCY).then_kinds(e.ObjectionFiled)

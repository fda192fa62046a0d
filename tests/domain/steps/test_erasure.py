"""Erasure waits until nothing is running, then destroys the data key for good."""

import pytest

from domain import events as e
from domain.decision import NotFound, NotYourOwn
from domain.steps.enrolment import (
    PersonErased,
)
from domain.steps.erasure import PersonStillNeeded
from domain.values.sealed_fields import DataClass
from tests.support.actors import candidate
from tests.support.commands import (
    apply_for,
    correct_person,
    document_of,
    erase,
    register,
)
from tests.support.journeys import (
    a_paid_application,
    a_refused_application,
    a_registered_person,
    a_rejected_application,
    an_eligible_application,
    an_enrolled_application,
    final_results,
)
from tests.support.world import given


def test_an_erased_person_is_no_longer_readable_and_their_document_is_free():
    world = a_registered_person()
    decision = world.do(erase(), by=candidate(1))
    assert {*decision.erases} == {("person/P1", each.value) for each in DataClass}
    with pytest.raises(NotFound):
        world.identity("P1")
    given(world).when(
        register(2, document_number=document_of(1), subject="candidate-1")
    ).then_kinds(e.PersonRegistered)


def test_an_erased_person_is_neither_corrected_nor_erased_again_and_applies_no_more():
    world = a_registered_person()
    world.do(erase())
    given(world).when(correct_person()).fails(PersonErased)
    given(world).when(erase()).fails(PersonErased)
    given(world).when(apply_for(), by=candidate(1)).fails(PersonErased)


def test_nobody_erases_somebody_else():
    given(a_registered_person()).when(erase(), by=candidate(2)).fails(NotYourOwn)


def test_a_person_is_needed_while_an_application_is_open():
    for world in (an_eligible_application(), a_paid_application(), an_enrolled_application()):
        given(world).when(erase()).fails(PersonStillNeeded)


def test_a_person_is_needed_no_more_once_the_application_is_over():
    for world in (a_refused_application(), a_rejected_application(), final_results()):
        given(world).when(erase()).then_kinds(e.PersonalDataErased)

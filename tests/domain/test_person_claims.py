"""Whose an identity document is follows from facts, and no fact has a blind index."""

from __future__ import annotations

from domain import events as e
from domain.events import CATALOGUE
from domain.person_claims import FIRST_FACTS, IDENTITY_FACTS, TOPICS, person_claims_of
from domain.values.identity_documents import DocumentType
from tests.support import journeys
from tests.support.actors import ASSISTANT, REGISTRAR
from tests.support.commands import correct_person, document_of, erase, register
from tests.support.world import World, blind_index


def kinds(world: World, person: str = "P1") -> set[str]:
    return {kind for kind, _ in world.person_claims[person]}


def test_no_fact_has_a_blind_index():
    fields = {name for fact in CATALOGUE.values() for name in fact.model_fields}
    assert not {name for name in fields if name.endswith("_index")}


def test_every_fact_with_a_document_number_identifies_a_person():
    named = {fact for fact in CATALOGUE.values() if "document_number" in fact.model_fields}
    assert named == {*IDENTITY_FACTS, e.PersonRecognised}, "which changes nothing of the person"
    assert {fact.TOPIC for fact in (*IDENTITY_FACTS, *FIRST_FACTS)} < TOPICS


def test_one_number_is_one_index_whichever_document_shows_it():
    world = journeys.a_registered_person()
    before = world.person_claims["P1"]
    card = correct_person(document_type=DocumentType.HANGZHOU_SOCIAL_CARD, name="钱一")
    world.do(card, by=REGISTRAR)
    assert ("document", blind_index("document", f"cn18:{document_of(1)}")) in before
    assert dict(world.person_claims["P1"])["document"] == dict(before)["document"]


def test_a_passport_has_an_index_without_its_country_too():
    world = journeys.an_open_ledger()
    passport = {"document_type": DocumentType.PASSPORT, "document_number": "X1234567"}
    world.do(register(1, **passport, document_country="FRA"), by=ASSISTANT)
    world.do(register(2, **passport, document_country="USA"), by=ASSISTANT)
    anywhere = ("passport", blind_index("document", "passport:X1234567"))
    assert anywhere in world.person_claims["P1"]
    assert anywhere in world.person_claims["P2"]
    assert kinds(world) == {"document", "named_document", "passport"}


def test_a_corrected_document_passes_its_index_on():
    world = journeys.a_registered_person()
    before = set(world.person_claims["P1"])
    world.do(correct_person(document_number=document_of(2)), by=REGISTRAR)
    assert not before & set(world.person_claims["P1"])
    assert kinds(world) == {"document", "named_document"}


def test_an_erasure_leaves_no_index():
    world = journeys.a_registered_person()
    erase(world)
    assert world.person_claims == {"P1": ()}


def test_what_cannot_be_opened_gives_no_index():
    [fact] = journeys.a_registered_person().facts(e.PersonRegistered)
    sealed = fact.model_copy(update={"document_number": None, "name": None})
    assert person_claims_of(sealed, blind_index) == ("P1", ())

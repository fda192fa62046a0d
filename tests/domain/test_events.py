"""The catalogue of facts: what each must be so that it can be stored forever.

Covers: domain/events.py
"""

import re

import pytest
from pydantic import BaseModel

from domain import events as e
from domain.events import CATALOGUE, ITEMS, Component, EditionAdopted, Item, Stage, Subject
from domain.lawfulness.history import stream_of_fact
from domain.values.sealed_fields import DataClass, Sealed, models_in, sealed_fields
from tests.support.golden import sample

FACTS = [pytest.param(fact, id=topic) for topic, fact in CATALOGUE.items()]
NAMES_THINGS = {
    # organisations
    "organisation_name": "the evaluation organisation, as filed",
    "issuer_name": "the issuer, as printed",
    "agency": "the enrolment agency",
    "service_opened.v1 first": "pseudonym of an operator",
    "service_opened.v1 second": "pseudonym of another one",
    # occupations
    "occupation": "code of an occupation",
    "occupation_name": "its name in the classification",
    "edition": "of an occupational standard",
    "job_type": "one that the standard lists",
    "alternative": "number of a condition of the standard",
    "also_met": "numbers of conditions",
    "nearest": "number of a condition",
    # places
    "exam_session_scheduled.v1 name": "of a session, such as 杭州 9月",
    "place": "an examination site",
    "address": "of an examination site",
    "room": "of an examination site",
    # ids and codes that others allocate
    "provider_transaction_id": "number of a payment, by the provider",
    "merchant_order_no": "number of an order, by the shop",
    "provider_refund_id": "number of a refund, by the provider",
    "number": "of a certificate",
    "media_type": "found in the bytes of a file",
    "calendar_edition": "of the working-day calendar",
    # keys and logs
    "algorithm": "of a key",
    "log_origin": "name of a log",
    "old_origin": "name of a log",
    "new_origin": "name of a log",
    "old_head_note": "a signed head",
    # about a person, and no text that somebody wrote
    "subject": "a pseudonym",
    "proposed_by": "a pseudonym",
    "confirmed_by": "a pseudonym",
}
"""Fields, or topics and fields, of text that is stored in clear, and what they name."""


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("fact", FACTS)
def test_a_topic_is_the_name_of_the_fact_and_a_version(fact):
    assert re.fullmatch(rf"{snake(fact.__name__)}\.v[1-9][0-9]*", fact.TOPIC)


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_names_the_stream_it_belongs_to(fact):
    kinds = {"ledger", "person", "application", "session", "notice", "series", "report"}
    assert fact.STREAM in kinds | {"edition", "actor"}
    assert fact.STREAM == "ledger" or hasattr(
        fact.model_validate(sample(fact)), f"{fact.STREAM}_id"
    )


def test_the_editions_of_a_kind_have_a_stream_of_their_own():
    fact = EditionAdopted.model_validate(sample(EditionAdopted) | {"kind": "fees"})
    assert stream_of_fact(fact) == "edition-fees"


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_is_immutable_and_refuses_unknown_fields(fact):
    data = sample(fact)
    made = fact.model_validate(data)
    with pytest.raises(ValueError, match="frozen"):
        setattr(made, next(iter(fact.model_fields)), "other")
    with pytest.raises(ValueError, match="extra"):
        fact.model_validate(data | {"unknown": 1})


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_round_trips_through_json(fact):
    made = fact.model_validate(sample(fact))
    assert fact.model_validate_json(made.model_dump_json()) == made


def kinds_of(schema: object) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["type"]} if isinstance(schema.get("type"), str) else set()
        return own.union(*(kinds_of(value) for value in schema.values()))
    if isinstance(schema, list):
        return set().union(*(kinds_of(value) for value in schema))
    return set()


@pytest.mark.parametrize("fact", FACTS)
def test_no_fact_contains_a_float(fact):
    assert "number" not in kinds_of(fact.model_json_schema())


def free_texts(model: type[BaseModel]) -> set[str]:
    """Fields of a model that hold text of no fixed shape; an id, a digest and a code have one."""
    schema = model.model_json_schema(mode="serialization")
    return {name for name, field in schema["properties"].items() if is_free_text(field)}


def is_free_text(field: object) -> bool:
    if isinstance(field, list):
        return any(map(is_free_text, field))
    if not isinstance(field, dict):
        return False
    if field.get("type") == "string":
        return not field.keys() & {"pattern", "format", "enum", "const"}
    return any(map(is_free_text, field.values()))


@pytest.mark.parametrize("fact", FACTS)
def test_every_text_is_sealed_or_names_a_thing(fact):
    """Source: source-document 3.1(1)."""
    for model in (fact, *models_in(fact)):
        clear = free_texts(model) - {name for name, _ in sealed_fields(model)}
        named = {name for name in clear if f"{fact.TOPIC} {name}" in NAMES_THINGS}
        assert clear - named <= set(NAMES_THINGS)


def test_the_list_of_what_is_in_clear_is_no_longer_than_it_must_be():
    models = [(fact.TOPIC, m) for fact in CATALOGUE.values() for m in (fact, *models_in(fact))]
    clear = {
        name
        for topic, model in models
        for field in free_texts(model) - {each for each, _ in sealed_fields(model)}
        for name in (field, f"{topic} {field}")
    }
    assert set(NAMES_THINGS) <= clear
    assert all(NAMES_THINGS.values())


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_with_fields_of_a_person_names_the_person(fact):
    models = (fact, *models_in(fact))
    marks = [mark for model in models for _, mark in sealed_fields(model)]
    named = {mark.of for mark in marks if mark.data_class is not None}
    assert named <= fact.model_fields.keys()


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_about_an_application_names_the_applicant(fact):
    """A fact of a public notice or a session too, which belongs to another stream."""
    assert "application_id" not in fact.model_fields or "person_id" in fact.model_fields


MONEY_ARRIVED = {"source", "evidence_sha256", "channel_id", "paid_at"}
PROVIDER_SAID = {
    *("source", "evidence_sha256", "provider_refund_fen", "fee_returned_fen"),
    "received_account",
}
FOR_RECONCILIATION = {
    "fee_paid.v1": MONEY_ARRIVED,
    "excess_payment_received.v1": MONEY_ARRIVED,
    "fee_item_used.v1": {"payment_id", "used_at"},
    "refund_entitled.v1": {"lines", "not_refundable"},
    "refund_ordered.v1": {"channel_id", "provider", "provider_transaction_id"},
    "refund_accepted.v1": PROVIDER_SAID | {"accepted_at", "provider_refund_id"},
    "refund_settled.v1": PROVIDER_SAID | {"settled_at", "provider_refund_id", "channel"},
    "refund_closed.v1": PROVIDER_SAID | {"closed_at"},
    "refund_abnormal.v1": PROVIDER_SAID | {"abnormal_at"},
    "application_opened.v1": {"agency"},
}
"""What a comparison with a provider's bills needs of each fact about money: by what it is known,
the merchant account, the provider's own time and amounts, and where the money went."""


@pytest.mark.parametrize("topic", FOR_RECONCILIATION)
def test_a_fact_about_money_says_what_a_bill_is_compared_with(topic):
    """In its first version, so that no later one has to add it. Source: source-document 2.4."""
    assert FOR_RECONCILIATION[topic] <= CATALOGUE[topic].model_fields.keys()


def test_an_account_that_money_went_back_to_is_sealed_under_the_persons_key_for_money():
    for topic in ("accepted", "settled", "closed", "abnormal"):
        marks = dict(sealed_fields(CATALOGUE[f"refund_{topic}.v1"]))
        assert marks["received_account"] == Sealed(DataClass.MONEY)


@pytest.mark.parametrize("fact", FACTS)
def test_a_sealed_field_may_be_none_because_its_key_can_be_destroyed(fact):
    for model in (fact, *models_in(fact)):
        for name, _ in sealed_fields(model):
            schema = model.model_json_schema()["properties"][name]
            assert {"type": "null"} in schema["anyOf"]


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_is_named_in_the_past_tense_and_has_a_docstring(fact):
    assert fact.__doc__
    past = r"(ed|Paid|Held|held|Set|Taken|Frozen|Withdrawn|Visible|Abnormal|Elsewhere)$"
    assert re.search(past, fact.__name__)


def test_there_are_three_reviews_in_the_order_of_the_document():
    """Source: source-document 3.2(2)."""
    assert [stage.value for stage in Stage] == ["initial", "second", "final"]


def test_final_review_passed_is_enrolment_and_there_is_no_second_fact_for_it():
    """Source: source-document 2.4(3)."""
    assert not [topic for topic in CATALOGUE if "enrol" in topic]


def test_there_are_two_subjects():
    """Source: source-document 4.3(1)."""
    assert [subject.value for subject in Subject] == ["theory", "practical"]


def test_the_certification_fee_covers_one_exam_of_each_subject():
    """Source: source-document 2.2."""
    assert ITEMS[Component.CERTIFICATION_FEE] == (Item.THEORY_EXAM, Item.PRACTICAL_EXAM)


def test_the_study_material_has_four_items():
    """Source: source-document 2.3."""
    assert ITEMS[Component.STUDY_MATERIAL] == (
        Item.CAREER_ASSESSMENT,
        Item.RECORDED_COURSE,
        Item.MOCK_EXAM,
        Item.HANDBOOK,
    )


def test_every_item_belongs_to_exactly_one_component():
    listed = [item for items in ITEMS.values() for item in items]
    assert sorted(listed) == sorted(Item)


def test_two_certificates_come_from_one_exam():
    """一试双证. Source: source-document 0.2, 5.2."""
    assert [kind.value for kind in e.CertificateKind] == ["national", "omc"]


@pytest.mark.parametrize("fen", [-1, 2**53, 1.0, "1", True])
def test_money_is_a_whole_number_of_fen(fen):
    with pytest.raises(ValueError):
        e.FeeLine(component=Component.STUDY_MATERIAL, amount_fen=fen)


@pytest.mark.parametrize("bad", ["", "-a", "a b", "ä", "a" * 65, "a/b"])
def test_an_id_is_plain_and_short(bad):
    with pytest.raises(ValueError):
        e.RefundApproved(application_id=bad, person_id="P1", refund_no="R1")

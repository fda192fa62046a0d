"""The mapper: facts read back as they were written, upcast, with personal fields encrypted."""

import pytest

from domain.store.errors import UnknownTopic, UnreadableEvent
from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest, NewEvent, RecordedEvent
from domain.store.mapper import Catalogue, EntryMapper, OrjsonTranscoder
from domain.values.sealed_fields import DataClass, blanked
from tests.store.drafts import append, draft
from tests.store.facts import (
    WANG,
    FeePaid,
    LateNotice,
    Mark,
    PersonRegistered,
    catalogue,
    entry,
    vault_of,
)


@pytest.fixture
def mapper(journal: Journal) -> EntryMapper:
    return EntryMapper(catalogue=catalogue(), vault=vault_of(journal))


def record(journal: Journal, mapper: EntryMapper, *entries) -> list[RecordedEvent]:
    with journal.transaction() as transaction:
        encryptor = mapper.vault.encryptor(transaction.batch)
        events = tuple(mapper.new_event(one, encryptor) for one in entries)
        return transaction.append([AppendRequest(events, fresh_keys=encryptor.fresh_keys)])[0]


def write(journal: Journal, *drafts: NewEvent) -> list[RecordedEvent]:
    with journal.transaction() as transaction:
        return transaction.append([AppendRequest(drafts)])[0]


def test_an_entry_reads_back_as_it_was_written(journal: Journal, mapper: EntryMapper) -> None:
    sent = [entry("a", 1, FeePaid(amount_fen=100)), entry("person-p1", 1, WANG)]
    recorded = record(journal, mapper, *sent)
    for one, event in zip(sent, recorded, strict=True):
        assert mapper.entry(event) == one._replace(recorded_at=event.recorded_at)
    assert mapper.entries(journal.read(0, 9)) == [mapper.entry(event) for event in recorded]


def test_personal_fields_are_sealed_and_the_others_are_not(
    journal: Journal, mapper: EntryMapper
) -> None:
    (event,) = record(journal, mapper, entry("person-p1", 1, WANG))
    for secret in ("王小明", "13800000000"):
        assert secret.encode() not in event.envelope
    assert event.data["remark"] == "in clear"
    assert event.data["name"].keys() == {"key", "sealed"}
    assert event.data["name"]["key"] == "person/p1/identity/1"
    assert event.data["name"]["sealed"].startswith("aes-256-gcm:")
    first, second = event.data["marks"]
    assert (first["rule"], first["figures"]["key"]) == ("1.2(2)", "person/p1/statements/1")
    assert second == {"rule": "1.2(3)", "figures": None}


def test_a_text_that_concerns_no_one_person_is_sealed_for_its_stream(
    journal: Journal, mapper: EntryMapper
) -> None:
    fact = LateNotice(late_reason="系统故障")
    (event,) = record(journal, mapper, entry("notice-n1", 1, fact))
    assert event.data["late_reason"]["key"] == "matter/notice-n1/1"
    assert mapper.entry(event).fact == fact


def test_a_personal_field_that_was_never_given_is_none(
    journal: Journal, mapper: EntryMapper
) -> None:
    fact = PersonRegistered(person_id="p1", name=None)
    (event,) = record(journal, mapper, entry("person-p1", 1, fact))
    assert event.data["name"] is None
    assert mapper.entry(event).fact == fact
    assert journal.query("SELECT 1 FROM certledger.data_keys") == []


def test_an_erased_person_reads_as_none(journal: Journal, mapper: EntryMapper) -> None:
    (event,) = record(journal, mapper, entry("person-p1", 1, WANG))
    with journal.transaction() as transaction:
        keys = tuple(("person/p1", each.value) for each in DataClass)
        transaction.append([append("erasures", 1, destroy_keys=keys)])
    mapper.vault.forget("person/p1")
    assert mapper.entry(event).fact == blanked(WANG)
    assert mapper.sealed_entry(event).fact == blanked(WANG)
    assert blanked(WANG) == PersonRegistered(
        person_id="p1",
        name=None,
        phone=None,
        remark="in clear",
        marks=(Mark(rule="1.2(2)", figures=None), Mark(rule="1.2(3)", figures=None)),
    )


def test_a_class_of_somebody_is_erased_and_the_others_are_not(
    journal: Journal, mapper: EntryMapper
) -> None:
    (event,) = record(journal, mapper, entry("person-p1", 1, WANG))
    with journal.transaction() as transaction:
        transaction.append([append("erasures", 1, destroy_keys=(("person/p1", "contact"),))])
    mapper.vault.forget("person/p1")
    assert mapper.entry(event).fact == WANG.model_copy(update={"phone": None})


def test_keys_of_many_persons_are_read_in_one_query(journal: Journal, mapper: EntryMapper) -> None:
    persons = [
        PersonRegistered(person_id=f"p{n}", name=f"name {n}", phone=f"phone {n}") for n in range(20)
    ]
    recorded = record(
        journal, mapper, *[entry(f"person-p{n}", 1, fact) for n, fact in enumerate(persons)]
    )
    asked: list[set[str]] = []
    vault = vault_of(journal)
    read = vault._read_keys
    vault._read_keys = lambda wanted: asked.append(set(wanted)) or read(wanted)
    fresh = EntryMapper(catalogue=catalogue(), vault=vault)
    assert [one.fact for one in fresh.entries(recorded)] == persons
    classes = ("identity", "contact")
    assert asked == [{(f"person/p{n}", each, 1) for n in range(20) for each in classes}]


# --- older versions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        ("fee_paid.v0", {"amount": "3"}),
        ("fee_paid.v1", {"amount_yuan": 3}),
        ("fee_paid.v2", {"amount_fen": 300}),
    ],
)
def test_an_older_event_is_upcast_to_the_current_version(
    journal: Journal, mapper: EntryMapper, topic: str, data: dict
) -> None:
    (event,) = write(journal, draft("a", 1, topic=topic, **data))
    assert mapper.entry(event).fact == FeePaid(amount_fen=300)
    assert event.data == data


def test_personal_fields_of_an_older_event_are_decrypted_before_upcasting(
    journal: Journal, mapper: EntryMapper
) -> None:
    (event,) = record(journal, mapper, entry("person-p1", 1, WANG))

    class PersonRegistered2(PersonRegistered):
        TOPIC = "person_registered.v2"
        initial: str | None

    newer = Catalogue([PersonRegistered2])

    @newer.upcaster("person_registered.v1", "person_registered.v2")
    def _(data: dict) -> dict:
        return data | {"initial": data["name"] and data["name"][0]}

    fact = EntryMapper(catalogue=newer, vault=vault_of(journal)).entry(event).fact
    assert (fact.name, fact.initial) == ("王小明", "王")


def test_an_unknown_topic_is_refused(journal: Journal, mapper: EntryMapper) -> None:
    (event,) = write(journal, draft("a", 1, topic="seen_nowhere.v1"))
    with pytest.raises(UnknownTopic, match=r"seen_nowhere\.v1"):
        mapper.entry(event)


def test_only_the_current_version_is_written(mapper: EntryMapper) -> None:
    class OldFeePaid(FeePaid):
        TOPIC = "fee_paid.v1"

    with pytest.raises(UnknownTopic):
        mapper.new_event(entry("a", 1, OldFeePaid(amount_fen=1)))


def test_invalid_data_is_reported_without_its_values(journal: Journal, mapper: EntryMapper) -> None:
    (event,) = write(journal, draft("a", 1, topic="fee_paid.v2", amount_fen="secret text"))
    with pytest.raises(UnreadableEvent) as refusal:
        mapper.entry(event)
    assert "amount_fen" in str(refusal.value)
    assert "a version 1" in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_catalogue_has_one_reader_for_each_topic() -> None:
    class Twin(FeePaid):
        pass

    with pytest.raises(ValueError, match="two facts"):
        Catalogue([FeePaid, Twin])
    made = catalogue()
    for topic in ("fee_paid.v0", "fee_paid.v1", "fee_paid.v2"):
        assert made.current_topic(topic) == "fee_paid.v2"
    by_topic = Catalogue({"fee_paid.v2": FeePaid})
    assert by_topic.current_topic("fee_paid.v2") == "fee_paid.v2"
    with pytest.raises(UnknownTopic):
        by_topic.current_topic("fee_paid.v1")
    for taken in ("fee_paid.v1", "fee_paid.v2"):
        with pytest.raises(ValueError, match="can already be read"):
            made.upcaster(taken, "fee_paid.v2")


# --- misuse --------------------------------------------------------------------------------------


def test_personal_data_without_a_vault_is_not_written_and_read_as_nothing(
    journal: Journal, mapper: EntryMapper
) -> None:
    bare = EntryMapper(catalogue=catalogue())
    with pytest.raises(ValueError, match=r"person_registered\.v1/name is sealed"):
        bare.new_event(entry("person-p1", 1, WANG))
    (event,) = record(journal, mapper, entry("person-p1", 1, WANG))
    assert bare.entry(event).fact.name is None


def test_the_librarys_cipher_and_compressor_are_refused() -> None:
    from eventsourcing.compressor import ZlibCompressor

    with pytest.raises(ValueError):
        EntryMapper(catalogue=catalogue(), compressor=ZlibCompressor())


def test_the_transcoder_writes_canonical_json() -> None:
    transcoder = OrjsonTranscoder()
    written = transcoder.encode({"b": [1, "二"], "a": None})
    assert written == '{"a":null,"b":[1,"二"]}'.encode()
    assert transcoder.decode(written) == {"a": None, "b": [1, "二"]}

"""Entries of the register of erasures: their chain, their seals, and what counts as an erasure."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.store.errors import SealBroken
from domain.store.journal.records import RecordedEvent
from domain.store.keys.seals import Sealer, seal_key
from domain.store.tlog.erasure_entries import (
    NO_ENTRY,
    ErasureEntry,
    chain,
    entry_from_text,
    gaps,
    recorded_erasures,
)
from domain.values.sealed_fields import DataClass
from tests.support.actors import OPERATOR
from tests.support.commands import erase, repeat_erasure
from tests.support.journeys import a_refused_application, a_registered_person
from tests.support.keys import SEALER
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database
from tests.support.tampering import superuser

LOG = "example.org/omc"
NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)
OMC = SEALER.of("omc")


def event(position: int, *classes: str) -> RecordedEvent:
    """An erasure of person P<position>."""
    data = {"person_id": f"P{position}", "destroyed": list(classes)}
    found: Any = RecordedEvent.__new__(RecordedEvent)
    found.position, found.event_id = position, f"id-{position}"
    found.recorded_at = NOW + timedelta(seconds=position)
    found._parsed = {"data": data}
    return found


def entries(*positions: int) -> list[ErasureEntry]:
    return chain("omc", LOG, [event(each, "identity") for each in positions])


def test_each_entry_names_the_one_before_it_by_its_hash():
    first, second = entries(9, 12)
    assert (first.number, first.previous) == (1, NO_ENTRY)
    assert (second.number, second.previous) == (2, first.hash)
    assert chain("omc", LOG, [event(12, "identity")], first) == [second]


@given(st.lists(st.integers(1, 10**9), unique=True, max_size=9).map(sorted), st.data())
def test_an_entry_that_is_missing_between_others_shows(positions: list[int], data: Any):
    made = entries(*positions)
    assert gaps(reversed(made)) == []
    left = data.draw(st.sets(st.sampled_from(made))) if made else set()
    expected = [
        each
        for before, each in zip([None, *made], made, strict=False)
        if each in left and before is not None and before not in left
    ]
    assert gaps(each for each in made if each in left) == expected


def test_a_text_gives_the_entry_again_under_any_known_key():
    [entry] = entries(9)
    assert entry_from_text(entry.text(OMC), OMC) == entry
    newer = Sealer(seal_key(bytes(32)), [SEALER.active]).of("omc")
    assert entry_from_text(entry.text(OMC), newer) == entry
    assert entry.text(newer) != entry.text(OMC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("person_id", "P10"), ("position", 10), ("classes", []), ("ledger", "other")),
        *(("log", "example.org/omc/2"), ("event_id", "id-10"), ("number", 2), ("previous", "00")),
        *(("recorded_at", "2026-11-29T09:00:00.000000Z"), ("seal", "00" * 32), ("seal_key", "x")),
        *(("recorded_at", "never"), ("classes", None), ("seal", "x"), ("more", 1)),
    ],
)
def test_an_altered_text_is_no_entry(field: str, value: object):
    [entry] = entries(9)
    content = json.loads(entry.text(OMC)) | {field: value}
    with pytest.raises(SealBroken):
        entry_from_text(json.dumps(content), OMC)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "\x00", '{"seal": 1, "seal_key": 2}'])
def test_whatever_is_no_entry_is_refused(text: str):
    with pytest.raises(SealBroken):
        entry_from_text(text, OMC)


def test_an_entry_of_another_ledger_or_under_another_key_is_refused():
    [entry] = entries(9)
    for sealer in (SEALER.of("other"), Sealer(seal_key(bytes(32))).of("omc")):
        with pytest.raises(SealBroken):
            entry_from_text(entry.text(OMC), sealer)


def test_a_confirmation_and_a_repetition_erase_and_what_destroyed_nothing_does_not(
    database: Database,
) -> None:
    with a_real_ledger(database) as world:
        a_registered_person(2, a_refused_application(1, world))
        erase(world, 1)
        erase(world, 2)
        world.do(repeat_erasure(1, DataClass.STATEMENTS), by=OPERATOR)
        repeated = world.receipts[-1].last_position
        world.do(repeat_erasure(1, DataClass.STATEMENTS), by=OPERATOR)
        journal = world.ledger.journal
        found = recorded_erasures(journal)
        assert [(each.topic, each.data["destroyed"]) for each in found.events] == [
            ("erasure_confirmed.v1", []),
            ("erasure_confirmed.v1", ["identity"]),
            ("erasure_repeated.v1", ["statements"]),
        ]
        assert found.repeated == {repeat_erasure().lost_event_id}
        assert found.repeated_at == repeated + 1
        assert recorded_erasures(journal, repeated).events == []


def test_an_event_without_a_right_seal_has_erased_nothing(database: Database) -> None:
    with a_real_ledger(database) as world:
        erase(a_registered_person(1, world), 1)
        with superuser(database) as cursor:
            cursor.execute("ALTER TABLE certledger.journal DISABLE TRIGGER ALL")
            cursor.execute(
                "UPDATE certledger.journal SET envelope = convert_to(replace(convert_from("
                "envelope, 'UTF8'), 'P1', 'P2'), 'UTF8') WHERE topic = 'erasure_confirmed.v1'"
            )
        assert recorded_erasures(world.ledger.journal).events == []


def test_the_erasures_are_found_without_reading_the_other_events(database: Database) -> None:
    with a_real_ledger(database) as world:
        erase(a_registered_person(1, world), 1)
        database.execute("ANALYZE certledger.journal")
        plan = database.execute(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; "
            "EXPLAIN SELECT position FROM certledger.journal "
            "WHERE ledger = 'omc' AND position > 0 AND topic IN ('erasure_confirmed.v1', "
            "'erasure_continued.v1', 'erasure_repeated.v1') ORDER BY position"
        )
        assert "journal_erasures" in str(plan)

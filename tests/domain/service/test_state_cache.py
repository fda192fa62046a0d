"""States in memory: never wrong, only old, whatever is on its way at the same time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from domain import events as e
from domain.service.state_cache import CachedState, PendingEvent, StateCache
from domain.store.journal.records import NO_EVENTS, RecordedEvent
from domain.store.mapper import Catalogue, Entry, EntryMapper
from tests.support.actors import OPERATOR
from tests.support.commands import fees, open_book

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
MAPPER = EntryMapper(catalogue=Catalogue(e.CATALOGUE))


class Seen:
    """A job's view of one stream."""

    def __init__(
        self, held: StateCache, committed: Sequence[RecordedEvent], pending: Sequence[RecordedEvent]
    ):
        self._held, self._committed, self._pending = held, committed, pending

    def committed(self, stream: str) -> list[RecordedEvent]:
        known = self._held.known_version(stream)
        return [event for event in self._committed if event.version > known]

    def pending(self, stream: str) -> list[RecordedEvent]:
        return list(self._pending)


def nothing_kept(stream: str) -> None:
    return None


def event(version: int, *, ours: bool = True) -> RecordedEvent:
    """The opening of the book, then one fee after the other."""
    fact: e.Fact = e.FeeScheduleSet(**fees(certification_fee_fen=version).model_dump())
    if version == 1:
        fact = e.LedgerOpened(**open_book().model_dump())
    return recorded_of("ledger", version, fact, ours=ours)


def recorded_of(stream: str, version: int, fact: e.Fact, *, ours: bool = True) -> RecordedEvent:
    entry = Entry(
        stream,
        version,
        uuid4(),
        NOW,
        None,
        OPERATOR.model_dump(mode="json"),
        uuid4(),
        uuid4(),
        None,
        fact,
    )
    draft = MAPPER.draft(entry)
    recorded = RecordedEvent(
        version, stream, version, draft.topic, draft.event_id, fact.TOPIC.encode(), b"", NOW, NOW,
        PendingEvent(entry) if ours else None,
    )  # fmt: skip
    object.__setattr__(recorded, "_parsed", parsed(draft))
    return recorded


def parsed(draft: Any) -> dict[str, Any]:
    return {
        "stream": draft.stream,
        "version": draft.version,
        "topic": draft.topic,
        "event_id": str(draft.event_id),
        "occurred_at": "2026-03-02T01:00:00.000000Z",
        "recorded_at": "2026-03-02T01:00:00.000000Z",
        "actor": draft.actor,
        "command_id": str(draft.command_id),
        "correlation_id": str(draft.correlation_id),
        "causation_id": None,
        "data": draft.data,
    }


def fen(kept: CachedState | None) -> list[int]:
    """The fees of a folded book, which count its versions."""
    assert kept is not None
    assert kept.state.version == len(kept.state.fees) + 1
    return [fee.certification_fee_fen for fee in kept.state.fees]


def test_what_is_on_its_way_is_seen_and_not_kept():
    held = StateCache(MAPPER, nothing_kept)
    view = Seen(held, [event(1, ours=False)], [event(2), event(3)])
    assert fen(held.fold("ledger", view)) == [2, 3]
    assert fen(held.fold("ledger", Seen(held, [], []))) == []
    assert held.known_version("ledger") == 1


def test_a_batch_that_came_to_nothing_leaves_nothing_behind():
    held = StateCache(MAPPER, nothing_kept)
    first, failed, again = event(1, ours=False), event(2), event(2)
    assert fen(held.fold("ledger", Seen(held, [first], [failed]))) == [2]
    others = event(2, ours=False)
    assert fen(held.fold("ledger", Seen(held, [first, others], [event(3)]))) == [2, 3]
    held.carry_on([again])
    assert held.known_version("ledger") == 2


def test_the_next_batch_is_decided_while_this_one_is_committed():
    held = StateCache(MAPPER, nothing_kept)
    batch, following = [event(1), event(2)], [event(3)]
    before = Seen(held, [], batch)
    assert fen(held.fold("ledger", before)) == [2]
    held.carry_on(batch)
    # The view of the next batch was made before, and some of it shows what is carried on already.
    assert fen(held.fold("ledger", Seen(held, [], batch + following))) == [2, 3]
    before = Seen(StateCache(MAPPER, nothing_kept), batch, following)
    assert fen(held.fold("ledger", before)) == [2, 3]
    held.carry_on(following)
    assert fen(held.fold("ledger", Seen(held, [], []))) == [2, 3]


def test_a_stream_that_others_went_on_with_is_not_carried_on_over_a_gap():
    held = StateCache(MAPPER, nothing_kept)
    held.carry_on([event(1)])
    held.carry_on([event(3)])
    assert held.known_version("ledger") == 1


def test_the_states_used_last_are_held():
    held = StateCache(MAPPER, nothing_kept, states_max=1)
    held.carry_on([event(1)])
    person = e.PersonalDataErased(person_id="P1", reason="本人申请")
    held._hold("person-P1", CachedState(person, NOW))
    assert held.known_version("ledger") == NO_EVENTS
    assert held.state("person-P1") == person


def test_a_long_stream_is_asked_for_once_and_taken_up_from_its_snapshot():
    asked = []

    def kept(stream: str) -> None:
        asked.append(stream)

    held = StateCache(MAPPER, kept)
    for _ in range(2):
        assert held.known_version("series-national-2026-4") == NO_EVENTS
        assert held.known_version("person-P1") == NO_EVENTS
    assert asked == ["series-national-2026-4"]


def test_who_a_person_is_can_be_read_again_when_only_their_state_is_held(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("domain.service.state_cache.IDENTITIES_MAX", 1)
    held = StateCache(MAPPER, nothing_kept)
    known = {"document_type": "resident_id", "document_index": "d", "name_index": "n"}
    registered = [
        recorded_of(f"person-P{n}", 1, e.PersonRegistered(
            person_id=f"P{n}", document_number=None, name=None, **known))
        for n in (1, 2)
    ]  # fmt: skip
    held.carry_on(registered)
    assert held.known("person", "P1") is not None
    identities = [held.identity(event.stream, Seen(held, [event], [])) for event in registered]
    assert identities == [b"person_registered.v1"] * 2
    assert held.identity("person-P3", Seen(held, [], [])) is None

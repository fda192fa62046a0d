"""The state cache: states may be old but never wrong, with batches in flight or not."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from domain import events as e
from domain.service.state_cache import IDENTITY, CachedState, PendingEvent, StateCache
from domain.store.journal.records import NO_EVENTS, RecordedEvent
from domain.store.mapper import Catalogue, EntryMapper, JournalEntry
from tests.support.actors import OPERATOR
from tests.support.commands import destroyed, introduce_key, open_ledger

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
MAPPER = EntryMapper(catalogue=Catalogue(e.CATALOGUE))


class StubView:
    """A command's read view of one stream."""

    def __init__(
        self,
        cache: StateCache,
        committed: Sequence[RecordedEvent],
        pending: Sequence[RecordedEvent],
    ):
        self._cache, self._committed, self._pending = cache, committed, pending

    def committed(self, stream: str) -> list[RecordedEvent]:
        known = self._cache.cached_version(stream)
        return [event for event in self._committed if event.version > known]

    def pending(self, stream: str) -> list[RecordedEvent]:
        return list(self._pending)


def no_snapshot(stream: str) -> None:
    return None


def event(version: int, *, ours: bool = True) -> RecordedEvent:
    """The opening of the ledger, then one key after the other."""
    fact: e.Fact = e.KeyIntroduced(**introduce_key(f"{version:08x}").model_dump())
    if version == 1:
        fact = e.LedgerOpened(**open_ledger().model_dump())
    return recorded_of("ledger", version, fact, ours=ours)


def recorded_of(stream: str, version: int, fact: e.Fact, *, ours: bool = True) -> RecordedEvent:
    entry = JournalEntry(
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
    draft = MAPPER.new_event(entry)
    recorded = RecordedEvent(
        version, stream, version, draft.topic, draft.event_id, fact.TOPIC.encode(), b"", NOW, NOW,
        memo=PendingEvent(entry) if ours else None,
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


def numbers(cached: CachedState | None) -> list[int]:
    """The keys of a folded ledger setup, which count its versions."""
    assert cached is not None
    assert cached.state.version == len(cached.state.keys) + 1
    return [int(key.key_id, 16) for key in cached.state.keys]


def test_pending_events_are_folded_but_not_cached():
    cache = StateCache(MAPPER, no_snapshot)
    view = StubView(cache, [event(1, ours=False)], [event(2), event(3)])
    assert numbers(cache.fold("ledger", view)) == [2, 3]
    assert numbers(cache.fold("ledger", StubView(cache, [], []))) == []
    assert cache.cached_version("ledger") == 1


def test_a_failed_batch_leaves_no_trace():
    cache = StateCache(MAPPER, no_snapshot)
    first, failed, again = event(1, ours=False), event(2), event(2)
    assert numbers(cache.fold("ledger", StubView(cache, [first], [failed]))) == [2]
    others = event(2, ours=False)
    assert numbers(cache.fold("ledger", StubView(cache, [first, others], [event(3)]))) == [2, 3]
    cache.apply_committed([again])
    assert cache.cached_version("ledger") == 2


def test_the_next_batch_executes_while_this_one_is_committed():
    cache = StateCache(MAPPER, no_snapshot)
    batch, following = [event(1), event(2)], [event(3)]
    before = StubView(cache, [], batch)
    assert numbers(cache.fold("ledger", before)) == [2]
    cache.apply_committed(batch)
    # The next batch's view is older than the cache and repeats events that are applied already.
    assert numbers(cache.fold("ledger", StubView(cache, [], batch + following))) == [2, 3]
    before = StubView(StateCache(MAPPER, no_snapshot), batch, following)
    assert numbers(cache.fold("ledger", before)) == [2, 3]
    cache.apply_committed(following)
    assert numbers(cache.fold("ledger", StubView(cache, [], []))) == [2, 3]


def test_committed_events_are_not_applied_over_a_gap():
    cache = StateCache(MAPPER, no_snapshot)
    cache.apply_committed([event(1)])
    cache.apply_committed([event(3)])
    assert cache.cached_version("ledger") == 1


def test_least_recently_used_states_are_evicted():
    cache = StateCache(MAPPER, no_snapshot, states_max=1)
    cache.apply_committed([event(1)])
    person = destroyed()
    cache._put("person-P1", CachedState(person, NOW))
    assert cache.cached_version("ledger") == NO_EVENTS
    assert cache.state("person-P1") == person


def test_the_snapshot_of_a_long_stream_is_looked_up_once():
    asked = []

    def kept(stream: str) -> None:
        asked.append(stream)

    cache = StateCache(MAPPER, kept)
    for _ in range(2):
        assert cache.cached_version("series-national-2026-4") == NO_EVENTS
        assert cache.cached_version("person-P1") == NO_EVENTS
    assert asked == ["series-national-2026-4"]


def test_an_evicted_identity_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("domain.service.state_cache.SEALED_MAX", 1)
    cache = StateCache(MAPPER, no_snapshot)
    known = {"document_type": "resident_id"}
    registered = [
        recorded_of(f"person-P{n}", 1, e.PersonRegistered(
            person_id=f"P{n}", document_number=None, name=None, **known))
        for n in (1, 2)
    ]  # fmt: skip
    cache.apply_committed(registered)
    assert cache.cached("person", "P1") is not None
    identities = [
        cache.sealed(event.stream, StubView(cache, [event], []))[IDENTITY] for event in registered
    ]
    assert identities == [b"person_registered.v1"] * 2
    assert cache.sealed("person-P3", StubView(cache, [], [])) == {}


def test_what_was_dropped_is_read_again_also_where_an_earlier_command_is_pending(
    monkeypatch: pytest.MonkeyPatch,
):
    """Else a certificate that is numbered and issued in one batch has a card without its photo."""
    monkeypatch.setattr("domain.service.state_cache.SEALED_MAX", 1)
    cache = StateCache(MAPPER, no_snapshot)
    known = {"document_type": "resident_id", "document_number": None, "name": None}
    first, other = (
        recorded_of(f"person-P{n}", 1, e.PersonRegistered(person_id=f"P{n}", **known), ours=False)
        for n in (1, 2)
    )
    cache.apply_committed([first, other])
    assigned = recorded_of("person-P1", 2, e.LoginAssigned(person_id="P1", subject="1" * 32))
    view = StubView(cache, [first], [assigned])
    folded = cache.fold("person-P1", view)  # by the earlier command
    assert folded is not None and folded.sealed is None
    for _ in range(2):
        assert cache.sealed("person-P1", view) == {IDENTITY: b"person_registered.v1"}
    assert cache.cached_version("person-P1") == 1


def test_a_stream_in_use_has_one_place_among_those_whose_sealed_values_are_cached(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("domain.service.state_cache.SEALED_MAX", 2)
    cache = StateCache(MAPPER, no_snapshot)
    known = {"document_type": "resident_id", "document_number": None, "name": None}
    for n in (1, 2):
        fact = e.PersonRegistered(person_id=f"P{n}", **known)
        cache.apply_committed([recorded_of(f"person-P{n}", 1, fact)])
    for version in (2, 3, 4):
        fact = e.LoginAssigned(person_id="P2", subject=f"{version}" * 32)
        cache.apply_committed([recorded_of("person-P2", version, fact)])
    nothing = StubView(cache, [], [])
    for n in (1, 2):
        folded = cache.fold(f"person-P{n}", nothing)
        assert folded is not None and folded.sealed == {IDENTITY: b"person_registered.v1"}

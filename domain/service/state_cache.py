"""Caches the folded states of one ledger's streams.

A stream only grows, so a cached state may be old but never wrong: the writer reads the later events
and applies them. Committed events update the cache. Uncommitted events are applied to a copy that
travels with them (`PendingEvent`), because their batch may still fail.
Reading order: StateCache.fold, StateCache.apply_committed, then what else is cached of a stream.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from domain.decision import stream_of
from domain.events import DocumentSubmitted
from domain.person_claims import IDENTITY_FACTS
from domain.service.snapshots import SNAPSHOTTED, kind_of
from domain.states import folds as states
from domain.store.journal.records import NO_EVENTS, RecordedEvent
from domain.store.mapper import EntryMapper, JournalEntry
from domain.store.writer.commands import BatchView

STATES_MAX = 20_000
"""Folded states cached per ledger, about 1 kB each."""

SEALED_MAX = 2_000
"""Streams whose sealed values are cached with their states, about 1 kB a value."""

IDENTITY = "identity"
"""Under which a person's name and document are among the sealed values of their stream."""

NOTHING: Mapping[str, bytes] = MappingProxyType({})


@dataclass(slots=True)
class PendingEvent:
    """The memo of an event this process appends, so that it need not be read back and parsed.

    entry: with sealed fields None, as if read back. state_after: of its stream up to here, once it
        was folded.
    """

    entry: JournalEntry
    state_after: CachedState | None = None


class CachedState(NamedTuple):
    """The folded state of a stream.

    occurred_at: of its last event. sealed: envelopes of the events whose sealed values a decision
    may need, which stay sealed in them: of a person the one with name and document (IDENTITY), of
    an application that of each document in force (its kind); None if they were dropped.
    """

    state: Any
    occurred_at: datetime
    sealed: Mapping[str, bytes] | None = NOTHING


class StateCache:
    """States by stream, least recently used evicted first.

    Only the writer thread changes it; any thread may read `state` and `cached`, and `clear` it.
    """

    def __init__(
        self,
        mapper: EntryMapper,
        restore: Callable[[str], CachedState | None],
        states_max: int = STATES_MAX,
    ) -> None:
        """Start empty. restore: the state of a stream from its last snapshot."""
        self._mapper = mapper
        self._restore = restore
        self._states_max = states_max
        self._states: OrderedDict[str, CachedState] = OrderedDict()
        self._without_snapshot: set[str] = set()
        self._sealed: OrderedDict[str, None] = OrderedDict()

    def clear(self) -> None:
        """Forget everything: the history that it was made of is not the journal's."""
        self._states = OrderedDict()
        self._without_snapshot = set()
        self._sealed = OrderedDict()

    def state(self, stream: str) -> Any | None:
        """The cached state of a stream, perhaps an old one; None if it is not cached."""
        cached = self._states.get(stream)
        return None if cached is None else cached.state

    def cached(self, kind: str, key: str | None = None) -> Any | None:
        """The cached state of one thing; the `StateHint` of read sets."""
        return self.state(stream_of(kind, key))

    def cached_version(self, stream: str) -> int:
        """The version after which a stream has to be read; NO_EVENTS to read it whole."""
        cached = self._states.get(stream)
        if (
            cached is None
            and kind_of(stream) in SNAPSHOTTED
            and stream not in self._without_snapshot
        ):
            # Asked once: a series of a hundred thousand numbers is not folded from its start.
            cached = self._restore(stream)
            if cached is None:
                self._without_snapshot.add(stream)
            else:
                self._put(stream, cached)
        return NO_EVENTS if cached is None else cached.state.version

    # --- what a command reads -------------------------------------------------------------------

    def fold(self, stream: str, view: BatchView) -> CachedState | None:
        """A stream in a command's read view; caches the committed part."""
        cached = self._states.get(stream)
        committed = _after(cached, view.committed(stream))
        if committed:
            cached = self._project(cached, committed)
            if cached is not None:
                self._put(stream, cached)
        # Newest first: an earlier command of the batch has usually folded the others.
        pending = _after(cached, view.pending(stream))
        for index in range(len(pending) - 1, -1, -1):
            memo: PendingEvent | None = pending[index].memo
            if memo is not None and memo.state_after is not None:
                return self._project(memo.state_after, pending[index + 1 :])
        return self._project(cached, pending)

    def sealed(self, stream: str, view: BatchView) -> Mapping[str, bytes]:
        """The sealed values of a stream in a command's read view; see CachedState."""
        cached = self.fold(stream, view)
        if cached is None:
            return NOTHING
        if cached.sealed is not None:
            return cached.sealed
        # Dropped: only the state is cached, and the memos of pending events may have no more.
        self._states.pop(stream, None)
        whole = view.committed(stream) + view.pending(stream)
        self.fold(stream, view)
        sealed = NOTHING
        for recorded in whole:
            sealed = _with_sealed(sealed, self._entry(recorded).fact, recorded.envelope) or NOTHING
        return sealed

    def apply_committed(self, events: Sequence[RecordedEvent]) -> None:
        """Apply the events of a committed batch to the cached states."""
        for recorded in events:
            cached = self._states.get(recorded.stream)
            if recorded.version == (1 if cached is None else cached.state.version + 1):
                self._put(recorded.stream, self._next(cached, recorded))

    def _project(
        self, cached: CachedState | None, events: Iterable[RecordedEvent]
    ) -> CachedState | None:
        for recorded in events:
            cached = self._next(cached, recorded)
        return cached

    def _next(self, cached: CachedState | None, recorded: RecordedEvent) -> CachedState:
        """The state after one more event."""
        memo: PendingEvent | None = recorded.memo
        if memo is not None and memo.state_after is not None:
            return memo.state_after
        entry = self._entry(recorded)
        sealed = NOTHING if cached is None else cached.sealed
        sealed = _with_sealed(sealed, entry.fact, recorded.envelope)
        following = CachedState(
            states.evolve(None if cached is None else cached.state, entry),
            recorded.occurred_at,
            sealed,
        )
        if memo is not None:
            memo.state_after = following
        return following

    def _entry(self, recorded: RecordedEvent) -> JournalEntry:
        """The entry of an event; sealed fields stay sealed: states hold no personal data."""
        memo: PendingEvent | None = recorded.memo
        return self._mapper.sealed_entry(recorded) if memo is None else memo.entry

    def _put(self, stream: str, cached: CachedState) -> None:
        states = self._states  # another thread may clear the cache meanwhile
        states[stream] = cached
        states.move_to_end(stream)
        while len(states) > self._states_max:
            states.popitem(last=False)
        if cached.sealed:
            with_sealed = self._sealed
            with_sealed[stream] = None
            with_sealed.move_to_end(stream)
            if len(with_sealed) > SEALED_MAX:
                self._drop_sealed(with_sealed.popitem(last=False)[0])

    def _drop_sealed(self, stream: str) -> None:
        cached = self._states.get(stream)
        if cached is not None:
            self._states[stream] = cached._replace(sealed=None)


def _with_sealed(
    sealed: Mapping[str, bytes] | None, fact: object, envelope: bytes
) -> Mapping[str, bytes] | None:
    """The sealed values of a stream after one more fact; None: the earlier ones were dropped."""
    if isinstance(fact, IDENTITY_FACTS):
        return {IDENTITY: envelope}
    if isinstance(fact, DocumentSubmitted) and sealed is not None:
        return {**sealed, fact.kind: envelope}
    return sealed


def _after(cached: CachedState | None, events: list[RecordedEvent]) -> list[RecordedEvent]:
    """The events that are not folded yet: pending ones may be committed by now."""
    if cached is None or not events or events[0].version > cached.state.version:
        return events
    return [event for event in events if event.version > cached.state.version]

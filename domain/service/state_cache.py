"""The folded states of one ledger that are held in memory.

A stream only grows, so a held state never becomes wrong, only old: under the head lock the entries
after it are read and folded on top. What is committed is carried on at once; what is still on its
way is folded beside it, because it may come to nothing.
Reading order: Held.fold, Held.carry_on, then what else is known of a stream.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from domain.decision import stream_of
from domain.events import PersonCorrected, PersonRegistered
from domain.service.snapshots import LONG, kind_of
from domain.states import folds as states
from domain.store.journal.records import NO_EVENTS, RecordedEvent
from domain.store.mapper import Entry, EntryMapper
from domain.store.writer.commands import BatchView

STATES_MAX = 20_000
"""How many folded states a ledger holds in memory, about 1 kB each."""

IDENTITIES_MAX = 1_000
"""How many persons' sealed identities beside their states, about 1 kB each."""


@dataclass(slots=True)
class PendingEvent:
    """What we know of an event of ours until it is committed, so that none of it is read back.

    entry: in clear. kept: its stream up to here, once somebody looked at it.
    """

    entry: Entry
    kept: CachedState | None = None


class CachedState(NamedTuple):
    """A stream as far as it is folded.

    occurred_at: of its last event. identity: of a person's, the envelope of the event that says
    who it is; there name and document stay sealed.
    """

    state: Any
    occurred_at: datetime
    identity: bytes | None = None


class StateCache:
    """States by stream, those used last. The writer thread changes them; anybody may look."""

    def __init__(
        self,
        mapper: EntryMapper,
        restore: Callable[[str], CachedState | None],
        states_max: int = STATES_MAX,
    ) -> None:
        """Hold nothing yet. restore: a long stream from its last snapshot."""
        self._mapper = mapper
        self._restore = restore
        self._states_max = states_max
        self._kept: OrderedDict[str, CachedState] = OrderedDict()
        self._unkept: set[str] = set()
        self._identities: deque[str] = deque()

    def state(self, stream: str) -> Any | None:
        """The state of a stream as it is held, perhaps an old one; None if it is not."""
        kept = self._kept.get(stream)
        return None if kept is None else kept.state

    def known(self, kind: str, key: str | None = None) -> Any | None:
        """The same for a thing; see `domain.service.read_sets.Known`."""
        return self.state(stream_of(kind, key))

    def known_version(self, stream: str) -> int:
        """Up to which version a stream need not be read; NO_EVENTS if it has to be."""
        kept = self._kept.get(stream)
        if kept is None and kind_of(stream) in LONG and stream not in self._unkept:
            # Asked once: a series of a hundred thousand numbers is not folded from its beginning.
            kept = self._restore(stream)
            if kept is None:
                self._unkept.add(stream)
            else:
                self._hold(stream, kept)
        return NO_EVENTS if kept is None else kept.state.version

    # --- what a job sees ------------------------------------------------------------------------

    def fold(self, stream: str, view: BatchView) -> CachedState | None:
        """A stream as a job sees it; the committed part is kept for the next one."""
        kept = self._kept.get(stream)
        committed = _after(kept, view.committed(stream))
        if committed:
            kept = self._project(kept, committed)
            self._hold(stream, kept)
        # The newest first: those before it were folded for a job before this one, mostly.
        pending = _after(kept, view.pending(stream))
        for index in range(len(pending) - 1, -1, -1):
            on_the_way: PendingEvent | None = pending[index].memo
            if on_the_way is not None and on_the_way.kept is not None:
                return self._project(on_the_way.kept, pending[index + 1 :])
        return self._project(kept, pending)

    def identity(self, stream: str, view: BatchView) -> bytes | None:
        """The sealed identity of a person as a job sees it; None if there is no such person."""
        kept = self.fold(stream, view)
        if kept is not None and kept.identity is None:
            # Only the state is held: the whole stream is read again.
            self._kept.pop(stream, None)
            kept = self.fold(stream, view)
        return None if kept is None else kept.identity

    def carry_on(self, events: Sequence[RecordedEvent]) -> None:
        """Carry held states on with what was just committed."""
        for recorded in events:
            kept = self._kept.get(recorded.stream)
            if recorded.version == (1 if kept is None else kept.state.version + 1):
                self._hold(recorded.stream, self._next(kept, recorded))

    def _project(self, kept: CachedState | None, events: Iterable[RecordedEvent]) -> Any:
        for recorded in events:
            kept = self._next(kept, recorded)
        return kept

    def _next(self, kept: CachedState | None, recorded: RecordedEvent) -> CachedState:
        """The stream after one more event."""
        on_the_way: PendingEvent | None = recorded.memo
        if on_the_way is not None:
            if on_the_way.kept is not None:
                return on_the_way.kept
            entry = on_the_way.entry
        else:
            # Sealed as it is: no state holds anything personal.
            entry = self._mapper.sealed_entry(recorded)
        identity = None if kept is None else kept.identity
        if isinstance(entry.fact, PersonRegistered | PersonCorrected):
            identity = recorded.envelope
        following = CachedState(
            states.evolve(None if kept is None else kept.state, entry),
            recorded.occurred_at,
            identity,
        )
        if on_the_way is not None:
            on_the_way.kept = following
        return following

    def _hold(self, stream: str, kept: CachedState) -> None:
        self._kept[stream] = kept
        self._kept.move_to_end(stream)
        while len(self._kept) > self._states_max:
            self._kept.popitem(last=False)
        if kept.identity is not None:
            self._identities.append(stream)
            if len(self._identities) > IDENTITIES_MAX:
                self._forget_identity(self._identities.popleft())

    def _forget_identity(self, stream: str) -> None:
        kept = self._kept.get(stream)
        if kept is not None:
            self._kept[stream] = kept._replace(identity=None)


def _after(kept: CachedState | None, events: list[RecordedEvent]) -> list[RecordedEvent]:
    """Those that are not folded yet: what was on its way may be committed by now."""
    if kept is None or not events or events[0].version > kept.state.version:
        return events
    return [event for event in events if event.version > kept.state.version]

"""Where snapshots of states are stored, and how `eventsourcing` makes and uses them.

Reading order: StateSnapshot.take (how one is made), project (how one is used), snapshot_store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from eventsourcing.persistence import AggregateRecorder, EventStore, Mapper, StoredEvent

from domain.service.snapshots import Snapshot, keep, restore, shape_of, stream_of_state
from domain.states import folds as states
from domain.store.journal.envelope import canonical_json
from domain.store.mapper import Entry, OrjsonTranscoder

TOPIC = "state_kept.v1"


class StateSnapshot:
    """How `eventsourcing` asks for a snapshot of a state."""

    @staticmethod
    def take(state: Any) -> Entry:
        """The state as an entry of the snapshots' own table."""
        stream = stream_of_state(state)
        return _entry(stream, state.version, keep(stream, state))


def project(state: Any, entries: Iterable[Entry]) -> Any:
    """Fold entries, the first of which may be a snapshot."""
    for entry in entries:
        if isinstance(entry.fact, Snapshot):
            state = restore(entry.fact)
        else:
            state = states.evolve(state, entry)
    return state


class _SnapshotMapper(Mapper[str]):
    """Snapshots as rows: plain JSON, no envelope, since they are no part of the log."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The row of a snapshot."""
        state = canonical_json(domain_event.fact.model_dump(mode="json"))
        stream, version = domain_event.originator_id, domain_event.originator_version
        return StoredEvent(stream, version, TOPIC, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The snapshot of a row."""
        kept = Snapshot.model_validate_json(stored_event.state)
        return _entry(str(stored_event.originator_id), stored_event.originator_version, kept)


class _SnapshotStore(EventStore[str]):
    """Gives only snapshots whose state's class still has the same shape."""

    def get(self, originator_id: str, **selection: Any) -> Iterator[Any]:
        """As `EventStore.get`."""
        for entry in super().get(originator_id, **selection):
            if entry.fact.shape == shape_of(entry.fact.kind):
                yield entry


def snapshot_store(recorder: AggregateRecorder) -> EventStore[str]:
    """A store of snapshots on a recorder."""
    return _SnapshotStore(_SnapshotMapper(OrjsonTranscoder()), recorder)


def _entry(stream: str, version: int, kept: Snapshot) -> Entry:
    nothing = uuid5(NAMESPACE_OID, "snapshot")
    return Entry(
        originator_id=stream,
        originator_version=version,
        event_id=nothing,
        occurred_at=datetime.fromtimestamp(0, UTC),
        recorded_at=None,
        actor={},
        command_id=nothing,
        correlation_id=nothing,
        causation_id=None,
        fact=kept,
    )

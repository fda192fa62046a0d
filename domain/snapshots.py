"""A state kept beside its stream, so that a long one need not be folded from its beginning.

A snapshot is a shortcut and never a source: dropping the table loses nothing. States hold nothing
personal (see `candidacy`), so neither do snapshots. Reading order: StateKept, StateSnapshot.take
(how one is made), project (how one is used), snapshot_store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from eventsourcing.persistence import AggregateRecorder, EventStore, Mapper, StoredEvent
from pydantic import BaseModel, ConfigDict, TypeAdapter

from domain import states
from domain.candidacy import Candidacy
from domain.decision import stream_of
from domain.store.envelope import canonical_json
from domain.store.mapper import Entry, OrjsonTranscoder

KEPT: dict[str, type[Any]] = {
    "application": Candidacy,
    "ledger": states.LedgerBook,
    "notice": states.Notice,
    "person": states.Person,
    "report": states.Report,
    "series": states.Series,
    "session": states.ExamSession,
}
"""The state that each kind of stream is folded into."""

LONG = frozenset({"series", "session"})
"""Kinds of streams that grow with the number of candidates."""

INTERVAL = 100
"""A snapshot is taken each time a stream has grown by so many entries."""

TOPIC = "state_kept.v1"


class StateKept(BaseModel):
    """A folded state in JSON. shape: digest of its class's fields, see `shape_of`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: str
    shape: str
    state: dict[str, Any]


def kind_of(stream: str) -> str:
    """The kind in a stream's name."""
    return stream.partition("-")[0]


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(KEPT[kind])


@cache
def shape_of(kind: str) -> str:
    """A digest of the state's JSON schema: a snapshot of another shape is not used."""
    schema = json.dumps(_adapter(kind).json_schema(mode="serialization"), sort_keys=True)
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


class StateSnapshot:
    """How `eventsourcing` asks for a snapshot of a state."""

    @staticmethod
    def take(state: Any) -> Entry:
        """The state as an entry of the snapshots' own table."""
        kind = next(kind for kind, cls in KEPT.items() if type(state) is cls)
        stream = stream_of(kind, None if kind == "ledger" else state.id)
        kept = StateKept(
            kind=kind,
            shape=shape_of(kind),
            state=_adapter(kind).dump_python(state, mode="json"),
        )
        return _entry(stream, state.version, kept)


def project(state: Any, entries: Iterable[Entry]) -> Any:
    """Fold entries, the first of which may be a snapshot."""
    for entry in entries:
        if isinstance(entry.fact, StateKept):
            state = _adapter(entry.fact.kind).validate_python(entry.fact.state)
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
        kept = StateKept.model_validate_json(stored_event.state)
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


def _entry(stream: str, version: int, kept: StateKept) -> Entry:
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

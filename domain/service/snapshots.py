"""Snapshots of states, so that a long stream need not be folded from its beginning.

A snapshot is a cache and never a source: dropping the table loses nothing. States hold no personal
data (see `domain.states.application`), so neither do snapshots.
Reading order: Snapshot, `take`, `restore`, then SnapshotStore.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from domain.states import folds as states
from domain.states.application import Candidacy
from domain.states.editions import Editions
from domain.store.journal.envelope import canonical_json
from domain.store.journal.journal import Journal
from domain.store.journal.snapshot_table import (
    StoredSnapshot,
    insert_snapshots,
    select_snapshots,
)

STATE_CLASSES: dict[str, type[Any]] = {
    "actor": states.NamedActor,
    "application": Candidacy,
    "edition": Editions,
    "ledger": states.LedgerState,
    "notice": states.Notice,
    "person": states.Person,
    "report": states.Report,
    "series": states.Series,
    "session": states.ExamSession,
}
"""The state that each kind of stream is folded into."""

SNAPSHOTTED = frozenset({"series", "session"})
"""Kinds of streams whose state is restored from a snapshot when it is not cached.

They grow with the number of candidates."""

INTERVAL = 100
"""Events of a stream from one snapshot to the next."""

TOPIC = "state_kept.v1"
"""The stored topic of every snapshot."""


class Snapshot(BaseModel):
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
    return TypeAdapter(STATE_CLASSES[kind])


@cache
def shape_of(kind: str) -> str:
    """A digest of the state's JSON schema: a snapshot of another shape is not used."""
    schema = json.dumps(_adapter(kind).json_schema(mode="serialization"), sort_keys=True)
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


def take(stream: str, state: Any) -> Snapshot:
    """The state of a stream as a snapshot."""
    kind = kind_of(stream)
    return Snapshot(
        kind=kind, shape=shape_of(kind), state=_adapter(kind).dump_python(state, mode="json")
    )


def restore(snapshot: Snapshot) -> Any | None:
    """The state of a snapshot; None if the fields of its class have changed since."""
    if snapshot.shape != shape_of(snapshot.kind):
        return None
    return _adapter(snapshot.kind).validate_python(snapshot.state)


class SnapshotStore:
    """The snapshots of one ledger. Thread-safe."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def put(self, stream: str, state: Any) -> None:
        """Store a snapshot of a state, as plain JSON.

        Raises: psycopg2.Error; a UniqueViolation if there is one of that version.
        """
        encoded = canonical_json(take(stream, state).model_dump(mode="json"))
        row = StoredSnapshot(stream, state.version, TOPIC, encoded)
        insert_snapshots(self._journal, (row,))

    def latest(self, stream: str, *, lte: int | None = None) -> Any | None:
        """The state of a stream's last snapshot, up to a version; None if there is none to use.

        Raises: Unavailable.
        """
        found = select_snapshots(self._journal, stream, lte=lte, desc=True, limit=1)
        return restore(Snapshot.model_validate_json(found[0].state)) if found else None

"""A state kept beside its stream, so that a long one need not be folded from its beginning.

A snapshot is a shortcut and never a source: dropping the table loses nothing. States hold nothing
personal (see `candidacy`), so neither do snapshots. `domain.service.snapshot_store` stores them.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from domain.decision import stream_of
from domain.states import folds as states
from domain.states.application import Candidacy

KEPT: dict[str, type[Any]] = {
    "application": Candidacy,
    "ledger": states.LedgerState,
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
    return TypeAdapter(KEPT[kind])


@cache
def shape_of(kind: str) -> str:
    """A digest of the state's JSON schema: a snapshot of another shape is not used."""
    schema = json.dumps(_adapter(kind).json_schema(mode="serialization"), sort_keys=True)
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


def keep(stream: str, state: Any) -> Snapshot:
    """The state of a stream as a snapshot."""
    kind = kind_of(stream)
    return Snapshot(
        kind=kind, shape=shape_of(kind), state=_adapter(kind).dump_python(state, mode="json")
    )


def restore(kept: Snapshot) -> Any:
    """The state again. Raises: ValueError if its class has another shape by now."""
    if kept.shape != shape_of(kept.kind):
        raise ValueError(f"a {kept.kind} had another shape when this snapshot was taken")
    return _adapter(kept.kind).validate_python(kept.state)


def stream_of_state(state: Any) -> str:
    """The stream that a state was folded from."""
    kind = next(kind for kind, cls in KEPT.items() if type(state) is cls)
    return stream_of(kind, None if kind == "ledger" else state.id)

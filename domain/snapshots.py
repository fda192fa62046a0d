"""A state kept beside its stream, so that a long one need not be folded from its beginning.

A snapshot is a shortcut and never a source: dropping the table loses nothing. States hold nothing
personal (see `candidacy`), so neither do snapshots.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, ClassVar

from pydantic import TypeAdapter

from domain import states
from domain.candidacy import Candidacy
from domain.events import Fact

KEPT: dict[str, type[Any]] = {
    "application": Candidacy,
    "session": states.ExamSession,
    "notice": states.Notice,
    "series": states.Series,
    "report": states.Report,
    "ledger": states.LedgerBook,
    "person": states.Person,
}
"""The state that each kind of stream is folded into."""

INTERVAL = 100
"""A snapshot is taken each time a stream has grown by so many entries."""


class StateKept(Fact):
    """A folded state in JSON. `shape` changes whenever the state's class does."""

    TOPIC: ClassVar[str] = "state_kept.v1"
    STREAM: ClassVar[str] = "snapshot"
    kind: str
    shape: str
    state: dict[str, Any]


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(KEPT[kind])


@cache
def shape_of(kind: str) -> str:
    """A digest of the state's fields: a snapshot of another shape is not used."""

    text = repr(sorted((k, str(v)) for k, v in KEPT[kind].__annotations__.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kind_of(stream: str) -> str:
    """The kind in a stream's name."""
    return stream.partition("-")[0]


def keep(stream: str, state: Any) -> StateKept:
    """The state of a stream as a snapshot fact."""
    kind = kind_of(stream)
    return StateKept(
        kind=kind, shape=shape_of(kind), state=_adapter(kind).dump_python(state, mode="json")
    )


def restore(kept: StateKept) -> Any | None:
    """The state again; None if its class has changed since, so that the stream is read whole."""
    if kept.shape != shape_of(kept.kind):
        return None
    return _adapter(kept.kind).validate_python(kept.state)

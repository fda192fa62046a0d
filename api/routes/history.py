"""The history of a stream: every fact in order, personal fields masked by the caller's role."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.http.dependencies import QueryContext
from api.routes.masking import sees_identity
from domain.actors import Actor, actor_of
from domain.events import Fact
from domain.states.folds import Person
from domain.values.person_names import mask_name
from domain.values.personal import personal_fields
from domain.values.primitives import format_instant


class EntryShown(BaseModel):
    """One fact."""

    version: int
    topic: str = Field(description="such as fee_paid.v1")
    occurred_at: str
    recorded_at: str | None
    actor: dict[str, Any] = Field(description="who did it, as stored, and their name")
    command_id: str
    data: dict[str, Any] = Field(description="the fact; personal fields masked or null")
    masked: list[str] = Field(description="personal fields that are masked for this caller")


class HistoryBody(BaseModel):
    """Every fact of one thing, in order."""

    data: list[EntryShown]


def show_history(read: QueryContext, stream: str, person_id: str) -> list[dict[str, Any]]:
    """Every fact of a stream, masked for the caller; blocking. Raises: NotFound."""
    person = read.ledger.state("person", person_id)
    full = sees_identity(read, person)
    return [_shown(entry, full, person) for entry in read.ledger.history(stream)]


def _name_of(actor: Actor, person: Person) -> str | None:
    """What to call an actor instead of their pseudonym: a candidate is the person of that id."""
    return person.id if actor.subject == person.subject else None


def _shown(entry: Any, full: bool, person: Person) -> dict[str, Any]:
    fact: Fact = entry.fact
    data = fact.model_dump(mode="json")
    masked = [] if full else [name for name in personal_fields(type(fact)) if data.get(name)]
    for name in masked:
        data[name] = mask_name(data[name]) if name == "name" else None
    actor = actor_of(entry)
    return {
        "version": entry.originator_version,
        "topic": fact.TOPIC,
        "occurred_at": format_instant(entry.occurred_at),
        "recorded_at": None if entry.recorded_at is None else format_instant(entry.recorded_at),
        "actor": actor.to_envelope() | {"name": _name_of(actor, person)},
        "command_id": str(entry.command_id),
        "data": data,
        "masked": masked,
    }

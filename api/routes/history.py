"""The history of a stream: every fact in order, personal fields masked by the caller's role."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.http.dependencies import QueryContext
from api.routes.masking import sees_identity
from domain.events import Fact
from domain.values.person_names import mask_name
from domain.values.personal import personal_fields
from domain.values.primitives import format_instant


class EntryShown(BaseModel):
    """One fact."""

    version: int
    topic: str = Field(description="such as fee_paid.v1")
    occurred_at: str
    recorded_at: str | None
    actor: dict[str, Any] = Field(description="subject, role, organisation, on_behalf_of")
    command_id: str
    data: dict[str, Any] = Field(description="the fact; personal fields masked or null")
    masked: list[str] = Field(description="personal fields that are masked for this caller")


class HistoryBody(BaseModel):
    """Every fact of one thing, in order."""

    data: list[EntryShown]


def show_history(read: QueryContext, stream: str, person_id: str) -> list[dict[str, Any]]:
    """Every fact of a stream, masked for the caller; blocking. Raises: NotFound."""
    full = sees_identity(read, read.ledger.state("person", person_id))
    return [_shown(entry, full) for entry in read.ledger.history(stream)]


def _shown(entry: Any, full: bool) -> dict[str, Any]:
    fact: Fact = entry.fact
    data = fact.model_dump(mode="json")
    masked = [] if full else [name for name in personal_fields(type(fact)) if data.get(name)]
    for name in masked:
        data[name] = mask_name(data[name]) if name == "name" else None
    actor = entry.actor if isinstance(entry.actor, dict) else entry.actor.model_dump(mode="json")
    return {
        "version": entry.originator_version,
        "topic": fact.TOPIC,
        "occurred_at": format_instant(entry.occurred_at),
        "recorded_at": None if entry.recorded_at is None else format_instant(entry.recorded_at),
        "actor": actor,
        "command_id": str(entry.command_id),
        "data": data,
        "masked": masked,
    }

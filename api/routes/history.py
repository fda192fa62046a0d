"""The history of a stream: every fact in order, personal fields masked by the caller's role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from api.auth.permissions import SEES_STAFF
from api.http.dependencies import QueryContext
from api.routes.masking import sees_identity
from domain.actors import Actor, actor_of, subject_of
from domain.editions.edition import EditionKind
from domain.eligibility.explanations import explain
from domain.eligibility.rule_sets import AnyPredicate
from domain.events import ApplicationOpened, EligibilityRefused, Fact
from domain.states.editions import rule_set_of
from domain.states.folds import Person
from domain.values.person_names import mask_name
from domain.values.primitives import format_instant
from domain.values.sealed_fields import DataClass, declared_values


class EntryShown(BaseModel):
    """One fact."""

    version: int
    topic: str = Field(description="such as fee_paid.v1")
    occurred_at: str
    recorded_at: str | None
    actor: dict[str, Any] = Field(
        description="who did it, as stored, and their name, if the caller may see it"
    )
    command_id: str
    data: dict[str, Any] = Field(description="the fact; null: masked, erased or never given")
    masked: list[str] = Field(description="fields that are masked for this caller")


class HistoryBody(BaseModel):
    """Every fact of one thing, in order."""

    data: list[EntryShown]


def show_history(read: QueryContext, stream: str, person_id: str) -> list[dict[str, Any]]:
    """Every fact of a stream, masked for the caller; blocking. Raises: NotFound."""
    person = read.ledger.state("person", person_id)
    full = sees_identity(read, person)
    entries = read.ledger.history(stream)
    names = staff_names(read, entries)
    shown = [_shown(entry, full, person, names) for entry in entries]
    opened: ApplicationOpened | None = None
    for entry, row in zip(entries, shown, strict=True):
        if isinstance(entry.fact, ApplicationOpened):
            opened = entry.fact
        elif isinstance(entry.fact, EligibilityRefused) and opened is not None:
            editions = read.ledger.editions(EditionKind.ELIGIBILITY)
            rules = rule_set_of(editions, entry.fact.rule_set_sha256)
            if rules is not None:
                predicates = rules.predicates(opened.level, entry.fact.nearest)
                _explain(row["data"], entry.fact, predicates)
    return shown


def _explain(
    data: dict[str, Any], fact: EligibilityRefused, predicates: Sequence[AnyPredicate]
) -> None:
    """Word the unmet conditions whose figures are shown, by the rules that were applied."""
    for unmet, stored in zip(data["missing"], fact.missing, strict=True):
        if unmet["figures"] is not None and stored.figures is not None:
            words = explain(predicates[stored.rule], stored.figures)
            unmet |= {"text": words.text.zh, "text_en": words.text.en}


_TO_ALL = (None, DataClass.REMARKS)
"""Classes of what every reader of a history is shown: the reasons that its readers work with."""


def _masked(fact: Fact, data: dict[str, Any]) -> Iterator[str]:
    """Mask the personal fields of a fact. Yields: their paths, such as `name`."""
    for path, mark, holder, name in declared_values(type(fact), data):
        if mark.data_class not in _TO_ALL:
            holder[name] = mask_name(holder[name]) if name == "name" else None
            yield path.removeprefix("/")


def staff_names(read: QueryContext, entries: Sequence[Any]) -> Mapping[str, str | None]:
    """What to call the staff of a history, by pseudonym; nothing if the caller may not see it."""
    if read.principal is None or read.principal.role not in SEES_STAFF:
        return {}
    members = read.ledger.actors.members(map(subject_of, entries))
    return {subject: member.shown for subject, member in members.items()}


def name_of_actor(actor: Actor, person: Person, names: Mapping[str, str | None]) -> str | None:
    """What to call an actor instead of their pseudonym: a candidate is the person of that id."""
    return person.id if actor.subject == person.subject else names.get(actor.subject)


def _shown(
    entry: Any, full: bool, person: Person, names: Mapping[str, str | None]
) -> dict[str, Any]:
    fact: Fact = entry.fact
    data = fact.model_dump(mode="json")
    masked = [] if full else list(_masked(fact, data))
    actor = actor_of(entry)
    return {
        "version": entry.originator_version,
        "topic": fact.TOPIC,
        "occurred_at": format_instant(entry.occurred_at),
        "recorded_at": None if entry.recorded_at is None else format_instant(entry.recorded_at),
        "actor": actor.to_envelope() | {"name": name_of_actor(actor, person, names)},
        "command_id": str(entry.command_id),
        "data": data,
        "masked": masked,
    }

"""Histories as the judge of lawfulness reads them: parsed envelopes, command by command.

`RecordingWorld` is a world that also keeps what each command recorded. Personal fields are sealed
under a key of the tests that only marks the text; `Keys` opens it until the person is erased.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain.actors import Actor, is_named
from domain.commands import SPECS
from domain.decision import Command, Context, Decision, Naming
from domain.lawfulness.judge import Judge
from domain.states.folds import NamedActor
from domain.store.journal.journal import Journal
from domain.store.keys.key_signatures import is_signature
from domain.store.privacy.field_encryption import Vault
from domain.values.primitives import format_instant
from domain.values.sealed_fields import (
    KeyName,
    declared_values,
    matter_owner,
    person_owner,
)
from tests.support import actors, world
from tests.support.actors import OPERATOR
from tests.support.world import Entry, World

Envelope = dict[str, Any]

ROLES = {spec.command: spec.roles for spec in SPECS}
STAFF = [value for value in vars(actors).values() if isinstance(value, Actor)]


SECOND = timedelta(seconds=1)
"""From an event to its record: its time was given by who sent the command."""


def envelope_of(entry: Entry, command: int) -> Envelope:
    """The parsed envelope of an entry. command: its number in the history."""
    fact = entry.fact
    data = fact.model_dump(mode="json")
    for _, mark, holder, name in declared_values(type(fact), data):
        key = KeyName(matter_owner(entry.originator_id), "", 1)
        if mark.data_class is not None:
            key = KeyName(person_owner(data[mark.of]), mark.data_class.value, 1)
        holder[name] = {"key": str(key), "sealed": f"test:{json.dumps(holder[name])}"}
    return {
        "actor": entry.actor,
        "command_id": str(UUID(int=command)),
        "data": data,
        "ledger": "omc",
        "occurred_at": format_instant(entry.occurred_at),
        "recorded_at": format_instant(entry.occurred_at + SECOND),
        "stream": entry.originator_id,
        "topic": fact.TOPIC,
        "version": entry.originator_version,
    }


@dataclass
class RecordingWorld(World):
    """A world that keeps what each command recorded.

    commands: the envelopes of each command. names_staff: False if all staff were named before it,
    which keeps a history short. Where a history leaves the actor to the default, one
    who may send the command is the actor.
    """

    commands: list[list[Envelope]] = field(default_factory=list)
    names_staff: bool = False

    def context(self, actor: Actor, now: datetime) -> Context:
        """As in every world; who acts as staff for the first time is named."""
        found = super().context(actor, now)
        known = f"actor-{actor.subject}" in self.states
        if known or not (self.names_staff and is_named(actor.subject, actor.role)):
            return found
        return found._replace(naming=Naming(actor.subject, "张三"))

    def do(self, command: Command, by: Actor = OPERATOR, at: datetime | None = None) -> Decision:
        """As in every world, by somebody whose role may."""
        roles = ROLES[type(command)]
        if by is OPERATOR and by.role not in roles:
            by = next(actor for actor in STAFF if actor.role in roles)
        return super().do(command, by, at)

    def record(self, decision: Decision, actor: Actor, now: datetime) -> None:
        """Append a decision, and keep its envelopes."""
        before = len(self.entries)
        super().record(decision, actor, now)
        number = len(self.commands) + 1
        self.commands.append([envelope_of(entry, number) for entry in self.entries[before:]])

    def copy(self) -> RecordingWorld:
        """An independent copy."""
        twin = super().copy()
        assert isinstance(twin, RecordingWorld)
        twin.commands = list(self.commands)
        return twin


@dataclass
class Keys:
    """Opens what is sealed in these histories. gone: persons whose keys were destroyed."""

    gone: set[str] = field(default_factory=set)

    def open(self, stream: str, version: int, path: str, sealed: Mapping[str, str]) -> Any:
        """The sealed value; None for a person without a key."""
        if any(sealed["key"].startswith(person_owner(person) + "/") for person in self.gone):
            return None
        return json.loads(sealed["sealed"].removeprefix("test:"))


def blind_index(kind: str, text: str) -> str:
    """As the worlds compute it."""
    return world.blind_index(kind, text)


def judged(
    commands: Iterable[Iterable[Envelope]],
    keys: Keys | None = None,
    share: tuple[int, int] = (0, 1),
    *,
    names_staff: bool = False,
) -> Judge:
    """A judge that has seen a whole history, whose positions count up.

    names_staff: False if its staff were named before it.
    """
    judge = Judge("omc", (keys or Keys()).open, blind_index, is_signature, share=share)
    events = [envelope for command in commands for envelope in command]
    if not names_staff:
        name_staff(judge, events)
    for position, envelope in enumerate(events, 1):
        judge.next(position, envelope)
    judge.close()
    return judge


def name_staff(judge: Judge, events: Iterable[Envelope]) -> None:
    """Everybody who acts in these events was named before them."""
    for event in events:
        actor = event["actor"]
        if isinstance(actor, dict) and isinstance(subject := actor.get("subject"), str):
            judge.history.states.setdefault(f"actor-{subject}", NamedActor(subject, 1))


def judged_journal(journal: Journal, vault: Vault) -> Judge:
    """A judge that has seen every event of a journal."""
    judge = Judge(journal.ledger, vault.open, vault.blind_index, is_signature)
    for recorded in journal.events():
        judge.next(recorded.position, recorded.parsed)
    judge.close()
    return judge

"""Lawful histories and what somebody with the whole database could make of them.

A `Step` is one command of a history in the vocabulary of the model, with the events it recorded.
A forgery changes both alike: the command and its events are taken out, put in where they were not,
moved or altered, with times that fit, so that model and judge of lawfulness see the same history.
Reading order: Step, lawful_history, forged, then one function a kind of forgery.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from domain.actors import Actor, Role
from domain.errors import LedgerError
from tests.support.command_generator import (
    APPS,
    PEOPLE,
    GeneratedCommand,
    arbitrary_command,
    plausible_commands,
)
from tests.support.commands import set_up
from tests.support.model import day_of
from tests.support.model_adapter import START, to_command
from tests.support.model_facts import ModelWithFacts, instant
from tests.support.recorded_histories import SECOND, Envelope, RecordingWorld

MINUTE = timedelta(minutes=1)
STEPS_MAX = 150
OPENING = 3
"""Commands that open the ledger; they are no part of what the model knows."""

DAYS = ("as_of", "taken_on", "published_on", "issued_on", "reissued_on", "seen_on")
"""Fields of facts that hold the day of the command."""


@dataclass(frozen=True)
class Step:
    """One command with its events. broken: it lost or gained an event."""

    kind: str
    actor: Actor
    fields: dict[str, Any]
    now: datetime
    events: list[Envelope]
    broken: bool = False


@dataclass(frozen=True)
class History:
    """The events that open the ledger, and the commands after them."""

    opening: list[list[Envelope]]
    steps: list[Step]


def by(actor: Actor) -> tuple[str, str, str]:
    """An actor as the model knows it."""
    return actor.subject, actor.role.value, actor.organisation


def lawful_history(seed: int) -> History:
    """Commands that were accepted, one in five of them arbitrary."""
    draw = random.Random(f"history {seed}").choice
    world, model, now = RecordingWorld(), ModelWithFacts(), START
    for command, actor in set_up():
        world.do(command, by=actor, at=START)
    opening = list(world.commands)
    steps: list[Step] = []
    refused = 0
    app = draw(APPS)
    while len(steps) < STEPS_MAX and refused < 60:
        generated = _next_command(model, draw, app, now)
        now += timedelta(days=generated[2].get("days", 0)) + MINUTE
        step = _carried_out(world, model, generated, now)
        if step is not None:
            steps.append(step)
        refused = refused + 1 if step is None else 0
        if step is None or draw(range(8)) == 0:
            app = draw(APPS)
    return History(opening, steps)


def _next_command(
    model: ModelWithFacts, draw: Callable[[Any], Any], app: str, now: datetime
) -> GeneratedCommand:
    plausible = [] if draw(range(5)) == 0 else plausible_commands(model, app, now)
    if not plausible:
        return arbitrary_command(model, draw, now)
    return plausible[0] if draw(range(3)) else draw(plausible)


def _carried_out(
    world: RecordingWorld, model: ModelWithFacts, generated: GeneratedCommand, now: datetime
) -> Step | None:
    """The step of a command that both accept. Fails the test if only one of them does."""
    kind, login, fields = generated
    if kind == "wait":
        return None
    actor = PEOPLE[login]
    if not model.is_admitted(kind, actor.role.value):
        return None
    command = to_command(model, now, kind, fields)
    expected = model.ask(kind, by(actor), now, **fields)
    try:
        world.do(command, by=actor, at=now)
        answer = None
    except LedgerError as error:
        answer = error.code
    assert answer == expected, f"{generated}: decided {answer}, model {expected}"
    if answer is not None:
        return None
    events = world.commands[-1]
    if kind == "seat":
        fields = {**fields, "ticket": events[0]["data"]["ticket_number"]}
    return Step(kind, actor, fields, now, events)


# --- forgeries ------------------------------------------------------------------------------------


def forged(history: History, donor: History, seed: int) -> tuple[str, list[Step]]:
    """What was done, and the steps of the history with one of them forged.

    donor: another lawful history, whose commands may be put into this one.
    """
    choice = random.Random(f"forgery {seed}")
    name = choice.choice(sorted(FORGERIES))
    steps = FORGERIES[name](list(history.steps), donor.steps, choice)
    return name, steps


def _place(steps: list[Step], choice: random.Random) -> int:
    """A place in the history, half the time near its end: less rests on what is there."""
    first = max(0, len(steps) - 6) if choice.random() < 0.5 else 0
    return choice.randrange(first, len(steps))


def _delete(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    del steps[_place(steps, choice)]
    return steps


def _delete_event(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """One event of a command with several; the whole command if there is no such command."""
    places = [n for n, step in enumerate(steps) if len(step.events) > 1]
    if not places:
        return _delete(steps, donor, choice)
    place = choice.choice(places)
    events = list(steps[place].events)
    del events[choice.randrange(len(events))]
    steps[place] = replace(steps[place], events=events, broken=True)
    return steps


def _insert(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """A command of this or the other history once more, at the time of its new place."""
    source = steps if choice.random() < 0.5 else donor
    place = choice.choice([choice.randrange(1, len(steps) + 1), len(steps)])
    steps.insert(place, retimed(choice.choice(source), steps[place - 1].now))
    return steps


def _insert_event(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """An event of another command, in the middle of a command or at its end."""
    place = choice.randrange(len(steps))
    step = steps[place]
    extra = choice.choice(choice.choice(steps).events)
    events = list(step.events)
    events.insert(choice.randrange(1, len(events) + 1), retimed_event(extra, step.now))
    steps[place] = replace(step, events=events, broken=True)
    return steps


def _move(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """A command to another place, often a near one, at the time of that place."""
    start = _place(steps, choice)
    step = steps.pop(start)
    place = choice.randrange(1, len(steps) + 1)
    if choice.random() < 0.5:
        place = max(1, min(len(steps), start + choice.randrange(-2, 3)))
    steps.insert(place, retimed(step, steps[place - 1].now))
    return steps


def _move_with_its_time(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """A command to a place nearby, at its own time."""
    start = _place(steps, choice)
    step = steps.pop(start)
    steps.insert(max(0, min(len(steps), start + choice.randrange(-4, 5))), step)
    return steps


def _data_by(actor: Actor, data: dict[str, Any]) -> dict[str, Any]:
    """The data with the enrolment agency that this actor records."""
    if "agency" not in data:
        return data
    return {**data, "agency": actor.organisation if actor.role is Role.AGENCY else None}


def _alter_actor(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """Somebody else did it."""
    place = _place(steps, choice)
    actor = PEOPLE[choice.choice(sorted(PEOPLE))]
    events = [
        {**event, "actor": actor.model_dump(mode="json"), "data": _data_by(actor, event["data"])}
        for event in steps[place].events
    ]
    steps[place] = replace(steps[place], actor=actor, events=events)
    return steps


NAMES = (("A1", "A2", "A3", "A4"), ("P1", "P2", "P3"), ("S1", "S2"), ("N1", "N2", "N3"),
         ("PAY1", "PAY2", "PAY3"), ("R1", "R2"))  # fmt: skip


def _alter_name(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """It was done to another thing: an id is another one in all events of the command."""
    place = choice.randrange(len(steps))
    step = steps[place]
    present = [(pool, name) for pool in NAMES for name in pool if name in _values(step.fields)]
    if not present:
        return _alter_actor(steps, donor, choice)
    pool, name = choice.choice(present)
    other = choice.choice([each for each in pool if each != name])
    events = [
        {
            **event,
            "data": _renamed(event["data"], name, other),
            "stream": "-".join(
                other if part == name else part for part in event["stream"].split("-")
            ),
        }
        for event in step.events
    ]
    steps[place] = replace(step, fields=_renamed(step.fields, name, other), events=events)
    return steps


VALUES: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "score": ("marks", "marks", (None, "0", "59.5", "60", "72", "100")),
    "verify": ("theory", "theory", ("59.5", "60", "72")),
    "correct": ("marks", "marks", ("59.5", "60", "72", "100")),
    "review": ("round", "round", (1, 2, 3)),
    "use": ("item", "item", ("handbook", "mock_exam", "theory_exam")),
    "change": ("kind", "kind", ("national", "omc")),
    "order_refund": ("component", "component", ("certification_fee", "study_material")),
    "see": ("scope", "scope", ("province", "nation")),
}
"""Command -> a field of the model's, the same in its facts, and what it may be altered to."""


def _alter_value(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """A value that the command names is another one in its first fact."""
    places = [n for n, step in enumerate(steps) if step.kind in VALUES]
    if not places:
        return _alter_name(steps, donor, choice)
    place = choice.choice(places)
    step = steps[place]
    field, stored, values = VALUES[step.kind]
    value = choice.choice([each for each in values if each != step.fields[field]])
    events = copy.deepcopy(step.events)
    events[0]["data"][stored] = value
    steps[place] = replace(step, fields={**step.fields, field: value}, events=events)
    return steps


CHANGED = {"corrected": "correct", "reissued": "reissue", "suspended": "suspend",
           "reinstated": "reinstate"}  # fmt: skip


def _alter_topic(steps: list[Step], donor: list[Step], choice: random.Random) -> list[Step]:
    """Another review was given, or another thing done to a certificate."""
    places = [n for n, step in enumerate(steps) if _other_topics(step)]
    if not places:
        return _alter_actor(steps, donor, choice)
    place = choice.choice(places)
    step = steps[place]
    topic, fields = choice.choice(_other_topics(step))
    events = copy.deepcopy(step.events)
    events[0]["topic"] = topic
    steps[place] = replace(step, fields={**step.fields, **fields}, events=events)
    return steps


def _other_topics(step: Step) -> list[tuple[str, dict[str, Any]]]:
    topic = step.events[0]["topic"]
    if step.kind == "review":
        stage = step.fields["stage"]
        return [
            (topic.replace(stage, other, 1), {"stage": other})
            for other in ("initial", "second", "final")
            if other != stage
        ]
    if step.kind == "change" and step.fields["what"] in ("suspend", "reinstate"):
        other = {"suspend": "reinstated", "reinstate": "suspended"}[step.fields["what"]]
        return [(f"certificate_{other}.v1", {"what": CHANGED[other]})]
    return []


FORGERIES: dict[str, Callable[[list[Step], list[Step], random.Random], list[Step]]] = {
    "delete": _delete,
    "delete an event": _delete_event,
    "insert": _insert,
    "insert an event": _insert_event,
    "move": _move,
    "move with its time": _move_with_its_time,
    "alter the actor": _alter_actor,
    "alter a name": _alter_name,
    "alter a value": _alter_value,
    "alter the topic": _alter_topic,
}


# --- parts ----------------------------------------------------------------------------------------


def retimed(step: Step, now: datetime) -> Step:
    """The step at another time; what its facts say of that time with it."""
    events = [retimed_event(event, now, step.now) for event in step.events]
    return replace(step, now=now, events=events)


def retimed_event(event: Envelope, now: datetime, before: datetime | None = None) -> Envelope:
    """An event at another time. before: its own time, which its data may name."""
    data = dict(event["data"])
    if before is not None:
        old, old_day = instant(before), str(day_of(before))
        for name, value in data.items():
            if value == old:
                data[name] = instant(now)
            elif name in DAYS and value == old_day:
                data[name] = str(day_of(now))
    times = {"occurred_at": instant(now), "recorded_at": instant(now + SECOND)}
    return {**event, "data": data, **times}


def _values(fields: dict[str, Any]) -> set[Any]:
    return {value for value in fields.values() if isinstance(value, str)}


def _renamed(value: Any, name: str, other: str) -> Any:
    """A JSON value in which one text is another one."""
    if isinstance(value, dict):
        return {key: _renamed(each, name, other) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, name, other) for each in value]
    return other if value == name else value

"""The judge of lawfulness and the independent model give the same verdict on forged histories.

Each history is lawful and then forged in one place: a command or an event is deleted, inserted,
moved or altered. Command by command the two verdicts are compared, each on the history without what
was refused before: what the model refuses, or would record otherwise, is named; nothing else is.
Covers: domain/lawfulness/judge.py, domain/lawfulness/verdict.py
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from datetime import datetime
from functools import cache
from uuid import UUID

import pytest

from domain.lawfulness.judge import Judge
from domain.store.keys.key_signatures import is_signature
from tests.support.forged_histories import (
    FORGERIES,
    History,
    Step,
    by,
    forged,
    lawful_history,
)
from tests.support.model_facts import Expected, ModelWithFacts
from tests.support.recorded_histories import Envelope, Keys, blind_index, judged, name_staff

FEW, MANY = 40, 300

history_of = cache(lawful_history)


@pytest.mark.parametrize("seed", range(0, FEW, 8))
def test_the_histories_are_lawful_before_they_are_forged(seed: int) -> None:
    history = history_of(seed)
    judge = judged([*history.opening, *(step.events for step in history.steps)])
    assert (judge.unlawful, judge.not_judged) == ([], 0)
    assert judge.judged == sum(len(c) for c in history.opening) + sum(
        len(step.events) for step in history.steps
    )
    assert verdicts_agree(history, history.steps) == []


def test_what_the_model_refuses_is_named_and_nothing_else() -> None:
    assert_verdicts_agree(range(FEW))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_the_model_refuses_is_named_in_three_hundred_histories() -> None:
    assert_verdicts_agree(range(FEW, MANY))


def assert_verdicts_agree(seeds: range) -> None:
    named: Counter[str] = Counter()
    without: Counter[str] = Counter()
    for seed in seeds:
        history = history_of(seed)
        what, steps = forged(history, history_of(seed // 2), seed)
        refused = verdicts_agree(history, steps)
        (named if refused else without)[what] += 1
    assert {*named, *without} == {*FORGERIES}
    # Many forgeries are unlawful, and some are another lawful history.
    assert sum(named.values()) > len(seeds) / 2
    assert sum(without.values()) >= len(seeds) / 40


class SideBySide:
    """The judge and the model after the same commands."""

    def __init__(self, opening: list[list[Envelope]]) -> None:
        self.model = ModelWithFacts()
        self.judge = Judge("omc", Keys().open, blind_index, is_signature)
        self.last: dict[str, datetime] = {}
        self.count = 0
        for events in opening:
            assert self.is_named(events) is False

    def is_named(self, events: list[Envelope]) -> bool:
        """Whether the judge names one of these events; then its history goes back."""
        name_staff(self.judge, events)
        history = self.judge.history
        before = history.copy()
        found = self.judge.unlawful_count
        versions: dict[str, int] = {}
        self.count += 1
        for event in events:
            stream = event["stream"]
            versions[stream] = versions.get(stream, history.version(stream)) + 1
            placed = {"version": versions[stream], "command_id": str(UUID(int=self.count))}
            self.judge.next(self.count, {**event, **placed})
        self.judge.close()
        named = self.judge.unlawful_count > found
        if named:
            self.judge.history = before
        return named

    def is_refused(self, step: Step) -> bool:
        """Whether the model refuses this command, or would record something else."""
        kept = self.model.keep()
        is_late = any(
            event["stream"] in self.last and self.last[event["stream"]] > step.now
            for event in step.events
        )
        refused = (
            step.broken
            or is_late
            or not self.model.is_admitted(step.kind, step.actor.role.value)
            or self.model.ask(step.kind, by(step.actor), step.now, **step.fields) is not None
            or not is_recorded(self.model.facts_of(step.kind, step.fields), step.events)
        )
        if refused:
            self.model.go_back(kept)
        else:
            self.last |= {event["stream"]: step.now for event in step.events}
        return refused


def is_recorded(expected: list[Expected], events: list[Envelope]) -> bool:
    """Whether these events say what the model expects."""
    return len(expected) == len(events) and all(
        event["topic"] == f"{topic}.v1"
        and event["stream"] == stream
        and all(_alike(event["data"].get(name), value) for name, value in fields.items())
        for (topic, stream, fields), event in zip(expected, events, strict=True)
    )


def _alike(stored: object, expected: object) -> bool:
    if isinstance(stored, str) and stored.startswith("OMC-"):
        return stored[:-2] == expected  # the model computes no check character
    return stored == expected


def verdicts_agree(history: History, steps: list[Step]) -> list[Step]:
    """Compare the verdicts on every step. Returns: what both refuse."""
    both = SideBySide(copy(history.opening))
    refused = []
    for number, step in enumerate(steps):
        is_refused = both.is_refused(step)
        is_named = both.is_named(step.events)
        reason = both.judge.unlawful[-1] if is_named else "nothing"
        assert is_named is is_refused, (
            f"step {number}, {step.kind} {step.fields} by {step.actor.subject} at {step.now}: "
            f"model refuses: {is_refused}; judge finds {reason}"
        )
        if is_refused:
            refused.append(step)
    return refused

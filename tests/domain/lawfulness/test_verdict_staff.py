"""Staff are named by the last fact of their first command, and by no other.

Covers: domain/lawfulness/verdict.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.actors import ASSISTANT, candidate
from tests.support.commands import open_ledger, register
from tests.support.recorded_histories import Envelope, RecordingWorld, judged

Commands = list[list[Envelope]]


def named_staff() -> Commands:
    """A history from its beginning, in which each member of staff is named once."""
    world = RecordingWorld(names_staff=True)
    world.do(open_ledger())
    world.do(register(1), by=ASSISTANT)
    world.do(register(2), by=ASSISTANT)
    return copy.deepcopy(world.commands)


def test_staff_are_named_with_their_first_command_and_candidates_never() -> None:
    world = RecordingWorld(names_staff=True)
    world.do(open_ledger())
    world.do(register(1), by=candidate(1))
    assert [len(command) for command in named_staff()] == [2, 2, 1]
    assert len(world.commands[-1]) == 1
    assert judged(named_staff(), names_staff=True).unlawful == []
    assert judged(world.commands, names_staff=True).unlawful == []


def test_a_first_command_of_staff_who_are_not_named_is_named() -> None:
    commands = named_staff()
    commands[1] = commands[1][:1]
    found = judged(commands, names_staff=True).unlawful[0]
    assert (found.position, found.reason) == (3, "actor_named.v1 is missing after it")


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda event: event["data"].update(subject="mallory"), "subject was decided otherwise"),
        (
            lambda event: event.update(stream="actor-mallory"),
            "/name is sealed under a key of another owner",
        ),
        (lambda event: event["data"].update(login="in clear"), "/login is not sealed"),
    ],
)
def test_a_name_of_another_actor_is_named(alter: Callable[[Envelope], Any], reason: str) -> None:
    commands = named_staff()
    alter(commands[1][1])
    found = judged(commands, names_staff=True).unlawful[0]
    assert (found.topic, found.reason) == ("actor_named.v1", reason)


def test_a_second_name_of_the_same_actor_is_named() -> None:
    commands = named_staff()
    again = commands[1][1] | {"version": 2, "command_id": commands[2][0]["command_id"]}
    times = {name: commands[2][0][name] for name in ("occurred_at", "recorded_at")}
    commands[2].append(again | times)
    [found] = judged(commands, names_staff=True).unlawful
    assert found.reason == "its command records 1 facts, not 2"

"""The judge finds nothing in lawful histories, shares its work, and says what it does not judge.

Covers: domain/lawfulness/judge.py, domain/lawfulness/__init__.py
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from domain.lawfulness import judge as module
from domain.lawfulness.judge import FOREIGN, KEY_GONE, UNLAWFUL_MAX, Judge
from domain.store.errors import WrongKey
from domain.store.keys.key_signatures import is_signature
from tests.domain.test_command_spec import HistoryRun, run_every_command
from tests.support import journeys
from tests.support.actors import ASSISTANT
from tests.support.commands import PASSED, erase, register
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database
from tests.support.recorded_histories import (
    Keys,
    RecordingWorld,
    blind_index,
    judged,
    judged_journal,
    name_staff,
)
from tests.support.world import World

JOURNEYS: dict[str, Callable[..., World]] = {
    name: built
    for name, built in vars(journeys).items()
    if inspect.isfunction(built) and built.__module__ == journeys.__name__
}
PAIRS = {"recorded_scores", "verified_scores"}
"""Journeys whose candidates are given by their marks."""


def every_command() -> RecordingWorld:
    world = RecordingWorld()
    run_every_command(HistoryRun(world))
    return world


@pytest.mark.parametrize("name", JOURNEYS)
def test_every_journey_of_the_tests_is_lawful(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journeys, "World", RecordingWorld)
    world = JOURNEYS[name](*([PASSED, ("59.5", None)] if name in PAIRS else []))
    assert isinstance(world, RecordingWorld)
    judge = judged(world.commands)
    assert (judge.unlawful, judge.not_judged) == ([], 0)
    assert judge.judged == len(world.entries)
    assert judge.history.claims == {*world.claims}


def test_a_history_of_all_commands_is_lawful_while_every_key_is_there() -> None:
    world = every_command()
    judge = judged(world.commands)
    assert (judge.unlawful, judge.not_judged) == ([], 0)
    assert judge.judged == len(world.entries)


def test_what_rests_on_erased_text_is_not_judged() -> None:
    world = every_command()
    judge = judged(world.commands, Keys(gone={"P3"}))
    assert judge.unlawful == []
    # Registration, correction, the application with its assessment, its withdrawal with what is
    # owed for it, and a refund that was declined.
    assert judge.reasons == Counter({KEY_GONE: 7})
    assert judge.judged + judge.not_judged == len(world.entries)


@pytest.mark.parametrize("of", [2, 3])
def test_the_shares_together_judge_every_command_once(of: int) -> None:
    world = every_command()
    [forged] = world.commands[-1]
    forged["data"]["number"] = "S000033000123264999999"
    whole = judged(world.commands)
    shares = [judged(world.commands, share=(index, of)) for index in range(of)]
    assert sum(judge.judged for judge in shares) == whole.judged == len(world.entries)
    assert all(0 < judge.judged < whole.judged for judge in shares)
    found = [unlawful for judge in shares for unlawful in judge.unlawful]
    assert found == whole.unlawful
    assert len(found) == 1
    assert all(judge.history == whole.history for judge in shares)


def test_a_real_ledger_of_all_commands_is_lawful(database: Database) -> None:
    with a_real_ledger(database) as world:
        run_every_command(HistoryRun(world))
        world.do(register(9), by=ASSISTANT)
        erase(world, 9)
        ledger = world.ledger
        judge = judged_journal(ledger.journal, ledger.vault)
        assert judge.unlawful == []
        assert judge.reasons == Counter({KEY_GONE: 1})
        assert judge.judged + judge.not_judged == ledger.journal.head().position


# --- what can be stored and is no fact ------------------------------------------------------------


def forged(change: Callable[[dict[str, Any]], None], place: int = -1) -> Judge:
    """A lawful history whose last command was altered."""
    commands = copy.deepcopy(every_command().commands)
    change(commands[place][0])
    return judged(commands)


def test_events_of_another_application_are_not_judged() -> None:
    world = every_command()
    event = {**world.commands[0][0], "topic": "counters.Counter.Counted", "stream": "c0ffee"}
    event |= {"command_id": "another", "data": {"n": 1}}
    judge = judged([*world.commands, [event]])
    assert judge.unlawful == []
    assert judge.reasons == Counter({FOREIGN: 1})


def test_an_unknown_topic_in_a_stream_of_ours_is_named() -> None:
    judge = forged(lambda event: event.update(topic="certificate_blessed.v1"))
    assert [each.reason for each in judge.unlawful] == ["no fact has this topic"]


def test_a_value_that_no_fact_has_is_named_without_the_value() -> None:
    judge = forged(lambda event: event["data"].update(kind="赵一"))
    [found] = judge.unlawful
    assert found.topic == "certificate_revoked.v1"
    assert found.reason.startswith("kind: ")
    assert "赵一" not in str(found)


@pytest.mark.parametrize("data", [None, [], {}, "text", {"application_id": {}}])
def test_data_of_any_other_shape_is_named(data: Any) -> None:
    judge = forged(lambda event: event.update(data=data))
    assert [each.clause for each in judge.unlawful] == ["3.2(3)"]


def test_an_actor_of_any_other_shape_is_named() -> None:
    for actor in (None, {}, {"subject": {}, "role": "registrar"}):
        judge = forged(lambda event, actor=actor: event.update(actor=actor))
        assert len(judge.unlawful) == 1


def test_a_personal_field_that_is_not_sealed_is_named() -> None:
    world = RecordingWorld()
    run_every_command(HistoryRun(world))
    commands = copy.deepcopy(world.commands)
    [registration] = next(c for c in commands if c[0]["topic"] == "person_registered.v1")
    registration["data"]["name"] = "赵零"
    [found, *_] = judged(commands).unlawful
    assert (found.topic, found.reason) == ("person_registered.v1", "/name is not sealed")


def test_a_value_that_does_not_open_is_named() -> None:
    world = every_command()

    def refuse(*_: object) -> str:
        raise WrongKey(reason="it was moved")

    judge = Judge("omc", refuse, blind_index, is_signature)
    name_staff(judge, (x for c in world.commands for x in c))
    for position, envelope in enumerate((x for c in world.commands for x in c), 1):
        judge.next(position, envelope)
    judge.close()
    assert {each.topic for each in judge.unlawful} >= {"person_registered.v1"}
    assert all("wrong_key" in each.reason for each in judge.unlawful[:3])


def test_true_is_not_one_in_a_fact() -> None:
    world = every_command()
    commands = copy.deepcopy(world.commands)
    [verified] = next(c for c in commands if c[0]["topic"] == "scores_verified.v1")
    verified["data"]["passed"] = 1
    assert [each.reason for each in judged(commands).unlawful] == ["passed was decided otherwise"]


def test_findings_are_counted_beyond_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert UNLAWFUL_MAX >= 100
    monkeypatch.setattr(module, "UNLAWFUL_MAX", 2)
    commands = every_command().commands
    judge = judged(commands[:1] + commands[3:])
    assert len(judge.unlawful) == 2
    assert judge.unlawful_count > 2

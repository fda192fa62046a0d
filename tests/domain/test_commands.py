"""The table of contents of what can be asked."""

import importlib

import pytest

from domain.commands import DECISIONS, decide
from domain.decision import Command
from domain.service.read_sets import READ_SETS
from tests.support.actors import OPERATOR
from tests.support.commands import open_book
from tests.support.source import sources
from tests.support.world import World


def commands() -> set[type[Command]]:
    for source in sources("domain"):
        if not source.module.startswith("domain.store"):
            importlib.import_module(source.module)
    found, waiting = set(), [Command]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if not cls.__name__.startswith("_") and cls is not Command:
            found.add(cls)
    return {cls for cls in found if cls.__module__.startswith("domain.")}


def test_every_command_leads_to_a_decision():
    assert set(DECISIONS) == commands()


def test_every_decision_is_led_to_by_one_command():
    assert len(set(DECISIONS.values())) == len(DECISIONS)


@pytest.mark.parametrize("command", list(DECISIONS))
def test_a_command_is_told_in_the_imperative_with_a_docstring(command):
    assert command.__doc__
    assert not command.__name__.endswith(("ed", "ing"))


def test_a_wish_is_decided_by_its_own_decision():
    world = World()
    context = world.context(OPERATOR, world.now)
    assert decide(world, open_book(), context).facts[0][1].TOPIC == "ledger_opened.v1"


def test_of_every_command_it_is_said_what_it_will_look_at():
    assert set(READ_SETS) == set(DECISIONS)

"""The table of contents of the commands, and what a spec has to declare."""

import importlib

import pytest

from domain.actors import Role
from domain.commands import DECISIONS, SPECS, decide
from domain.decision import Command
from tests.support.actors import OPERATOR
from tests.support.commands import open_ledger
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


def test_every_command_has_one_spec():
    listed = [spec.command for spec in SPECS]
    assert len(listed) == len(set(listed))
    assert set(listed) == commands()


def test_every_spec_has_a_decision_of_its_own():
    assert len({spec.decide for spec in SPECS}) == len(SPECS)


def test_every_spec_is_declared_in_the_module_of_its_command_and_decision():
    for spec in SPECS:
        assert spec.decide.__module__ == spec.command.__module__
        module = importlib.import_module(spec.command.__module__)
        assert spec in module.SPECS


def test_every_command_may_be_submitted_by_somebody():
    assert all(spec.roles and spec.roles <= set(Role) for spec in SPECS)


@pytest.mark.parametrize("command", list(DECISIONS))
def test_a_command_is_named_in_the_imperative_and_has_a_docstring(command):
    assert command.__doc__
    assert not command.__name__.endswith(("ed", "ing"))


def test_a_command_is_decided_by_its_own_decision():
    world = World()
    context = world.context(OPERATOR, world.now)
    assert decide(world, open_ledger(), context).facts[0][1].TOPIC == "ledger_opened.v1"

"""Compares the decisions with an independent model: same receipts, errors and rows, step by step.

Covers: domain/steps, domain/states
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.errors import LedgerError
from tests.support import model_adapter
from tests.support.claims import live_after
from tests.support.command_generator import (
    APPS,
    PEOPLE,
    GeneratedCommand,
    arbitrary_command,
    plausible_commands,
)
from tests.support.journeys import an_open_ledger
from tests.support.model_adapter import START, to_command
from tests.support.model_results import Journey

WILD = (False, False, False, False, True)
"""One command in five is arbitrary; the others move an application forward."""


class DecisionsComparison(RuleBasedStateMachine):
    """Sends every command to both and compares the outcomes."""

    @initialize()
    def open_the_ledger(self) -> None:
        self.world, self.model, self.now = an_open_ledger(), Journey(), START

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        def draw(pool):
            return data.draw(st.sampled_from(pool))

        if draw(WILD):
            command = arbitrary_command(self.model, draw, self.now)
        else:
            plausible = plausible_commands(self.model, draw(APPS), self.now)
            command = (
                draw(plausible) if plausible else arbitrary_command(self.model, draw, self.now)
            )
        self.carry_out(command)

    def carry_out(self, command: GeneratedCommand) -> None:
        kind, login, fields = command
        if kind == "wait":
            self.now += timedelta(days=fields["days"])
            return
        self.now += timedelta(minutes=1)
        actor = PEOPLE[login]
        by = (actor.subject, actor.role.value, actor.organisation)
        built = to_command(self.model, self.now, kind, fields)
        expected = self.model.ask(kind, by, self.now, **fields)
        entries = len(self.world.entries)
        try:
            self.world.do(built, by=actor, at=self.now)
            answer = None
        except LedgerError as error:
            answer = error.code
            assert len(self.world.entries) == entries
        assert answer == expected, f"{command}: decided {answer}, model {expected}"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            assert live_after(self.world.facts()) == set(self.world.claims)

    @invariant()
    def the_rows_are_the_same(self) -> None:
        if not hasattr(self, "world"):
            return
        assert model_adapter.refund_lines(self.world) == self.model.refund_lines()
        assert model_adapter.score_board(self.world) == self.model.score_board()
        assert model_adapter.registry(self.world) == self.model.registry()


DecisionsComparison.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestDecisionsComparison(DecisionsComparison.TestCase):
    """Collected by name; the machine itself asserts."""

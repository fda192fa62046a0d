"""The decisions beside an independent model: the same answers, refusals and rows, step by step."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.errors import LedgerError
from domain.values.primitives import Level
from tests.support import model_adapter as translated
from tests.support.command_generator import APPS, PEOPLE, Wish, anything, sensible
from tests.support.commands import fees
from tests.support.journeys import an_open_book
from tests.support.model_adapter import START, to_command
from tests.support.model_results import Journey

WILD = (False, False, False, False, True)
"""One wish in five is anything at all; the others bring an application on."""


class DecisionsBesideModel(RuleBasedStateMachine):
    """Every wish goes to both; whatever one of them says, the other says too."""

    @initialize()
    def open_the_book(self) -> None:
        self.world, self.model, self.now = an_open_book(), Journey(), START
        self.world.do(fees(level=Level.JUNIOR))

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        def draw(pool):
            return data.draw(st.sampled_from(pool))

        if draw(WILD):
            wish = anything(self.model, draw, self.now)
        else:
            wishes = sensible(self.model, draw(APPS), self.now)
            wish = draw(wishes) if wishes else anything(self.model, draw, self.now)
        self.carry_out(wish)

    def carry_out(self, wish: Wish) -> None:
        kind, login, fields = wish
        if kind == "wait":
            self.now += timedelta(days=fields["days"])
            return
        self.now += timedelta(minutes=1)
        actor = PEOPLE[login]
        by = (actor.subject, actor.role.value, actor.organisation)
        command = to_command(self.model, self.now, kind, fields)
        expected = self.model.ask(kind, by, self.now, **fields)
        entries = len(self.world.entries)
        try:
            self.world.do(command, by=actor, at=self.now)
            answer = None
        except LedgerError as error:
            answer = error.code
            assert len(self.world.entries) == entries
        assert answer == expected, f"{wish}: decided {answer}, model {expected}"

    @invariant()
    def the_rows_are_the_same(self) -> None:
        if not hasattr(self, "world"):
            return
        assert translated.refund_lines(self.world) == self.model.refund_lines()
        assert translated.score_board(self.world) == self.model.score_board()
        assert translated.registry(self.world) == self.model.registry()


DecisionsBesideModel.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestDecisionsBesideModel(DecisionsBesideModel.TestCase):
    """Collected by name; the machine itself asserts."""

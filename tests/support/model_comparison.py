"""Any ledger beside the independent model: the same wishes, answers and rows, step by step.

`BesideModel` is the machine without its ledger. Whoever uses it says how a ledger is opened, how a
command is told to it and what it answers, and where its journal stands. At the end of an example
the three views' rows have to be the model's.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from domain.actors import Actor
from domain.decision import Command
from domain.values.primitives import Level
from tests.support.actors import OPERATOR
from tests.support.command_generator import APPS, PEOPLE, Wish, anything, sensible
from tests.support.commands import fees, open_book
from tests.support.model_adapter import START, to_command, without_check
from tests.support.model_results import Journey
from tests.support.postgres import Database

WILD = (False, False, False, False, True)
"""One wish in five is anything at all; the others bring an application on."""


REFUSALS_MAX = 4
"""Refusals one after the other, after which people stop asking."""


def few_examples(count: int, steps: int = 8) -> settings:
    """The same examples on every run, each of them a whole ledger."""
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        # A failure names its few numbers; trying smaller ones would take many databases' time.
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


class BesideModel(RuleBasedStateMachine):
    """Every wish goes to both; whatever one of them says, the other says too."""

    database: Database
    numbers: ClassVar[Iterator[int]]

    def __init_subclass__(cls) -> None:
        cls.numbers = itertools.count(1)

    # --- what another ledger does otherwise ------------------------------------------------------

    def open_ledger(self) -> None:
        """A ledger of this name, without a book."""
        raise NotImplementedError

    def answer_to(self, command: Command, actor: Actor) -> str | None:
        """The code of the refusal, None where the command was carried out."""
        raise NotImplementedError

    def position(self) -> int:
        """Where the journal ends."""
        raise NotImplementedError

    def catch_up(self) -> None:
        """Wait until every view has come to the journal's end."""
        raise NotImplementedError

    def is_admitted(self, command: Command, actor: Actor) -> bool:
        """Whether the actor gets as far as a decision."""
        return True

    def anything(self, draw: Any) -> Wish:
        """A wild wish."""
        return anything(self.model, draw, self.now)

    def agree(self, answer: str | None, expected: str | None, command: Command) -> bool:
        """Whether ledger and model say the same."""
        return answer == expected

    # --- the machine -----------------------------------------------------------------------------

    @initialize()
    def open_the_book(self) -> None:
        self.name = f"l{next(self.numbers)}"
        self.model, self.now = Journey(), START
        self.open_ledger()
        for command in (open_book(), fees(), fees(level=Level.JUNIOR)):
            assert self.answer_to(command, OPERATOR) is None

    def chooser(self, seed: int) -> Any:
        """One number stands for many choices: drawn one by one, they would come out alike."""
        return random.Random(f"{self.name} {seed}").choice

    @rule(seed=st.integers(0, 2**32 - 1))
    def ask_a_few_things(self, seed: int) -> None:
        """Wishes of everybody, one in five of them wild."""
        draw = self.chooser(seed)
        for _ in range(10):
            wishes: list[Wish] = []
            if not draw(WILD):
                wishes = sensible(self.model, draw(APPS), self.now)
            self.carry_out(draw(wishes) if wishes else self.anything(draw))

    @rule(app=st.sampled_from(APPS), seed=st.integers(0, 2**32 - 1))
    def bring_on(self, app: str, seed: int) -> None:
        """One application a good way further, as its people would want it."""
        draw = self.chooser(seed)
        refused = 0
        for _ in range(60):
            wishes = sensible(self.model, app, self.now)
            if not wishes or refused == REFUSALS_MAX:
                return
            # The first is what its people hope for; the others end it sooner or later.
            answer = self.carry_out(wishes[0] if draw(range(20)) else draw(wishes))
            refused = refused + 1 if answer else 0

    def carry_out(self, wish: Wish) -> str | None:
        """What came of it: the code of a refusal."""
        kind, login, fields = wish
        later = self.now + timedelta(days=fields["days"] if kind == "wait" else 0, minutes=1)
        if later >= datetime.now(UTC):
            return None  # the journal takes nothing that has not happened
        self.now = later
        if kind == "wait":
            return None
        actor = PEOPLE[login]
        by = (actor.subject, actor.role.value, actor.organisation)
        command = to_command(self.model, self.now, kind, fields)
        expected = None
        admitted = self.is_admitted(command, actor)
        if admitted:
            expected = self.model.ask(kind, by, self.now, **fields)
        before = self.position()
        answer = self.answer_to(command, actor)
        moved = self.position() > before
        assert moved is (answer is None), f"{wish}: {answer}, but from {before}: {moved}"
        if admitted:
            assert self.agree(answer, expected, command), (
                f"{wish}: decided {answer}, model {expected}"
            )
        return answer

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        self.catch_up()
        assert self.refund_lines() == self.model.refund_lines()
        assert self.score_board() == self.model.score_board()
        assert self.registry() == self.model.registry()

    # --- the views' rows in the model's shape ------------------------------------------------

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database.execute(sql, self.name)

    def refund_lines(self) -> set[tuple[Any, ...]]:
        refunds: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for payment, component, number, state in self.rows(
            "SELECT payment_id, component, refund_no, state FROM views.refunds "
            "WHERE ledger = %s ORDER BY ordered_at, refund_no"
        ):
            refunds.setdefault((payment, component), []).append((number, state))
        return {
            (*line, excess is not None, tuple(refunds.get((line[1], line[2]), ())))
            for *line, excess in self.rows(
                "SELECT application_id, payment_id, component, paid_fen, excess "
                "FROM views.refund_lines WHERE ledger = %s"
            )
        }

    def score_board(self) -> set[tuple[Any, ...]]:
        return set(
            self.rows(
                "SELECT DISTINCT ON (r.notice_id, r.application_id) r.notice_id, "
                "r.application_id, r.theory, r.practical, r.passed, r.state = 'withheld', "
                "EXISTS (SELECT FROM views.score_board_notices n WHERE n.ledger = r.ledger "
                "AND n.notice_id = r.notice_id AND n.status = 'closed') "
                "FROM views.score_board_rows r WHERE r.ledger = %s "
                "ORDER BY r.notice_id, r.application_id, r.position DESC"
            )
        )

    def registry(self) -> set[tuple[Any, ...]]:
        return {
            (without_check(number), *row)
            for number, *row in self.rows(
                "SELECT number, application_id, kind, progress, standing, version "
                "FROM views.certificates WHERE ledger = %s"
            )
        }

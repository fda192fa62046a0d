"""Compares any ledger with the independent model: same commands, outcomes and rows, step by step.

`ModelComparison` is the state machine without a ledger. A subclass opens the ledger, submits
commands and returns their outcome, and locates the journal's end. At the end of an example the
rows of the three views must equal the model's.
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
from tests.support.command_generator import (
    APPS,
    PEOPLE,
    GeneratedCommand,
    arbitrary_command,
    plausible_commands,
)
from tests.support.commands import set_up
from tests.support.model_adapter import START, to_command, without_check
from tests.support.model_results import Journey
from tests.support.postgres import Database

WILD = (False, False, False, False, True)
"""One command in five is arbitrary; the others move an application forward."""


REFUSALS_MAX = 4
"""Consecutive refusals after which an application is left alone."""


def few_examples(count: int, steps: int = 8) -> settings:
    """The same examples on every run, each of them a whole ledger."""
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        # A failure already names its few seeds; shrinking would need many more databases.
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


class ModelComparison(RuleBasedStateMachine):
    """Sends every command to both and compares the outcomes."""

    database: Database
    numbers: ClassVar[Iterator[int]]

    def __init_subclass__(cls) -> None:
        cls.numbers = itertools.count(1)

    # --- what a subclass provides -----------------------------------------------------------------

    def open_ledger(self) -> None:
        """Create a ledger of this name, without any event."""
        raise NotImplementedError

    def answer_to(self, command: Command, actor: Actor) -> str | None:
        """The code of the refusal, or None if the command succeeded."""
        raise NotImplementedError

    def position(self) -> int:
        """Position of the journal's last event."""
        raise NotImplementedError

    def catch_up(self) -> None:
        """Wait until every view has reached the journal's end."""
        raise NotImplementedError

    def is_admitted(self, command: Command, actor: Actor) -> bool:
        """Whether the actor's role allows the command at all."""
        return True

    def arbitrary_command(self, draw: Any) -> GeneratedCommand:
        """An arbitrary command."""
        return arbitrary_command(self.model, draw, self.now)

    def agree(self, answer: str | None, expected: str | None, command: Command) -> bool:
        """Whether the outcomes of ledger and model agree."""
        return answer == expected

    # --- the machine -----------------------------------------------------------------------------

    @initialize()
    def open_the_ledger(self) -> None:
        self.name = f"l{next(self.numbers)}"
        self.model, self.now = Journey(), START
        self.open_ledger()
        for command, actor in set_up():
            assert self.answer_to(command, actor) is None

    def chooser(self, seed: int) -> Any:
        """A choice function seeded by one drawn number; many single draws would be too uniform."""
        return random.Random(f"{self.name} {seed}").choice

    @rule(seed=st.integers(0, 2**32 - 1))
    def submit_some_commands(self, seed: int) -> None:
        """Commands of any login, one in five of them arbitrary."""
        draw = self.chooser(seed)
        for _ in range(10):
            plausible: list[GeneratedCommand] = []
            if not draw(WILD):
                plausible = plausible_commands(self.model, draw(APPS), self.now)
            self.carry_out(draw(plausible) if plausible else self.arbitrary_command(draw))

    @rule(app=st.sampled_from(APPS), seed=st.integers(0, 2**32 - 1))
    def advance(self, app: str, seed: int) -> None:
        """Moves one application forward by plausible commands."""
        draw = self.chooser(seed)
        refused = 0
        for _ in range(60):
            plausible = plausible_commands(self.model, app, self.now)
            if not plausible or refused == REFUSALS_MAX:
                return
            # The first continues the journey; the others end it sooner or later.
            answer = self.carry_out(plausible[0] if draw(range(20)) else draw(plausible))
            refused = refused + 1 if answer else 0

    def carry_out(self, generated: GeneratedCommand) -> str | None:
        """Submit it to both. Returns: the code of the refusal, or None."""
        kind, login, fields = generated
        later = self.now + timedelta(days=fields["days"] if kind == "wait" else 0, minutes=1)
        if later >= datetime.now(UTC):
            return None  # the journal refuses events in the future
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
        assert moved is (answer is None), f"{generated}: {answer}, but from {before}: {moved}"
        if admitted:
            assert self.agree(answer, expected, command), (
                f"{generated}: decided {answer}, model {expected}"
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

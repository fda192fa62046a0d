"""The real stack beside the independent model: PostgreSQL, the writer, the runner and its views.

The same wishes as beside the decisions in memory, told to a ledger on a real database. Each
example has a ledger of its own; at its end the three views have to show the model's rows, and
after all of them a rebuild has to find the live rows as they are.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from domain.errors import LedgerError
from domain.ledger import Ledgers
from domain.store.embedded import EmbeddedPostgres
from domain.store.journal import Journal
from domain.values import Level
from projections import rebuild
from projections.compare import Difference
from projections.runner import Runner
from projections.views import VIEWS
from tests.support.commands import fees, open_book
from tests.support.ledgers import SECRETS, open_ledgers, submit
from tests.support.model_results import Journey
from tests.support.postgres import Database, fresh_database
from tests.support.translated import START, to_command, without_check
from tests.support.wishes import APPS, PEOPLE, Wish, anything, sensible

WILD = (False, False, False, False, True)
"""One wish in five is anything at all; the others bring an application on."""


class StackBesideModel(RuleBasedStateMachine):
    """Every wish goes to both; whatever one of them says, the other says too."""

    database: ClassVar[Database]
    ledgers: ClassVar[Ledgers]
    runner: ClassVar[Runner]
    numbers: ClassVar[Iterator[int]] = itertools.count(1)

    @initialize()
    def open_the_book(self) -> None:
        name = f"l{next(self.numbers)}"
        # Made without a site code: in one database it belongs to one ledger only, and here
        # every example's book says the model's.
        Journal(self.database.dsn, name).create_ledger()
        self.ledger = self.ledgers.get(name)
        self.model, self.now, self.count = Journey(), START, 0
        for command in (open_book(), fees(), fees(level=Level.JUNIOR)):
            self.submit(command, None)

    def submit(self, command: Any, actor: Any) -> Any:
        self.count += 1
        by = {"by": actor} if actor else {}
        return submit(self.ledger, command, key=f"k{self.count}", at=self.now, **by)

    def chooser(self, seed: int) -> Any:
        """One number stands for many choices: drawn one by one, they would come out alike."""
        return random.Random(f"{self.ledger.name} {seed}").choice

    @rule(seed=st.integers(0, 2**32 - 1))
    def ask_a_few_things(self, seed: int) -> None:
        """Wishes of everybody, one in five of them wild."""
        draw = self.chooser(seed)
        for _ in range(10):
            wishes: list[Wish] = []
            if not draw(WILD):
                wishes = sensible(self.model, draw(APPS), self.now)
            wish = draw(wishes) if wishes else anything(self.model, draw, self.now)
            self.carry_out(wish)

    @rule(app=st.sampled_from(APPS), seed=st.integers(0, 2**32 - 1))
    def bring_on(self, app: str, seed: int) -> None:
        """One application a good way further, as its people would want it."""
        draw = self.chooser(seed)
        for _ in range(60):
            wishes = sensible(self.model, app, self.now)
            if wishes:
                # The first is what its people hope for; the others end it sooner or later.
                self.carry_out(wishes[0] if draw(range(20)) else draw(wishes))

    def carry_out(self, wish: Wish) -> None:
        kind, login, fields = wish
        later = self.now + timedelta(days=fields["days"] if kind == "wait" else 0, minutes=1)
        if later >= datetime.now(UTC):
            return  # the journal takes nothing that has not happened
        self.now = later
        if kind == "wait":
            return
        actor = PEOPLE[login]
        by = (actor.subject, actor.role.value, actor.organisation)
        command = to_command(self.model, self.now, kind, fields)
        expected = self.model.ask(kind, by, self.now, **fields)
        before = self.ledger.journal.head().position
        try:
            self.submit(command, actor)
            answer = None
        except LedgerError as error:
            answer = error.code
            assert self.ledger.journal.head().position == before, "a refusal moved something"
        assert answer == expected, f"{wish}: decided {answer}, model {expected}"

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        head = self.ledger.journal.head().position
        for view in VIEWS:
            assert self.runner.wait_for(self.ledger.name, view.name, head, 20), view.name
        assert self.refund_lines() == self.model.refund_lines()
        assert self.score_board() == self.model.score_board()
        assert self.registry() == self.model.registry()

    # --- the views' rows in the model's shape ------------------------------------------------

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database.execute(sql, self.ledger.name)

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


StackBesideModel.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    # A failure names its few numbers; trying smaller ones would take many databases' time.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def stack(postgres: EmbeddedPostgres) -> Iterator[None]:
    """A database with ledgers and the views' runner; at the end a rebuild must equal live."""
    with fresh_database(postgres) as database, open_ledgers(database) as ledgers:
        runner = Runner(database.dsn, SECRETS)
        runner.start()
        StackBesideModel.database = database
        StackBesideModel.ledgers = ledgers
        StackBesideModel.runner = runner
        try:
            yield
            found: list[Difference] = []
            rebuild.check(database.dsn, SECRETS, processes=1, on_difference=found.append)
            assert found == []
        finally:
            runner.stop()


class TestStackBesideModel(StackBesideModel.TestCase):
    """Collected by name; the machine itself asserts."""

"""Compares the real stack with the independent model: PostgreSQL, writer, runner and views.

Runs the commands of `tests.support.command_generator` on a real database. Each example has its own
ledger; at its end the three views must show the model's rows, and after all of them a rebuild must
find no difference to the live rows.
Covers: domain/service/ledger.py, domain/store/writer/group_commit.py, projections/engine/runner.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from domain.actors import Actor
from domain.decision import Command
from domain.errors import LedgerError
from domain.service.ledger import Ledgers
from domain.store.embedded.server import EmbeddedPostgres
from projections.catalogue import VIEWS
from projections.engine.progress import ProgressTracker
from projections.rebuild import rebuild
from projections.rebuild.compare import Difference
from projections.runner_process import new_runner
from tests.support.keys import journal_of
from tests.support.ledgers import SECRETS, open_ledgers, submit
from tests.support.model_comparison import ModelComparison, few_examples
from tests.support.postgres import fresh_database

pytestmark = pytest.mark.slow


class StackComparison(ModelComparison):
    """Submits commands to the ledger's writer, without the HTTP service."""

    ledgers: ClassVar[Ledgers]
    progress: ClassVar[ProgressTracker]

    def open_ledger(self) -> None:
        # Created without a site code: within one database it is unique to a ledger, but every
        # example opens its ledger with the model's.
        journal_of(self.database.dsn, self.name).create_ledger()
        self.ledger = self.ledgers.get(self.name)
        self.count = 0

    def answer_to(self, command: Command, actor: Actor) -> str | None:
        self.count += 1
        try:
            submit(self.ledger, command, actor, key=f"k{self.count}", at=self.now)
        except LedgerError as error:
            return error.code
        return None

    def position(self) -> int:
        return self.ledger.journal.head().position

    def catch_up(self) -> None:
        head = self.position()
        for view in VIEWS:
            assert self.progress.wait_until(self.name, view.name, head, 20), view.name


StackComparison.TestCase.settings = few_examples(25)


@pytest.fixture(scope="module", autouse=True)
def stack(postgres: EmbeddedPostgres) -> Iterator[None]:
    """A database with ledgers and the projection runner; finally checks a rebuild."""
    with fresh_database(postgres) as database, open_ledgers(database) as ledgers:
        StackComparison.database = database
        StackComparison.ledgers = ledgers
        with new_runner(database.dsn, SECRETS), ProgressTracker(database.dsn, VIEWS) as progress:
            StackComparison.progress = progress
            yield
            found: list[Difference] = []
            rebuild.check(database.dsn, SECRETS, processes=1, on_difference=found.append)
            assert found == []


class TestStackComparison(StackComparison.TestCase):
    """Collected by name; the machine itself asserts."""

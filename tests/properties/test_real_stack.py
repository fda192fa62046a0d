"""The real stack beside the independent model: PostgreSQL, the writer, the runner and its views.

The same wishes as beside the decisions in memory, told to a ledger on a real database. Each
example has a ledger of its own; at its end the three views have to show the model's rows, and
after all of them a rebuild has to find the live rows as they are.
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
from domain.store.journal.journal import Journal
from projections.catalogue import VIEWS
from projections.engine.progress import ProgressTracker
from projections.rebuild import rebuild
from projections.rebuild.compare import Difference
from projections.runner_process import new_runner
from tests.support.ledgers import SECRETS, open_ledgers, submit
from tests.support.model_comparison import BesideModel, few_examples
from tests.support.postgres import fresh_database


class StackBesideModel(BesideModel):
    """Commands go to the ledger's writer, without a service in front of it."""

    ledgers: ClassVar[Ledgers]
    lookout: ClassVar[ProgressTracker]

    def open_ledger(self) -> None:
        # Made without a site code: in one database it belongs to one ledger only, and here
        # every example's book says the model's.
        Journal(self.database.dsn, self.name).create_ledger()
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
            assert self.lookout.wait_for(self.name, view.name, head, 20), view.name


StackBesideModel.TestCase.settings = few_examples(25)


@pytest.fixture(scope="module", autouse=True)
def stack(postgres: EmbeddedPostgres) -> Iterator[None]:
    """A database with ledgers and the views' runner; at the end a rebuild must equal live."""
    with fresh_database(postgres) as database, open_ledgers(database) as ledgers:
        StackBesideModel.database = database
        StackBesideModel.ledgers = ledgers
        with new_runner(database.dsn, SECRETS), ProgressTracker(database.dsn, VIEWS) as lookout:
            StackBesideModel.lookout = lookout
            yield
            found: list[Difference] = []
            rebuild.check(database.dsn, SECRETS, processes=1, on_difference=found.append)
            assert found == []


class TestStackBesideModel(StackBesideModel.TestCase):
    """Collected by name; the machine itself asserts."""

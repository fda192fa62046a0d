"""A real history with one change made afterwards: the checker finds it and names its kind.

Covers: tests/consistency/checker.py, tests/consistency/domain_spec.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import pytest

from domain.store.postgres.migrate import migrate
from tests.consistency.checker import check
from tests.consistency.clients import LedgerEndpoint
from tests.consistency.concurrent_clients import new_request
from tests.consistency.database_oracle import Stored, read_stored
from tests.consistency.domain_reads import VIEWS
from tests.consistency.domain_spec import DomainSpec, Read, Request
from tests.consistency.history import (
    Answer,
    NotDone,
    Operation,
    Refused,
    Replayed,
    Saw,
    Shown,
    Wrote,
)
from tests.consistency.scenario import Scenario
from tests.consistency.test_ledgers import SEED, open_ledger
from tests.support.actors import REGISTRAR
from tests.support.postgres import Database

pytestmark = pytest.mark.slow


@dataclass
class RecordedHistory:
    """A history and its journal."""

    scenario: Scenario
    stored: Stored
    operations: list[Operation]

    def kinds(self, *changed: Operation, **tables: object) -> set[str]:
        """Kinds found if these replace the operations that were invoked at the same time."""
        others = {one.invoked: one for one in (*self.operations, *changed)}
        found, _ = self._check(list(others.values()), replace(self.stored, **tables))
        return found

    def _check(self, operations: list[Operation], stored: Stored) -> tuple[set[str], DomainSpec]:
        spec = self.scenario.spec(stored)
        found = check(operations, stored, spec, self.scenario.position)
        return {one.kind for one in found}, spec

    @cached_property
    def spec(self) -> DomainSpec:
        """The model after every command of the history."""
        return self._check(self.operations, self.stored)[1]

    @property
    def head(self) -> int:
        return self.stored.position

    def wrote(self, kind: str | None = None) -> Operation:
        """A command that was sent once and recorded."""
        keys = Counter(one.asked.key for one in self.operations if isinstance(one.asked, Request))
        return next(
            one
            for one in self.operations
            if isinstance(one.answer, Wrote) and keys[one.asked.key] == 1
            if kind is None or one.asked.kind == kind
        )

    def first(self, answer: type[Answer]) -> Operation:
        return next(one for one in self.operations if isinstance(one.answer, answer))


@pytest.fixture(scope="module")
def recorded(module_database: Database) -> Iterator[RecordedHistory]:
    migrate(module_database.dsn)
    module_database.execute("INSERT INTO certledger.ledgers (ledger) VALUES ('omc')")
    with ExitStack() as stack:
        ledger = open_ledger(stack, module_database.dsn)
        scenario = Scenario(ledger, SEED)
        endpoint = LedgerEndpoint(ledger)
        for kind in ("number", "issue"):
            scenario.ask(endpoint, new_request(kind, REGISTRAR, app="A1"))
        scenario.run([endpoint], rounds=25)
    stored = read_stored(module_database.dsn, "omc")
    yield RecordedHistory(scenario, stored, scenario.recorder.operations())


def test_a_real_history_has_no_violations(recorded: RecordedHistory) -> None:
    assert recorded.kinds() == set()


@pytest.mark.parametrize("answer", [Refused("claim_taken"), NotDone("overloaded")])
def test_a_recorded_command_answered_as_refused_is_found(
    recorded: RecordedHistory, answer: Answer
) -> None:
    assert "refused, but recorded" in recorded.kinds(replace(recorded.wrote(), answer=answer))


def test_a_lost_acknowledged_command_is_found(recorded: RecordedHistory) -> None:
    [last] = [c for c in recorded.stored.commands if c.last_position == recorded.head]
    events = recorded.stored.events[: last.first_position - 1]
    found = recorded.kinds(
        events=events,
        position=len(events),
        recorded_at=events[-1].recorded_at,
        commands=[command for command in recorded.stored.commands if command is not last],
    )
    assert "lost append" in found


def test_a_refusal_with_another_code_is_found(recorded: RecordedHistory) -> None:
    refused = recorded.first(Refused)
    found = recorded.kinds(replace(refused, answer=Refused("another_reason")))
    assert found == {"answer that was never right"}


@pytest.mark.parametrize("name", ["last_position", "version", "outcome", "topics"])
def test_a_receipt_that_differs_from_the_stored_one_is_found(
    recorded: RecordedHistory, name: str
) -> None:
    written, again = recorded.wrote(), recorded.first(Replayed)
    other = Wrote(written.answer.receipt | {name: "another"})
    assert recorded.kinds(replace(written, answer=other)) == {"wrong answer"}
    other = Replayed(again.answer.receipt | {name: "another"})
    assert recorded.kinds(replace(again, answer=other)) == {"answer that was never right"}


def test_a_recorded_command_that_the_model_refuses_is_found(recorded: RecordedHistory) -> None:
    written = recorded.wrote("register")
    request = replace(written.asked, fields=written.asked.fields | {"person": "P1"})
    assert "decided wrongly" in recorded.kinds(replace(written, asked=request))


def test_a_stale_read_of_the_journal_is_found(recorded: RecordedHistory) -> None:
    reads = [one for one in recorded.operations if isinstance(one.asked, Read)]
    page = [one for one in reads if one.asked.what == "events"][-1]
    first, _ = page.answer.what[0]
    ends = [c.last_position for c in recorded.stored.commands if c.last_position > first]
    missing = Saw([row for row in page.answer.what if row[0] <= min(ends)])
    assert recorded.kinds(replace(page, answer=missing)) == {"stale read"}


def test_an_inverted_order_of_commands_is_found(recorded: RecordedHistory) -> None:
    last = max(
        (one for one in recorded.operations if isinstance(one.answer, Wrote)),
        key=lambda one: one.answer.receipt["first_position"],
    )
    late = [one for one in recorded.operations if one is not last]
    early = replace(last, invoked=1, returned=2)
    found, _ = recorded._check([*late, early], recorded.stored)
    assert "order inverted" in found


# --- views ----------------------------------------------------------------------------------------


def something_that_changed(recorded: RecordedHistory, what: str) -> Read:
    """A read of the view whose result differs after the history."""
    model = recorded.spec.model(recorded.head)
    every = ["", "N2", *model.apps, *(r for a in model.apps.values() for r in a["refunds"])]
    return next(
        read
        for read in (Read(what, of) for of in every)
        if recorded.spec.expected(read, recorded.head)
        != recorded.spec.expected(read, recorded.scenario.position)
    )


@pytest.mark.parametrize("what", sorted(VIEWS.keys() - {"notices"}))
def test_a_view_older_than_requested_or_newer_than_its_return_is_found(
    recorded: RecordedHistory, what: str
) -> None:
    read = something_that_changed(recorded, what)
    base, head = recorded.scenario.position, recorded.head
    before, after = (recorded.spec.expected(read, position) for position in (base, head))
    ended = max(one.returned for one in recorded.operations) + 1

    def found(shown: object, min_position: int, at: int) -> set[str]:
        return recorded.kinds(Operation("reader", read, at, at + 1, Shown(shown, min_position)))

    assert (
        found(after, head, ended) == found(before, base, ended) == found(before, base, 1) == set()
    )
    assert found(before, head, ended) == {"stale read"}
    assert found(after, 0, 1) == {"read from the future"}
    assert found("something else", 0, ended) == {"read that was never right"}

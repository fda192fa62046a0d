"""A real history in which one thing is changed afterwards: the checker finds it and says what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import pytest

from domain.store.postgres.migrate import migrate
from tests.consistency.checker import check
from tests.consistency.clients import LedgerDoor
from tests.consistency.concurrent_clients import wish_of
from tests.consistency.database_oracle import Stored, read_stored
from tests.consistency.domain_reads import VIEWS
from tests.consistency.domain_spec import DomainSpec, Read, Wish
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
from tests.consistency.scenario import Gathering
from tests.consistency.test_ledgers import SEED, open_ledger
from tests.support.actors import REGISTRAR
from tests.support.postgres import Database


@dataclass
class Told:
    """A history, and the journal it belongs to."""

    gathering: Gathering
    stored: Stored
    operations: list[Operation]

    def kinds(self, *changed: Operation, **tables: object) -> set[str]:
        """What is found with these in the place of those that were invoked at the same time."""
        others = {one.invoked: one for one in (*self.operations, *changed)}
        found, _ = self._check(list(others.values()), replace(self.stored, **tables))
        return found

    def _check(self, operations: list[Operation], stored: Stored) -> tuple[set[str], DomainSpec]:
        spec = self.gathering.spec(stored)
        found = check(operations, stored, spec, self.gathering.position)
        return {one.kind for one in found}, spec

    @cached_property
    def spec(self) -> DomainSpec:
        """The model after every command of the history."""
        return self._check(self.operations, self.stored)[1]

    @property
    def head(self) -> int:
        return self.stored.position

    def wrote(self, kind: str | None = None) -> Operation:
        """A command that was asked for once and carried out."""
        keys = Counter(one.asked.key for one in self.operations if isinstance(one.asked, Wish))
        return next(
            one
            for one in self.operations
            if isinstance(one.answer, Wrote) and keys[one.asked.key] == 1
            if kind is None or one.asked.kind == kind
        )

    def first(self, answer: type[Answer]) -> Operation:
        return next(one for one in self.operations if isinstance(one.answer, answer))


@pytest.fixture(scope="module")
def told(module_database: Database) -> Iterator[Told]:
    migrate(module_database.dsn)
    module_database.execute("INSERT INTO certledger.ledgers (ledger) VALUES ('omc')")
    with ExitStack() as stack:
        ledger = open_ledger(stack, module_database.dsn)
        gathering = Gathering(ledger, SEED)
        door = LedgerDoor(ledger)
        for kind in ("number", "issue"):
            gathering.ask(door, wish_of(kind, REGISTRAR, app="A1"))
        gathering.at([door], rounds=25)
    stored = read_stored(module_database.dsn, "omc")
    yield Told(gathering, stored, gathering.recorder.operations())


def test_nothing_is_found_in_a_real_history(told: Told) -> None:
    assert told.kinds() == set()


@pytest.mark.parametrize("answer", [Refused("claim_taken"), NotDone("overloaded")])
def test_a_command_that_is_recorded_was_not_refused(told: Told, answer: Answer) -> None:
    assert "refused, but recorded" in told.kinds(replace(told.wrote(), answer=answer))


def test_a_command_that_is_acknowledged_is_recorded(told: Told) -> None:
    [last] = [c for c in told.stored.commands if c.last_position == told.head]
    events = told.stored.events[: last.first_position - 1]
    found = told.kinds(
        events=events,
        position=len(events),
        recorded_at=events[-1].recorded_at,
        commands=[command for command in told.stored.commands if command is not last],
    )
    assert "lost append" in found


def test_a_refusal_gives_the_reason_there_is(told: Told) -> None:
    refused = told.first(Refused)
    found = told.kinds(replace(refused, answer=Refused("another_reason")))
    assert found == {"answer that was never right"}


@pytest.mark.parametrize("name", ["last_position", "version", "outcome", "topics"])
def test_a_receipt_is_the_one_that_is_kept(told: Told, name: str) -> None:
    written, again = told.wrote(), told.first(Replayed)
    other = Wrote(written.answer.receipt | {name: "another"})
    assert told.kinds(replace(written, answer=other)) == {"told otherwise"}
    other = Replayed(again.answer.receipt | {name: "another"})
    assert told.kinds(replace(again, answer=other)) == {"answer that was never right"}


def test_what_the_model_refuses_is_not_carried_out(told: Told) -> None:
    written = told.wrote("register")
    wish = replace(written.asked, fields=written.asked.fields | {"person": "P1"})
    assert "decided wrongly" in told.kinds(replace(written, asked=wish))


def test_a_read_of_the_journal_sees_all_that_was_acknowledged(told: Told) -> None:
    reads = [one for one in told.operations if isinstance(one.asked, Read)]
    page = [one for one in reads if one.asked.what == "events"][-1]
    first, _ = page.answer.what[0]
    ends = [c.last_position for c in told.stored.commands if c.last_position > first]
    missing = Saw([row for row in page.answer.what if row[0] <= min(ends)])
    assert told.kinds(replace(page, answer=missing)) == {"stale read"}


def test_commands_stand_in_the_order_of_the_clock(told: Told) -> None:
    last = max(
        (one for one in told.operations if isinstance(one.answer, Wrote)),
        key=lambda one: one.answer.receipt["first_position"],
    )
    late = [one for one in told.operations if one is not last]
    early = replace(last, invoked=1, returned=2)
    found, _ = told._check([*late, early], told.stored)
    assert "order inverted" in found


# --- views ----------------------------------------------------------------------------------------


def something_that_changed(told: Told, what: str) -> Read:
    """A view of the name that shows other things after the history than before."""
    model = told.spec.model(told.head)
    every = ["", "N2", *model.apps, *(r for a in model.apps.values() for r in a["refunds"])]
    return next(
        read
        for read in (Read(what, of) for of in every)
        if told.spec.expected(read, told.head) != told.spec.expected(read, told.gathering.position)
    )


@pytest.mark.parametrize("what", sorted(VIEWS.keys() - {"notices"}))
def test_a_view_is_neither_behind_what_was_asked_for_nor_ahead_of_the_time(
    told: Told, what: str
) -> None:
    read = something_that_changed(told, what)
    base, head = told.gathering.position, told.head
    before, after = (told.spec.expected(read, position) for position in (base, head))
    ended = max(one.returned for one in told.operations) + 1

    def found(shown: object, min_position: int, at: int) -> set[str]:
        return told.kinds(Operation("looker", read, at, at + 1, Shown(shown, min_position)))

    assert (
        found(after, head, ended) == found(before, base, ended) == found(before, base, 1) == set()
    )
    assert found(before, head, ended) == {"stale read"}
    assert found(after, 0, 1) == {"read from the future"}
    assert found("something else", 0, ended) == {"read that was never right"}

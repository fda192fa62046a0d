"""Ids of commands are drawn once: random, never twice the same, and the same in every attempt.

Covers: domain/service/command_ids.py, domain/service/ledger.py, domain/store/writer/retry.py
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.service.command_execution import named_id
from domain.service.command_ids import CommandIds
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.store.errors import OutcomeUnknown
from tests.store.cutting_proxy import Cut, CuttingProxy
from tests.support.actors import ASSISTANT
from tests.support.commands import fees, open_ledger, register
from tests.support.ledgers import SECRETS, PostgresWorld, a_real_ledger, request_of, submit
from tests.support.postgres import Database

THREADS, EACH = 8, 2000


def test_no_id_is_drawn_twice_by_any_thread() -> None:
    ids, drawn = CommandIds(), []

    def draw() -> None:
        drawn.append([ids.draw() for _ in range(EACH)])

    threads = [threading.Thread(target=draw) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each for part in drawn for each in part}) == THREADS * EACH


def test_every_bit_of_an_id_is_random() -> None:
    ids = CommandIds()
    drawn = [ids.draw().int for _ in range(2000)]
    ones = [sum(each >> bit & 1 for each in drawn) for bit in range(128)]
    # Of 2,000 fair bits fewer than 700 or more than 1,300 are ones once in 10^40 times.
    assert all(700 < count < 1300 for count in ones)


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        world.do(fees())
        yield world


def test_two_commands_have_two_ids(world: PostgresWorld) -> None:
    one, two = (submit(world.ledger, register(n), ASSISTANT, key=f"k{n}") for n in (1, 2))
    assert one.command_id != two.command_id


def test_event_ids_are_derived_from_the_command(world: PostgresWorld) -> None:
    receipt = submit(world.ledger, register(1), ASSISTANT, key="k")
    [entry] = world.ledger.history("person-P1")
    assert str(entry.command_id) == receipt.command_id
    assert entry.event_id == named_id(entry.command_id, "event 0")
    known = world.ledger.recorded_command(ASSISTANT.subject, "k", request_of(register(1)))
    assert known is not None
    assert known.command_id == entry.command_id


def through(proxy: CuttingProxy) -> Ledger:
    return Ledger(proxy.dsn, "omc", SECRETS)


@pytest.mark.parametrize("count", [1, 5], ids=["reading", "optimistic"])
@pytest.mark.parametrize("cut", list(Cut), ids=lambda cut: cut.name.lower())
def test_a_commit_whose_outcome_was_unknown_has_the_ids_that_were_drawn(
    world: PostgresWorld, server_dir: Path, cut: Cut, count: int
) -> None:
    server_dir.chmod(0o755)
    before, dsn = world.ledger.journal.head().position, world.ledger.journal.dsn
    with CuttingProxy(dsn, server_dir, cut, refuse_afterwards=False) as proxy:
        ledger = through(proxy)
        futures = [
            ledger.submit(register(n), ASSISTANT, key=f"k{n}", request=request_of(register(n)),
                          timeout_seconds=60)
            for n in range(1, count + 1)
        ]  # fmt: skip
        receipts = [future.result(60) for future in futures]
        assert proxy.has_cut.is_set()
        again = submit(ledger, register(1), ASSISTANT, key="k1")
        ledger.close()
    stored = world.ledger.journal.read(before, 99, ("person_registered.v1",))
    assert [event.parsed["command_id"] for event in stored] == [r.command_id for r in receipts]
    rows = world.ledger.journal.query(
        "SELECT command_id::text FROM certledger.commands WHERE first_position > %s "
        "ORDER BY first_position",
        (before,),
    )
    assert [row[0] for row in rows] == [receipt.command_id for receipt in receipts]
    assert again.replayed
    assert again.to_bytes() == receipts[0].to_bytes()


@pytest.mark.parametrize("cut", [Cut.AFTER_COMMIT, Cut.BEFORE_COMMIT])
def test_an_unknown_outcome_names_the_id_that_was_drawn(
    world: PostgresWorld, server_dir: Path, cut: Cut
) -> None:
    server_dir.chmod(0o755)
    with CuttingProxy(world.ledger.journal.dsn, server_dir, cut, refuse_afterwards=True) as proxy:
        ledger = through(proxy)
        unknown = ledger.submit(
            register(1), ASSISTANT, key="k", request=request_of(register(1)), timeout_seconds=1.0
        ).exception(60)
        assert isinstance(unknown, OutcomeUnknown)
        proxy.allow.set()
        answer: Receipt = submit(ledger, register(1), ASSISTANT, key="k")
        ledger.close()
    assert answer.replayed == (cut is Cut.AFTER_COMMIT)
    # A repetition that was not recorded before is a command of its own.
    assert (answer.command_id == str(unknown.command_id)) == answer.replayed
    assert len(world.ledger.history("person-P1")) == 1

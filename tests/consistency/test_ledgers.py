"""Histories of a crowd that wants something of one ledger, through one opened ledger or several."""

from __future__ import annotations

import time
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from domain.service.ledger import Ledger, Ledgers
from tests.consistency.clients import LedgerDoor
from tests.consistency.concurrent_clients import wish_of
from tests.consistency.faults import (
    FAILURES,
    Stumble,
    TroubledLine,
    end_connections,
    make_mishaps,
    now_and_then,
)
from tests.consistency.scenario import Gathering
from tests.support.actors import ASSISTANT, REGISTRAR
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

SEED = 20261123


def open_ledger(stack: ExitStack, dsn: str) -> Ledger:
    """The ledger, with a writer and held states of its own."""
    ledgers = Ledgers(dsn, SECRETS)
    stack.callback(ledgers.close)
    return ledgers.get("omc")


def test_a_crowd_sees_one_ledger(dsn: str) -> None:
    with ExitStack() as stack:
        ledger = open_ledger(stack, dsn)
        gathering = Gathering(ledger, SEED)
        gathering.at([LedgerDoor(ledger)], rounds=30)
    gathering.judge(dsn, SECRETS)
    gathering.expect_busy()


def test_a_crowd_at_two_ledgers_sees_one(dsn: str) -> None:
    with ExitStack() as stack:
        ledger, other = open_ledger(stack, dsn), open_ledger(stack, dsn)
        gathering = Gathering(ledger, SEED)
        gathering.at([LedgerDoor(ledger), LedgerDoor(other)], rounds=30)
    gathering.judge(dsn, SECRETS)
    gathering.expect_busy()


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_a_crowd_sees_one_ledger_whatever_breaks(
    dsn: str, database: Database, server_dir: Path, seed: int
) -> None:
    server_dir.chmod(0o755)
    with ExitStack() as stack:
        other = open_ledger(stack, dsn)
        gathering = Gathering(other, seed)
        make_mishaps(dsn)
        line = stack.enter_context(TroubledLine(dsn, server_dir, seed))
        troubled = LedgerDoor(open_ledger(stack, line.dsn), timeout_s=1.0)
        harm = now_and_then(seed, (0.1, 0.5), lambda: end_connections(database))
        with line.troubled(), harm:
            gathering.at([troubled, troubled, LedgerDoor(other)], rounds=25)
    gathering.judge(dsn, SECRETS)
    gathering.expect_busy()


@pytest.mark.parametrize("failure", FAILURES)
def test_what_a_ledger_decided_on_a_batch_that_failed_is_decided_again(
    dsn: str, database: Database, server_dir: Path, failure: str
) -> None:
    """A registration is held while it is committed, everything that builds on it is asked for, it
    fails, and another process registers the same document."""
    server_dir.chmod(0o755)
    with ExitStack() as stack:
        line = stack.enter_context(TroubledLine(dsn, server_dir, SEED))
        ledger, other = open_ledger(stack, line.dsn), open_ledger(stack, dsn)
        gathering = Gathering(ledger, SEED)
        here, there = LedgerDoor(ledger), LedgerDoor(other)
        stumble = Stumble(database, "person_registered.v1", failure, line)
        stack.callback(stumble.close)
        register, opened, paid = (replace(w, key=w.kind) for w in gathering.newcomer())
        person = register.fields["person"]
        again = {"person": "P900", "document": register.fields["document"]}
        futures = gathering.ask(
            here, register, opened, paid, register,
            wish_of("erase", REGISTRAR, person=person),
            wish_of("withdraw", ASSISTANT, app=opened.fields["app"]),
            wish_of("erase", REGISTRAR, person=person),
            wish_of("open", ASSISTANT, **opened.fields | {"app": "A900"}),
            wish_of("register", ASSISTANT, **again),
        )  # fmt: skip
        wait_until(lambda: len(stumble.waiting()) == 1)
        elsewhere = wish_of("register", ASSISTANT, **again | {"person": "P901"})
        futures += gathering.ask(there, elsewhere)
        wait_until(lambda: len(stumble.waiting()) == 2)
        # Time for a writer that decides ahead to have done so; nothing depends on it.
        time.sleep(0.2)
        stumble.let_go()
        wait_for(futures, 60)
    gathering.judge(dsn, SECRETS)

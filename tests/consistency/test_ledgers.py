"""Histories of concurrent clients of one ledger, opened once or twice.

Covers: domain/service/ledger.py, domain/service/command_execution.py,
domain/service/state_cache.py
"""

from __future__ import annotations

import time
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from domain.service.ledger import Ledger, Ledgers
from tests.consistency.clients import LedgerEndpoint
from tests.consistency.concurrent_clients import new_request
from tests.consistency.faults import (
    FAILURES,
    FaultyProxy,
    HeldCommit,
    at_random_intervals,
    fail_transactions_at_random,
    terminate_connections,
)
from tests.consistency.scenario import Scenario
from tests.support.actors import ASSISTANT, REGISTRAR, REGULATOR
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SEED = 20261123


def open_ledger(stack: ExitStack, dsn: str) -> Ledger:
    """The ledger, with its own writer and state cache."""
    ledgers = Ledgers(dsn, SECRETS)
    stack.callback(ledgers.close)
    return ledgers.get("omc")


def test_a_history_of_one_ledger_is_serialisable(dsn: str) -> None:
    with ExitStack() as stack:
        ledger = open_ledger(stack, dsn)
        scenario = Scenario(ledger, SEED)
        scenario.run([LedgerEndpoint(ledger)], rounds=30)
    scenario.judge(dsn, SECRETS)
    scenario.expect_varied_outcomes()


def test_a_history_of_a_ledger_opened_twice_is_serialisable(dsn: str) -> None:
    with ExitStack() as stack:
        ledger, other = open_ledger(stack, dsn), open_ledger(stack, dsn)
        scenario = Scenario(ledger, SEED)
        scenario.run([LedgerEndpoint(ledger), LedgerEndpoint(other)], rounds=30)
    scenario.judge(dsn, SECRETS)
    scenario.expect_varied_outcomes()


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_a_history_with_random_faults_is_serialisable(
    dsn: str, database: Database, server_dir: Path, seed: int
) -> None:
    server_dir.chmod(0o755)
    with ExitStack() as stack:
        other = open_ledger(stack, dsn)
        scenario = Scenario(other, seed)
        fail_transactions_at_random(dsn)
        proxy = stack.enter_context(FaultyProxy(dsn, server_dir, seed))
        faults = LedgerEndpoint(open_ledger(stack, proxy.dsn), timeout_s=1.0)
        fault = at_random_intervals(seed, (0.1, 0.5), lambda: terminate_connections(database))
        with proxy.faults(), fault:
            scenario.run([faults, faults, LedgerEndpoint(other)], rounds=25)
    scenario.judge(dsn, SECRETS)
    scenario.expect_varied_outcomes()


@pytest.mark.parametrize("failure", FAILURES)
def test_commands_on_top_of_a_failed_batch_are_executed_again(
    dsn: str, database: Database, server_dir: Path, failure: str
) -> None:
    """The commit of a registration is held while commands that depend on it are queued; it fails,
    and another process registers the same document."""
    server_dir.chmod(0o755)
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultyProxy(dsn, server_dir, SEED))
        ledger, other = open_ledger(stack, proxy.dsn), open_ledger(stack, dsn)
        scenario = Scenario(ledger, SEED)
        here, there = LedgerEndpoint(ledger), LedgerEndpoint(other)
        held_commit = HeldCommit(database, "person_registered.v1", failure, proxy)
        stack.callback(held_commit.close)
        register, opened, paid = (replace(w, key=w.kind) for w in scenario.new_candidate())
        person = register.fields["person"]
        again = {"person": "P900", "document": register.fields["document"], "login": True}
        futures = scenario.ask(
            here, register, opened, paid, register,
            new_request("propose_erasure", REGISTRAR, person=person, proposal="E1"),
            new_request("confirm_erasure", REGULATOR, person=person, proposal="E1"),
            new_request("withdraw", ASSISTANT, app=opened.fields["app"]),
            new_request("propose_erasure", REGISTRAR, person=person, proposal="E1"),
            new_request("confirm_erasure", REGULATOR, person=person, proposal="E1"),
            new_request("open", ASSISTANT, **opened.fields | {"app": "A900"}),
            new_request("register", ASSISTANT, **again),
        )  # fmt: skip
        wait_until(lambda: len(held_commit.waiting()) == 1)
        foreign = new_request("register", ASSISTANT, **again | {"person": "P901"})
        futures += scenario.ask(there, foreign)
        wait_until(lambda: len(held_commit.waiting()) == 2)
        # Time for optimistic execution of the next batch; no check depends on it.
        time.sleep(0.2)
        held_commit.release()
        wait_for(futures, 60)
    scenario.judge(dsn, SECRETS)

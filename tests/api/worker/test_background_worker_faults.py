"""Killed at any moment, doubled or cut off from the database, workers do everything once.

Covers: api/worker/background_worker.py
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.processes.child import Child
from projections.worklist.view import EXTEND_NOTICE
from tests.projections.grammar import ProjectedLedger
from tests.support.background_workers import BATCH, UNGUARDED, working
from tests.support.postgres import Database
from tests.support.provisional_notices import opened
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

NOTICES = 24
LOCKED = "certledger work"
"""Name of the connection that holds the locks."""


class Case(NamedTuple):
    """A work, the topic of the fact that does it, and where that names the item."""

    work: str
    topic: str
    field: str


CORRECTIONS = Case(EXTEND_NOTICE, "public_notice_extended.v1", "notice_id")
SESSIONS = Case(UNGUARDED.name, "exam_session_scheduled.v1", "name")


@pytest.fixture(params=[CORRECTIONS, SESSIONS], ids=lambda case: case.work)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def fill(ledger: ProjectedLedger, count: int = NOTICES) -> None:
    ledger.write(*(opened(f"N{number}") for number in range(1, count + 1)))


def done(ledger: ProjectedLedger, case: Case) -> Counter[str]:
    """Item -> how often it was done."""
    sql = (
        "SELECT convert_from(envelope, 'UTF8')::json -> 'data' ->> %s FROM certledger.journal "
        "WHERE ledger = %s AND topic = %s"
    )
    return Counter(name for (name,) in ledger.execute(sql, (case.field, ledger.name, case.topic)))


def wait_for(ledger: ProjectedLedger, case: Case, count: int) -> None:
    wait_until(lambda: done(ledger, case).total() >= count)


def backends(database: Database) -> list[int]:
    sql = (
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = %s AND datname = current_database()"
    )
    return [pid for (pid,) in database.execute(sql, LOCKED, user=SUPERUSER)]


def assert_each_was_done_once(ledger: ProjectedLedger, case: Case, count: int = NOTICES) -> None:
    assert done(ledger, case) == {f"N{number}": 1 for number in range(1, count + 1)}
    if case is CORRECTIONS:
        wait_until(lambda: all(row["due_at"] is None for row in ledger.rows("worklist_items")))


def kill(worker: Child) -> None:
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.kill()


def test_a_worker_that_is_killed_again_and_again_repeats_nothing(
    ledger: ProjectedLedger, dsn: str, case: Case
) -> None:
    rng = random.Random(1)
    fill(ledger)
    lives = 0
    while (count := done(ledger, case).total()) < NOTICES:
        worker = working(dsn, case.work)
        try:
            wait_for(ledger, case, min(NOTICES, count + rng.randint(1, 3 * BATCH)))
            for _ in range(rng.randint(0, 20)):  # so many statements of ours later
                done(ledger, case)
        finally:
            kill(worker)
        lives += 1
    assert lives > 1
    assert_each_was_done_once(ledger, case)


def test_a_worker_that_is_killed_before_it_has_done_anything_loses_nothing(
    ledger: ProjectedLedger, dsn: str, database: Database, case: Case
) -> None:
    rng = random.Random(7)
    fill(ledger, 6)
    for _ in range(4):
        worker = working(dsn, case.work)
        wait_until(lambda: backends(database))
        for _ in range(rng.randint(0, 5)):
            done(ledger, case)
        kill(worker)
        wait_until(lambda: not backends(database))
    worker = working(dsn, case.work)
    try:
        wait_for(ledger, case, 6)
    finally:
        kill(worker)
    assert_each_was_done_once(ledger, case, 6)


def in_two_processes(
    ledger: ProjectedLedger, dsn: str, case: Case, disturb: Callable[[list[Child]], None]
) -> None:
    """Do everything in two processes; disturb them whenever some more is done."""
    rng = random.Random(11)
    fill(ledger)
    workers = [working(dsn, case.work), working(dsn, case.work)]
    try:
        while (count := done(ledger, case).total()) < NOTICES:
            wait_for(ledger, case, min(NOTICES, count + rng.randint(1, 3 * BATCH)))
            disturb(workers)
    finally:
        for worker in workers:
            kill(worker)
    assert_each_was_done_once(ledger, case)


def test_of_two_services_the_second_takes_over_and_repeats_nothing(
    ledger: ProjectedLedger, dsn: str, case: Case
) -> None:
    rng = random.Random(3)

    def kill_one(workers: list[Child]) -> None:
        kill(workers.pop(rng.randrange(2)))
        workers.append(working(dsn, case.work))

    in_two_processes(ledger, dsn, case, kill_one)


def test_a_lost_connection_gives_the_ledger_to_another_service_in_the_middle_of_its_work(
    ledger: ProjectedLedger, dsn: str, database: Database, case: Case
) -> None:
    """The first goes on with what it had submitted, while the second begins with the same."""
    lost: list[int] = []

    def cut_off(workers: list[Child]) -> None:
        for pid in backends(database):
            database.execute("SELECT pg_terminate_backend(%s)", pid, user=SUPERUSER)
            lost.append(pid)

    in_two_processes(ledger, dsn, case, cut_off)
    assert len(lost) > 2

"""Histories of concurrent writers: in one process, in several, and with faults.

Covers: domain/store/writer/group_commit.py, domain/store/writer/retry.py,
domain/store/journal/transaction.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest
from domain.store.tlog.audit import verify
from domain.store.writer.commands import BatchView, QueuedCommand
from domain.store.writer.group_commit import Committer
from tests.consistency.checker import check
from tests.consistency.database_oracle import read_stored
from tests.consistency.faults import (
    FAILURES,
    TERMINATED,
    FaultyProxy,
    HeldCommit,
    at_random_intervals,
    fail_transactions_at_random,
    terminate_connections,
)
from tests.consistency.history import Operation, Recorder, Refused, Replayed, Saw, Wrote, read_back
from tests.consistency.journal_invariants import expect_no_violations
from tests.consistency.store_clients import Client, StubStateCache, run_concurrently, submit
from tests.consistency.store_spec import Ask, StoreSpec
from tests.support.keys import add_buckets, journal_of
from tests.support.postgres import Database
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SEED = 20261123


@pytest.fixture
def dsn(dsn: str) -> str:
    """The database, with rows of bucket keys: these clients write keys that open nothing."""
    journal = journal_of(dsn, "omc")
    add_buckets(journal)
    journal.close()
    return dsn


def judge(operations: list[Operation], dsn: str) -> None:
    """Fail unless the history is strictly serialisable and has several outcomes of every kind."""
    expect_no_violations(check(operations, read_stored(dsn, "omc"), StoreSpec()))
    kinds = Counter(type(one.answer) for one in operations)
    assert all(kinds[kind] > 5 for kind in (Wrote, Replayed, Refused, Saw)), kinds
    journal = journal_of(dsn, "omc")
    assert verify(journal).is_good
    journal.close()


def open_committer(
    stack: ExitStack, dsn: str, *, batch_max: int = 512
) -> tuple[Committer, StubStateCache, Journal]:
    """A committer with a state cache and its own journal."""
    journal = journal_of(dsn, "omc")
    stack.callback(journal.close)
    cache = StubStateCache()
    committer = Committer(
        journal,
        cached_version=cache.cached_version,
        apply_committed=cache.apply_committed,
        batch_max=batch_max,
    )
    stack.callback(committer.close)
    return committer, cache, journal


@pytest.mark.parametrize("batch_max", [1, 3, 512])
def test_a_history_of_one_committer_is_serialisable(dsn: str, batch_max: int) -> None:
    recorder = Recorder()
    with ExitStack() as stack:
        committer, cache, journal = open_committer(stack, dsn, batch_max=batch_max)
        clients = [Client(f"c{n}", SEED, [(committer, cache)], journal, recorder) for n in range(6)]
        run_concurrently(clients, 30)
    judge(recorder.operations(), dsn)


def test_a_history_of_two_committers_is_serialisable(dsn: str) -> None:
    recorder = Recorder()
    with ExitStack() as stack:
        opened = [open_committer(stack, dsn, batch_max=4) for _ in range(2)]
        choice = [(committer, cache) for committer, cache, _ in opened]
        clients = [Client(f"c{n}", SEED, choice, opened[0][2], recorder) for n in range(6)]
        run_concurrently(clients, 30)
    judge(recorder.operations(), dsn)


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_a_history_with_random_faults_is_serialisable(
    dsn: str, database: Database, server_dir: Path, seed: int
) -> None:
    server_dir.chmod(0o755)
    fail_transactions_at_random(dsn)
    recorder = Recorder()
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultyProxy(dsn, server_dir, seed))
        faults = open_committer(stack, proxy.dsn, batch_max=5)
        healthy = open_committer(stack, dsn)
        choice = [faults[:2], faults[:2], faults[:2], healthy[:2]]
        clients = [
            Client(f"c{n}", seed, choice, healthy[2], recorder, (0.2, 1.0, 30.0)) for n in range(6)
        ]
        fault = at_random_intervals(seed, (0.1, 0.5), lambda: terminate_connections(database))
        with proxy.faults(), fault:
            run_concurrently(clients, 30)
    assert proxy.lost > 0
    judge(recorder.operations(), dsn)


class WriterPause:
    """Blocks a writer until released, so that it finds the commands queued meanwhile together."""

    def __init__(self, committer: Committer) -> None:
        self._released = threading.Event()
        committer.submit(QueuedCommand(self._execute))

    def _execute(self, _view: BatchView) -> AppendRequest:
        assert self._released.wait(60)
        return AppendRequest()

    def release(self) -> None:
        self._released.set()


@pytest.mark.parametrize("batch_max", [1, 4])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("foreign_key", ["key of foreign", "key of first"])
def test_commands_on_top_of_a_failed_batch_are_executed_again(
    dsn: str, database: Database, server_dir: Path, foreign_key: str, failure: str, batch_max: int
) -> None:
    """The commit of one batch is held while commands that depend on it are queued; it fails, and
    another process appends before the retry, perhaps the command that failed."""
    server_dir.chmod(0o755)
    recorder = Recorder()
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultyProxy(dsn, server_dir, SEED))
        held_commit = HeldCommit(database, "slow.v1", failure, proxy)
        stack.callback(held_commit.close)
        committer, cache, _ = open_committer(stack, proxy.dsn, batch_max=batch_max)
        foreign, foreign_cache, _ = open_committer(stack, dsn)
        pause = WriterPause(committer)

        def ask(mark: str, **given: Any) -> Future[Any]:
            writer = (foreign, foreign_cache) if mark == "foreign" else (committer, cache)
            given = {"writes": (("a", None),), "key": f"key of {mark}"} | given
            asked = submit(recorder, mark, *writer, Ask(mark, **given))
            assert asked is not None
            return asked

        futures = [ask("first", topic="slow.v1", **HELD), *dependent_commands(ask)]
        pause.release()
        wait_until(lambda: len(held_commit.waiting()) == 1)
        futures.append(ask("foreign", **HELD | {"key": foreign_key}))
        wait_until(lambda: len(held_commit.waiting()) == 2)
        # Time for optimistic execution of the next batch; no check depends on it.
        time.sleep(0.2)
        held_commit.release()
        wait_for(futures, 60)
    expect_no_violations(check(recorder.operations(), read_stored(dsn, "omc"), StoreSpec()))
    if failure != TERMINATED:
        assert database.execute("SELECT is_called FROM certledger.held_commits") == [(True,)]


NUMBER = ("number", "1")
HELD: dict[str, Any] = {"claims": (NUMBER,), "person": "p1"}


def dependent_commands(ask: Callable[..., Future[Any]]) -> list[Future[Any]]:
    """Commands whose outcomes depend on the first."""
    return [
        ask("other stream", key=None, writes=(("b", None),)),
        ask("again", topic="slow.v1", key="key of first", **HELD),
        ask("other", key="key of first", request=b"another"),
        ask("taken", claims=(NUMBER,)),
        ask("known", writes=(("a", 0),)),
        ask("on top", writes=(("a", 1),)),
        ask("sealed", person="p1"),
        ask("let go", releases=(NUMBER,)),
        ask("handed on", releases=(NUMBER,), claims=(NUMBER,)),
        ask("erased", person="p1", erase=True),
        ask("sealed later", person="p1"),
        *(ask(f"picky {n}", picky=True) for n in range(3)),
        ask("plain", writes=(("b", None), ("a", None))),
    ]


def writing(dsn: str, name: str, rounds: int, path: Path) -> subprocess.Popen[bytes]:
    """A process that writes."""
    arguments = [dsn, name, str(SEED), str(rounds), str(path)]
    command = [sys.executable, "-m", "tests.consistency.writer", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_history_of_three_processes_with_one_killed_is_serialisable(
    dsn: str, database: Database, tmp_path: Path
) -> None:
    fail_transactions_at_random(dsn)
    files = {name: tmp_path / name for name in ("one", "two", "killed")}
    processes = {
        name: writing(dsn, name, 1000 if name == "killed" else 25, path)
        for name, path in files.items()
    }
    # In the middle of its work, which is longer than that of the others.
    wait_until(lambda: files["killed"].exists() and len(read_back(files["killed"])) > 60, 90)
    processes["killed"].kill()
    codes = {name: process.wait(90) for name, process in processes.items()}
    assert codes == {"one": 0, "two": 0, "killed": -signal.SIGKILL}
    operations = [one for path in files.values() for one in read_back(path)]
    assert any(one.returned is None for one in operations)
    judge(operations, dsn)

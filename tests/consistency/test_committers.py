"""Histories of many writers through committers: in one process, in several, and with faults."""

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
    Stumble,
    TroubledLine,
    end_connections,
    make_mishaps,
    now_and_then,
)
from tests.consistency.history import Operation, Recorder, Refused, Replayed, Saw, Wrote, read_back
from tests.consistency.journal_invariants import expect_none
from tests.consistency.store_clients import Client, Owner, at_once, submit
from tests.consistency.store_spec import Ask, StoreSpec
from tests.support.postgres import Database
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SEED = 20261123


def judge(operations: list[Operation], dsn: str) -> None:
    """The history is one that the ledger may have, and it was not a dull one."""
    expect_none(check(operations, read_stored(dsn, "omc"), StoreSpec()))
    kinds = Counter(type(one.answer) for one in operations)
    assert all(kinds[kind] > 5 for kind in (Wrote, Replayed, Refused, Saw)), kinds
    journal = Journal(dsn, "omc")
    assert verify(journal).is_good
    journal.close()


def open_committer(
    stack: ExitStack, dsn: str, *, batch_max: int = 512
) -> tuple[Committer, Owner, Journal]:
    """A committer with an owner that holds states, and a journal of its own."""
    journal = Journal(dsn, "omc")
    stack.callback(journal.close)
    owner = Owner()
    committer = Committer(
        journal,
        cached_version=owner.cached_version,
        apply_committed=owner.apply_committed,
        batch_max=batch_max,
    )
    stack.callback(committer.close)
    return committer, owner, journal


@pytest.mark.parametrize("batch_max", [1, 3, 512])
def test_clients_of_one_committer_see_one_ledger(dsn: str, batch_max: int) -> None:
    recorder = Recorder()
    with ExitStack() as stack:
        committer, owner, journal = open_committer(stack, dsn, batch_max=batch_max)
        clients = [Client(f"c{n}", SEED, [(committer, owner)], journal, recorder) for n in range(6)]
        at_once(clients, 30)
    judge(recorder.operations(), dsn)


def test_clients_of_two_committers_see_one_ledger(dsn: str) -> None:
    recorder = Recorder()
    with ExitStack() as stack:
        opened = [open_committer(stack, dsn, batch_max=4) for _ in range(2)]
        choice = [(committer, owner) for committer, owner, _ in opened]
        clients = [Client(f"c{n}", SEED, choice, opened[0][2], recorder) for n in range(6)]
        at_once(clients, 30)
    judge(recorder.operations(), dsn)


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_clients_see_one_ledger_whatever_breaks(
    dsn: str, database: Database, server_dir: Path, seed: int
) -> None:
    server_dir.chmod(0o755)
    make_mishaps(dsn)
    recorder = Recorder()
    with ExitStack() as stack:
        line = stack.enter_context(TroubledLine(dsn, server_dir, seed))
        troubled = open_committer(stack, line.dsn, batch_max=5)
        beside = open_committer(stack, dsn)
        choice = [troubled[:2], troubled[:2], troubled[:2], beside[:2]]
        clients = [
            Client(f"c{n}", seed, choice, beside[2], recorder, (0.2, 1.0, 30.0)) for n in range(6)
        ]
        harm = now_and_then(seed, (0.1, 0.5), lambda: end_connections(database))
        with line.troubled(), harm:
            at_once(clients, 30)
    assert line.lost > 0
    judge(recorder.operations(), dsn)


class Gate:
    """Holds a writer until it is opened, so that it finds what was asked for meanwhile at once."""

    def __init__(self, committer: Committer) -> None:
        self._opened = threading.Event()
        committer.submit(QueuedCommand(self._run))

    def _run(self, _view: BatchView) -> AppendRequest:
        assert self._opened.wait(60)
        return AppendRequest()

    def open(self) -> None:
        self._opened.set()


@pytest.mark.parametrize("batch_max", [1, 4])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("foreign_key", ["key of foreign", "key of first"])
def test_what_was_decided_on_a_batch_that_failed_is_decided_again(
    dsn: str, database: Database, server_dir: Path, foreign_key: str, failure: str, batch_max: int
) -> None:
    """The commit of one batch is held, more is asked for that looks at it, it fails, and another
    process writes before it is tried again; maybe the very command that failed."""
    server_dir.chmod(0o755)
    recorder = Recorder()
    with ExitStack() as stack:
        line = stack.enter_context(TroubledLine(dsn, server_dir, SEED))
        stumble = Stumble(database, "slow.v1", failure, line)
        stack.callback(stumble.close)
        committer, owner, _ = open_committer(stack, line.dsn, batch_max=batch_max)
        foreign, foreign_owner, _ = open_committer(stack, dsn)
        gate = Gate(committer)

        def ask(mark: str, **given: Any) -> Future[Any]:
            writer = (foreign, foreign_owner) if mark == "foreign" else (committer, owner)
            given = {"writes": (("a", None),), "key": f"key of {mark}"} | given
            asked = submit(recorder, mark, *writer, Ask(mark, **given))
            assert asked is not None
            return asked

        futures = [ask("first", topic="slow.v1", **HELD), *looking_at_it(ask)]
        gate.open()
        wait_until(lambda: len(stumble.waiting()) == 1)
        futures.append(ask("foreign", **HELD | {"key": foreign_key}))
        wait_until(lambda: len(stumble.waiting()) == 2)
        # Time for a writer that decides ahead to have done so; nothing depends on it.
        time.sleep(0.2)
        stumble.let_go()
        wait_for(futures, 60)
    expect_none(check(recorder.operations(), read_stored(dsn, "omc"), StoreSpec()))
    if failure != TERMINATED:
        assert database.execute("SELECT is_called FROM certledger.stumbles") == [(True,)]


NUMBER = ("number", "1")
HELD: dict[str, Any] = {"claims": (NUMBER,), "person": "p1"}


def looking_at_it(ask: Callable[..., Future[Any]]) -> list[Future[Any]]:
    """Everything whose answer depends on what came of the first."""
    return [
        ask("beside", key=None, writes=(("b", None),)),
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


def test_processes_see_one_ledger_and_one_of_them_is_killed(
    dsn: str, database: Database, tmp_path: Path
) -> None:
    make_mishaps(dsn)
    files = {name: tmp_path / name for name in ("one", "two", "killed")}
    processes = {
        name: writing(dsn, name, 1000 if name == "killed" else 25, path)
        for name, path in files.items()
    }
    # In the middle of its work: it has more to do than the others.
    wait_until(lambda: files["killed"].exists() and len(read_back(files["killed"])) > 60, 90)
    processes["killed"].kill()
    codes = {name: process.wait(90) for name, process in processes.items()}
    assert codes == {"one": 0, "two": 0, "killed": -signal.SIGKILL}
    operations = [one for path in files.values() for one in read_back(path)]
    assert any(one.returned is None for one in operations)
    judge(operations, dsn)

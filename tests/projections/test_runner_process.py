"""The process that keeps the views: there is one as long as it is wanted, and none afterwards."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from projections.catalogue import VIEWS
from projections.engine.progress import ProgressTracker
from projections.runner_process import RunnerProcess
from tests.projections.engine.test_runner import ALL, backends
from tests.projections.grammar import Book
from tests.support.journeys import a_paid_application, an_open_ledger
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
RUNNER = "certledger view runner"

CALLER = """import sys, time
from projections.runner_process import RunnerProcess
from tests.support.ledgers import SECRETS
beside = RunnerProcess(sys.argv[1], SECRETS, "%(message)s")
beside.start()
while beside.pid is None:
    time.sleep(0.01)
print(beside.pid, flush=True)
time.sleep(600)"""


@contextmanager
def kept(dsn: str) -> Iterator[RunnerProcess]:
    beside = RunnerProcess(dsn, SECRETS, "%(message)s")
    beside.start()
    try:
        yield beside
    finally:
        beside.stop()


def wait_for_head(lookout: ProgressTracker, book: Book) -> None:
    head = book.journal.head().position
    for view in ALL:
        assert lookout.wait_for(book.ledger, view, head, timeout_seconds=30), view


def pid_of(beside: RunnerProcess, *former: int) -> int:
    wait_until(lambda: beside.pid not in (None, *former))
    assert beside.pid is not None
    return beside.pid


def is_gone(pid: int) -> bool:
    """Whether a process is no more; one that nobody has waited for yet is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_it_folds_and_everybody_else_hears_of_it(book: Book, dsn: str) -> None:
    book.told(a_paid_application())
    with kept(dsn) as beside, ProgressTracker(dsn, VIEWS, poll_seconds=60) as lookout:
        wait_for_head(lookout, book)
        assert pid_of(beside) != os.getpid()
        assert len(book.rows("refund_lines")) == 2


def test_however_often_it_is_killed_every_event_is_folded_once(book: Book, dsn: str) -> None:
    world = an_open_ledger()
    killed: list[int] = []
    with kept(dsn) as beside, ProgressTracker(dsn, VIEWS) as lookout:
        for number in range(1, 7):
            a_paid_application(number, world)
            book.told(world)
            if number % 2:
                wait_for_head(lookout, book)
            killed.append(pid_of(beside, *killed))
            os.kill(killed[-1], signal.SIGKILL)
        wait_for_head(lookout, book)
        assert is_gone(killed[-1])
    assert len(set(killed)) == 6
    assert len(book.rows("refund_lines")) == 12
    assert [row["entry_no"] for row in book.rows("postings", line=1)] == list(range(1, 7))


def test_it_is_said_how_one_ended(book: Book, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    with kept(dsn) as beside, caplog.at_level(logging.ERROR):
        first = pid_of(beside)
        os.kill(first, signal.SIGKILL)
        second = pid_of(beside, first)
        with ProgressTracker(dsn, VIEWS) as lookout:
            book.told(an_open_ledger())
            wait_for_head(lookout, book)  # from here on a signal finds it at work
        os.kill(second, signal.SIGTERM)
        pid_of(beside, first, second)
    assert [record.args[1:] for record in caplog.records] == [("signal 9",), ("exit code 0",)]


def test_when_it_is_no_longer_wanted_it_ends_and_none_follows(
    book: Book, dsn: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    book.told(a_paid_application())
    with kept(dsn) as beside, ProgressTracker(dsn, VIEWS) as lookout:
        wait_for_head(lookout, book)
        pid = pid_of(beside)
        assert len(backends(database, RUNNER)) == 1
    assert is_gone(pid)
    assert beside.pid is None
    wait_until(lambda: not backends(database, RUNNER))
    assert not caplog.records


def test_it_does_not_outlive_a_caller_that_is_killed(dsn: str, database: Database) -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, dsn],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    caller.stdout.close()
    wait_until(lambda: len(backends(database, RUNNER)) == 1)
    caller.kill()
    caller.wait()
    wait_until(lambda: is_gone(pid))
    wait_until(lambda: not backends(database, RUNNER))
    assert is_gone(pid)


def test_where_none_can_live_it_is_tried_again_and_stopping_does_not_wait(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    beside = RunnerProcess("postgresql://nobody@127.0.0.1:1/nowhere", SECRETS, "%(message)s")
    beside.start()
    wait_until(lambda: len(caplog.records) >= 2)
    begun = time.monotonic()
    beside.stop()
    assert time.monotonic() - begun < 10
    assert {record.args[1:] for record in caplog.records} == {("exit code 1",)}
    [line, *_] = capfd.readouterr().err.splitlines()
    assert line.startswith("certledger: a process beside the program failed: OperationalError(")

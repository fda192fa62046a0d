"""The supervised runner process: restarted when it exits, gone when the service is."""

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
from tests.projections.grammar import ProjectedLedger
from tests.support.journeys import a_paid_application, an_open_ledger
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
RUNNER = "certledger view runner"

CALLER = """import sys, time
from projections.runner_process import RunnerProcess
from tests.support.ledgers import SECRETS
runner = RunnerProcess(sys.argv[1], SECRETS, "%(message)s")
runner.start()
while runner.pid is None:
    time.sleep(0.01)
print(runner.pid, flush=True)
time.sleep(600)"""


@contextmanager
def supervised(dsn: str) -> Iterator[RunnerProcess]:
    runner = RunnerProcess(dsn, SECRETS, "%(message)s")
    runner.start()
    try:
        yield runner
    finally:
        runner.stop()


def wait_for_head(progress: ProgressTracker, ledger: ProjectedLedger) -> None:
    head = ledger.journal.head().position
    for view in ALL:
        assert progress.wait_until(ledger.name, view, head, timeout_seconds=30), view


def pid_of(runner: RunnerProcess, *former: int) -> int:
    wait_until(lambda: runner.pid not in (None, *former))
    assert runner.pid is not None
    return runner.pid


def is_gone(pid: int) -> bool:
    """Whether a process has exited, zombies included."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_it_folds_and_announces_its_progress(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(a_paid_application())
    with supervised(dsn) as runner, ProgressTracker(dsn, VIEWS, poll_seconds=60) as progress:
        wait_for_head(progress, ledger)
        assert pid_of(runner) != os.getpid()
        assert len(ledger.rows("refund_lines")) == 2


def test_every_event_is_folded_once_however_often_it_is_killed(
    ledger: ProjectedLedger, dsn: str
) -> None:
    world = an_open_ledger()
    killed: list[int] = []
    with supervised(dsn) as runner, ProgressTracker(dsn, VIEWS) as progress:
        for number in range(1, 7):
            a_paid_application(number, world)
            ledger.record(world)
            if number % 2:
                wait_for_head(progress, ledger)
            killed.append(pid_of(runner, *killed))
            os.kill(killed[-1], signal.SIGKILL)
        wait_for_head(progress, ledger)
        assert is_gone(killed[-1])
    assert len(set(killed)) == 6
    assert len(ledger.rows("refund_lines")) == 12
    assert [row["entry_no"] for row in ledger.rows("postings", line=1)] == list(range(1, 7))


def test_the_log_says_how_a_process_exited(
    ledger: ProjectedLedger, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with supervised(dsn) as runner, caplog.at_level(logging.ERROR):
        first = pid_of(runner)
        os.kill(first, signal.SIGKILL)
        second = pid_of(runner, first)
        with ProgressTracker(dsn, VIEWS) as progress:
            ledger.record(an_open_ledger())
            wait_for_head(progress, ledger)  # its signal handler is installed by now
        os.kill(second, signal.SIGTERM)
        pid_of(runner, first, second)
    assert [record.args[1] for record in caplog.records] == ["signal 9", "exit code 0"]


def test_it_exits_when_stopped_and_is_not_restarted(
    ledger: ProjectedLedger, dsn: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.record(a_paid_application())
    with supervised(dsn) as runner, ProgressTracker(dsn, VIEWS) as progress:
        wait_for_head(progress, ledger)
        pid = pid_of(runner)
        assert len(backends(database, RUNNER)) == 1
    assert is_gone(pid)
    assert runner.pid is None
    wait_until(lambda: not backends(database, RUNNER))
    assert not caplog.records


def test_it_exits_when_its_parent_is_killed(dsn: str, database: Database) -> None:
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


def test_a_process_that_fails_at_start_is_retried_and_stopping_does_not_wait(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    runner = RunnerProcess("postgresql://nobody@127.0.0.1:1/nowhere", SECRETS, "%(message)s")
    runner.start()
    wait_until(lambda: len(caplog.records) >= 2)
    begun = time.monotonic()
    runner.stop()
    assert time.monotonic() - begun < 10
    assert {record.args[1] for record in caplog.records} == {"exit code 1"}
    [line, *_] = capfd.readouterr().err.splitlines()
    assert line.startswith("certledger: a child process failed: OperationalError(")

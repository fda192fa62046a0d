"""Fault tests: acknowledged commands are recorded exactly once, whatever fails meanwhile.

Covers: domain/store/writer/retry.py, domain/store/writer/group_commit.py,
domain/store/journal/transaction.py, domain/store/eventsourcing_adapter/tailer.py
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from domain.store.embedded.server import EmbeddedPostgres
from domain.store.errors import OutcomeUnknown, Unavailable
from domain.store.eventsourcing_adapter.tailer import Listener, Tailer
from domain.store.journal.journal import Journal
from domain.store.postgres.migrate import migrate
from domain.store.tlog.audit import verify
from domain.store.writer.commands import Accepted, QueuedCommand, Replayed
from domain.store.writer.group_commit import Committer
from tests.store.cutting_proxy import Cut, CuttingProxy
from tests.store.drafts import append, command, next_event
from tests.support.keys import journal_of
from tests.support.postgres import Database

ROOT = Path(__file__).parents[2]


# --- the connection is lost after a COMMIT was sent ----------------------------------------------


def proxied(
    dsn: str, directory: Path, cut: Cut, *, refuse_afterwards: bool = False
) -> CuttingProxy:
    return CuttingProxy(dsn, directory, cut, refuse_afterwards=refuse_afterwards)


@pytest.mark.parametrize("cut", list(Cut), ids=lambda cut: cut.name.lower())
def test_a_commit_whose_response_is_lost_takes_effect_exactly_once(
    journal: Journal, server_dir: Path, cut: Cut
) -> None:
    server_dir.chmod(0o755)
    with proxied(journal.dsn, server_dir, cut) as proxy:
        through = journal_of(proxy.dsn, "omc")
        with Committer(through) as committer:
            futures = [committer.submit(next_event("a", f"k{n}")) for n in range(5)]
            answers = [future.result(60) for future in futures]
            assert proxy.has_cut.is_set()
            again = committer.submit(next_event("a", "k0")).result(60)
        through.close()
    assert all(isinstance(answer, Accepted) for answer in answers)
    stored = journal.read(0, 99)
    assert [event.version for event in stored] == [1, 2, 3, 4, 5]
    # The callers got exactly what is stored.
    assert [event for answer in answers for event in answer.recorded] == stored
    assert again == Replayed(b"at 1", command("k0").command_id, 1, 1)
    assert verify(journal).is_good


@pytest.mark.parametrize("cut", [Cut.AFTER_COMMIT, Cut.BEFORE_COMMIT])
def test_an_outcome_not_resolved_before_the_deadline_is_unknown(
    journal: Journal, server_dir: Path, cut: Cut
) -> None:
    server_dir.chmod(0o755)
    with proxied(journal.dsn, server_dir, cut, refuse_afterwards=True) as proxy:
        through = journal_of(proxy.dsn, "omc")
        with Committer(through) as committer:
            queued = next_event("a", "k")
            future = committer.submit(
                QueuedCommand(queued.execute, command=queued.command, timeout_seconds=1.0)
            )
            unknown = future.exception(60)
            assert isinstance(unknown, OutcomeUnknown)
            assert unknown.command_id == command("k").command_id
            late = QueuedCommand(next_event("b").execute, timeout_seconds=0.5)
            assert isinstance(committer.submit(late).exception(60), Unavailable)
            # The network is back: the same command, sent again, gets its answer.
            proxy.allow.set()
            answer = committer.submit(queued).result(60)
        through.close()
    committed = cut is Cut.AFTER_COMMIT
    assert isinstance(answer, Replayed if committed else Accepted)
    assert answer.receipt == b"at 1"
    assert [event.stream for event in journal.read(0, 9)] == ["a"]
    assert journal.command("li", "k") is not None


def test_a_transaction_whose_commit_response_is_lost_raises_outcome_unknown(
    journal: Journal, server_dir: Path
) -> None:
    server_dir.chmod(0o755)
    with proxied(journal.dsn, server_dir, Cut.AFTER_COMMIT) as proxy:
        through = journal_of(proxy.dsn, "omc")
        with pytest.raises(OutcomeUnknown), through.transaction() as transaction:
            transaction.append([append("a", 1)])
        through.close()
    assert journal.head().position == 1


# --- the server terminates the writer's connection ------------------------------------------------


def end_connections(database: Database, name: str) -> int:
    rows = database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = %s AND application_name LIKE %s",
        database.name,
        name,
        user="postgres",
    )
    return len(rows)


def test_a_command_is_executed_again_after_a_terminated_connection(
    journal: Journal, database: Database
) -> None:
    ended: list[int] = []

    def run(view) -> object:
        version = view.version("a") + 1
        if not ended:
            ended.append(end_connections(database, "% writer"))
        return append("a", version)

    with Committer(journal) as committer:
        answer = committer.submit(QueuedCommand(run)).result(60)
    assert ended == [1]
    assert answer.recorded == journal.read(0, 9)
    assert [event.version for event in journal.read(0, 9)] == [1]


def test_writers_survive_connections_terminated_at_random(
    journal: Journal, database: Database
) -> None:
    stop = threading.Event()

    def terminate_at_random() -> None:
        rng = random.Random(7)
        while not stop.wait(rng.uniform(0.01, 0.05)):
            end_connections(database, "certledger %er")

    fault_thread = threading.Thread(target=terminate_at_random)
    fault_thread.start()
    try:
        with Committer(journal) as committer:
            futures = []
            for n in range(300):
                futures.append(committer.submit(next_event(f"s{n % 7}", f"k{n}")))
                time.sleep(0.002)
            answers = [future.result(30) for future in futures]
    finally:
        stop.set()
        fault_thread.join()
    assert all(isinstance(answer, Accepted) for answer in answers)
    positions = sorted(event.position for answer in answers for event in answer.recorded)
    assert positions == list(range(1, 301))
    assert verify(journal).is_good


# --- the server is killed ------------------------------------------------------------------------


@pytest.fixture
def own_server(server_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, to be killed."""
    with EmbeddedPostgres(server_dir) as server:
        yield server


def kill(server: EmbeddedPostgres, how: signal.Signals) -> None:
    pid = server.pid()
    assert pid is not None
    os.kill(pid, how)
    deadline = time.monotonic() + 20
    while server.pid() is not None and time.monotonic() < deadline:
        time.sleep(0.05)


@contextmanager
def following(journal: Journal) -> Iterator[list[int]]:
    """Positions that a subscription receives while the block runs."""
    listener = Listener(journal.dsn)
    tailer = Tailer(journal, listener, poll_seconds=0.2)
    positions: list[int] = []

    def follow() -> None:
        for page in tailer.pages(0):
            positions.extend(event.position for event in page.events)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield positions
    finally:
        tailer.stop()
        follower.join(20)
        listener.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate", "kill-9"])
def test_everything_acknowledged_survives_a_killed_server(
    own_server: EmbeddedPostgres, how: signal.Signals
) -> None:
    migrate(own_server.dsn())
    journal = journal_of(own_server.dsn(), "omc")
    journal.create_ledger()
    futures: list[Future] = []
    with following(journal) as followed, Committer(journal) as committer:
        for round_ in range(3):
            for n in range(200):
                futures.append(committer.submit(next_event(f"s{n % 5}", f"k{round_}/{n}")))
                time.sleep(0.001)
                if n == 120:
                    kill(own_server, how)
                    own_server.start()
        answers = [future.result(100) for future in futures]
        stored = {event.position: event for event in journal.read(0, 9999)}
        deadline = time.monotonic() + 30
        while len(followed) < 600 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert len(stored) == 600
    for answer in answers:
        for event in answer.recorded:
            assert stored[event.position] == event
    assert followed == list(range(1, 601))
    assert verify(journal).is_good
    journal.close()


# --- several processes ---------------------------------------------------------------------------

WRITER = """
import sys
from domain.store.writer.group_commit import Committer
from tests.store.drafts import next_event
from tests.support.keys import journal_of

journal = journal_of(sys.argv[1], "omc")
with Committer(journal) as committer:
    shared = [committer.submit(next_event("shared", f"{sys.argv[2]}/{n}")) for n in range(300)]
    own = [committer.submit(next_event(sys.argv[2])) for n in range(300)]
    for future in shared + own:
        for event in future.result(60).recorded:
            print(event.position)
journal.close()
"""


@pytest.mark.slow
def test_processes_that_append_to_one_ledger_leave_no_gap_and_no_duplicate(
    journal: Journal, dsn: str
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, dsn, name], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for name in ("one", "two", "three")
    ]
    positions = [
        int(line) for process in processes for line in process.communicate(timeout=90)[0].split()
    ]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(positions) == list(range(1, 1801))
    assert len(journal.stream("shared")) == 900
    assert verify(journal).is_good

"""Group commit: many commands share a transaction, and each gets its own outcome.

Covers: domain/store/writer/group_commit.py, domain/store/writer/retry.py,
domain/store/writer/commands.py
"""

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import psycopg2
import pytest

from domain.store.errors import (
    ClaimTaken,
    Closed,
    DeadlineExceeded,
    IdempotencyKeyReused,
    NotCanonical,
    Overloaded,
    RejectedByDatabase,
    StaleStream,
    UnknownLedger,
)
from domain.store.journal.batch import Batch
from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest, RecordedEvent
from domain.store.tlog.audit import verify
from domain.store.writer.commands import Accepted, BatchView, QueuedCommand, Replayed
from domain.store.writer.group_commit import Committer
from tests.store.drafts import append, command, draft, next_event
from tests.support.keys import journal_of
from tests.support.postgres import Database


@pytest.fixture
def committer(journal: Journal) -> Iterator[Committer]:
    with Committer(journal) as committer:
        yield committer


class WriterPause:
    """Blocks the writer until released, so that the commands queued meanwhile form one batch."""

    def __init__(self, committer: Committer) -> None:
        self._released = threading.Event()
        entered = threading.Event()

        def run(_view: BatchView) -> AppendRequest:
            entered.set()
            assert self._released.wait(60)
            return AppendRequest()

        self._future = committer.submit(QueuedCommand(run))
        assert entered.wait(60)

    def release(self) -> None:
        self._released.set()
        self._future.result(60)


def in_one_batch(committer: Committer, *queued: QueuedCommand) -> list[Future]:
    """Submit commands so that one transaction executes them, and wait for all."""
    pause = WriterPause(committer)
    batches = committer.stats.batches
    futures = [committer.submit(each) for each in queued]
    pause.release()
    for future in futures:
        future.exception(60)
    assert committer.stats.batches - batches == 2
    return futures


def refusing(error: Exception) -> QueuedCommand:
    def run(_view: BatchView) -> AppendRequest:
        raise error

    return QueuedCommand(run)


def test_an_accepted_command_gets_its_events_and_its_receipt(committer: Committer) -> None:
    answer = committer.submit(next_event("a", "k")).result(60)
    assert isinstance(answer, Accepted)
    assert answer.receipt == b"at 1"
    assert [(e.position, e.stream, e.version) for e in answer.recorded] == [(1, "a", 1)]


def test_committed_batches_are_freed_without_the_garbage_collector(committer: Committer) -> None:
    def batches() -> int:
        return sum(type(each) is Batch for each in gc.get_objects())

    gc.collect()
    before = batches()  # of other tests
    gc.disable()
    try:
        for n in range(8):
            committer.submit(next_event("a", f"k{n}")).result(60)
        assert batches() - before <= 2  # the writer still refers to its last one
    finally:
        gc.enable()


def test_a_later_command_of_a_batch_sees_the_events_of_the_earlier_one(
    committer: Committer, journal: Journal
) -> None:
    read: list[list[int]] = []

    def execute(view: BatchView) -> AppendRequest:
        read.append([event.version for event in view.recorded("a")])
        assert view.position == 2
        assert view.claimed("n", "1") == 1
        return append("a", view.version("a") + 1)

    first = QueuedCommand(lambda view: append("a", 1, claims=(("n", "1"),)))
    in_one_batch(committer, first, next_event("a"), QueuedCommand(execute, streams=("a",)))
    assert read == [[1, 2]]
    assert [event.version for event in journal.stream("a")] == [1, 2, 3]


def test_a_refused_command_does_not_affect_the_others_of_its_batch(
    committer: Committer, journal: Journal
) -> None:
    committer.submit(next_event("taken")).result(60)
    refusals = {
        ValueError: refusing(ValueError("not allowed")),
        StaleStream: QueuedCommand(lambda _: append("a", 9)),
        ClaimTaken: QueuedCommand(lambda _: append("c", 1, claims=(("n", "1"),))),
        NotCanonical: QueuedCommand(lambda _: AppendRequest((draft("d", 1, price=1.5),))),
        ZeroDivisionError: QueuedCommand(
            lambda _: append("e", 1, receipt=lambda _: b"%d" % (1 // 0))
        ),
    }
    neighbours = [next_event("a", f"k{n}") for n in range(6)]
    queued = [QueuedCommand(lambda _: append("b", 1, claims=(("n", "1"),)))]
    for neighbour, refused in zip(neighbours, refusals.values(), strict=False):
        queued += [refused, neighbour]
    futures = in_one_batch(committer, *queued, neighbours[-1])
    assert [type(f.exception()) for f in futures[1:-1:2]] == list(refusals)
    assert [f.result().recorded[0].version for f in [*futures[2:-1:2], futures[-1]]] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert journal.head().position == 8
    assert verify(journal).is_good


@pytest.mark.parametrize(
    "bad", [next_event("b"), QueuedCommand(lambda _: AppendRequest((draft("e", 1, "\0"),)))]
)
def test_a_command_that_the_database_rejects_fails_alone(
    committer: Committer, journal: Journal, database: Database, bad: QueuedCommand
) -> None:
    database.execute("ALTER TABLE certledger.journal ADD CHECK (stream <> 'b')")
    committer.submit(next_event("a")).result(60)
    pause = WriterPause(committer)
    queued = [next_event("c"), bad, next_event("d", "k")]
    futures = [committer.submit(each) for each in queued]
    pause.release()
    assert isinstance(futures[0].result(60), Accepted)
    assert isinstance(futures[1].exception(60), RejectedByDatabase | ValueError)
    assert isinstance(futures[2].result(60), Accepted)
    assert [event.stream for event in journal.read(0, 9)] == ["a", "c", "d"]


# --- repeated commands ---------------------------------------------------------------------------


def test_a_repeated_command_gets_the_first_receipt(committer: Committer, journal: Journal) -> None:
    committer.submit(next_event("a", "k")).result(60)
    again = committer.submit(next_event("a", "k")).result(60)
    assert again == Replayed(b"at 1", command("k").command_id, 1, 1)
    assert journal.head().position == 1


def test_a_command_twice_in_one_batch_is_recorded_once(
    committer: Committer, journal: Journal
) -> None:
    first, second = in_one_batch(committer, next_event("a", "k"), next_event("a", "k"))
    assert isinstance(first.result(), Accepted)
    assert second.result() == Replayed(b"at 1", command("k").command_id, 1, 1)
    assert journal.head().position == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_a_key_that_was_used_for_another_request_is_refused(
    committer: Committer, journal: Journal, at_once: bool
) -> None:
    other = QueuedCommand(lambda _: append("b", 1), command=command("k", b"another request"))
    if at_once:
        _, future = in_one_batch(committer, next_event("a", "k"), other)
    else:
        committer.submit(next_event("a", "k")).result(60)
        future = committer.submit(other)
    assert isinstance(future.exception(60), IdempotencyKeyReused)
    assert journal.head().position == 1


def test_a_refused_command_may_be_tried_again_under_its_key(
    committer: Committer, journal: Journal
) -> None:
    refused = QueuedCommand(refusing(ValueError("not yet")).execute, command=command("k"))
    first, second = in_one_batch(committer, refused, next_event("a", "k"))
    assert isinstance(first.exception(), ValueError)
    assert isinstance(second.result(), Accepted)
    assert journal.command("li", "k") is not None


# --- read sets -----------------------------------------------------------------------------------


def test_a_command_may_read_more_than_its_read_set(committer: Committer, journal: Journal) -> None:
    committer.submit(QueuedCommand(lambda _: append("a", 1, 2, claims=(("n", "1"),)))).result(60)

    def execute(view: BatchView) -> AppendRequest:
        assert [event.version for event in view.recorded("a")] == [1, 2]
        assert (view.version("a"), view.version("b")) == (2, 0)
        assert (view.claimed("n", "1"), view.claimed("n", "2")) == (1, None)
        assert list(view.data_keys("person/p")) == []
        assert view.tracked("v") is None
        assert view.ledger == "omc"
        return append("b", 1)

    assert isinstance(committer.submit(QueuedCommand(execute)).result(60), Accepted)


def test_only_events_after_the_cached_version_are_read(journal: Journal) -> None:
    held: dict[str, int] = {}
    applied: list[list[int]] = []
    read: list[list[int]] = []

    def apply_committed(events: list[RecordedEvent]) -> None:
        held.update({event.stream: event.version for event in events})
        applied.append([event.position for event in events])

    def run(view: BatchView) -> AppendRequest:
        read.append([event.version for event in view.recorded("a")])
        return append("a", view.version("a") + 1)

    committer = Committer(
        journal, cached_version=lambda stream: held.get(stream, -1), apply_committed=apply_committed
    )
    with committer:
        for _ in range(2):
            committer.submit(QueuedCommand(run, streams=("a",))).result(60)
        with Committer(journal) as other:
            other.submit(next_event("a")).result(60)
        committer.submit(QueuedCommand(run, streams=("a",))).result(60)
    assert read == [[], [], [3]]
    assert applied == [[1], [2], [4]]


# --- limits --------------------------------------------------------------------------------------


def test_a_full_queue_refuses_at_once(journal: Journal) -> None:
    with Committer(journal, queue_max=3) as committer:
        pause = WriterPause(committer)
        futures = [committer.submit(next_event("a")) for _ in range(3)]
        with pytest.raises(Overloaded) as refusal:
            committer.submit(next_event("a"))
        assert refusal.value.waiting == committer.queue_length == 3
        pause.release()
        assert [future.result(60).recorded[0].version for future in futures] == [1, 2, 3]


def test_an_expired_command_is_not_executed(committer: Committer, journal: Journal) -> None:
    pause = WriterPause(committer)
    late = committer.submit(QueuedCommand(next_event("a").execute, timeout_seconds=0.05))
    in_time = committer.submit(next_event("b"))
    time.sleep(0.1)
    pause.release()
    assert isinstance(late.exception(60), DeadlineExceeded)
    in_time.result(60)
    assert [event.stream for event in journal.read(0, 9)] == ["b"]


def test_a_cancelled_command_is_not_executed(committer: Committer, journal: Journal) -> None:
    pause = WriterPause(committer)
    taken_back = committer.submit(next_event("a"))
    assert taken_back.cancel()
    pause.release()
    committer.submit(next_event("b")).result(60)
    assert [event.stream for event in journal.read(0, 9)] == ["b"]


def test_close_finishes_queued_commands_and_refuses_new_ones(journal: Journal) -> None:
    committer = Committer(journal)
    pause = WriterPause(committer)
    futures = [committer.submit(next_event("a")) for _ in range(20)]
    closing = threading.Thread(target=committer.close)
    closing.start()
    pause.release()
    closing.join(10)
    assert [future.result(60).recorded[0].version for future in futures] == list(range(1, 21))
    with pytest.raises(Closed):
        committer.submit(next_event("a"))


def test_an_unknown_ledger_is_refused(dsn: str) -> None:
    journal = journal_of(dsn, "nobody")
    with Committer(journal) as committer:
        assert isinstance(committer.submit(next_event("a")).exception(60), UnknownLedger)
    journal.close()


def test_a_failing_apply_committed_changes_no_outcome(journal: Journal) -> None:
    def fail(_events: list[RecordedEvent]) -> None:
        raise RuntimeError("a bug")

    with Committer(journal, apply_committed=fail) as committer:
        for _ in range(2):
            assert isinstance(committer.submit(next_event("a")).result(60), Accepted)


def test_an_exception_in_the_writer_fails_its_batch_and_the_thread_goes_on(
    journal: Journal,
) -> None:
    def fail(_stream: str) -> int:
        raise RuntimeError("a bug")

    with Committer(journal, cached_version=fail) as committer:
        for _ in range(2):
            future = committer.submit(next_event("a"))
            assert isinstance(future.exception(60), RuntimeError)
        assert isinstance(
            committer.submit(QueuedCommand(lambda _: append("b", 1))).result(60), Accepted
        )


def test_resolve_batch_gets_the_outcomes_of_a_whole_batch(journal: Journal) -> None:
    sizes: list[int] = []

    def resolve_batch(answers: list) -> None:
        sizes.append(len(answers))
        for future, answer in answers:
            future.set_result(answer)

    with Committer(journal, resolve_batch=resolve_batch) as committer:
        pause = WriterPause(committer)
        futures = [committer.submit(next_event("a")) for _ in range(5)]
        pause.release()
        assert all(isinstance(future.result(60), Accepted) for future in futures)
    assert sizes == [1, 5]


def test_a_lost_race_for_a_stream_between_writers_is_a_stale_stream(
    journal: Journal, database: Database
) -> None:
    with Committer(journal) as one, Committer(journal) as two:
        queued = [QueuedCommand(lambda _: append("a", 1)) for _ in range(2)]
        answers = [one.submit(queued[0]), two.submit(queued[1])]
        outcomes = sorted(type(f.exception(60) or f.result()).__name__ for f in answers)
    assert outcomes == ["Accepted", "StaleStream"]


def test_one_notification_is_sent_for_a_whole_batch(journal: Journal, database: Database) -> None:
    with (
        database.connect() as listening,
        listening.cursor() as cursor,
        Committer(journal) as committer,
    ):
        cursor.execute("LISTEN certledger")
        in_one_batch(committer, *[next_event("a") for _ in range(5)])
        deadline = time.monotonic() + 10
        while not listening.notifies and time.monotonic() < deadline:
            listening.poll()
            time.sleep(0.01)
        assert [notify.payload for notify in listening.notifies] == ["omc"]


def test_a_lock_timeout_is_retried(
    journal: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from domain.store.postgres import connection

    monkeypatch.setitem(connection._SETTINGS, "lock_timeout", "100ms")
    with (
        database.connect(autocommit=False) as holder,
        holder.cursor() as cursor,
        Committer(journal) as committer,
    ):
        cursor.execute("SELECT 1 FROM certledger.ledgers FOR UPDATE")
        future = committer.submit(next_event("a"))
        time.sleep(0.5)
        assert not future.done()
        holder.rollback()
        assert isinstance(future.result(60), Accepted)
        assert committer.stats.retries > 0


def test_a_broken_table_rejects_only_the_commands_that_need_it(
    journal: Journal, database: Database
) -> None:
    database.execute("REVOKE INSERT ON certledger.commands FROM certledger_app")
    with Committer(journal) as committer:
        good, bad = committer.submit(next_event("a")), committer.submit(next_event("b", "k"))
        assert isinstance(bad.exception(60), RejectedByDatabase)
        assert isinstance(bad.exception().__cause__, psycopg2.errors.InsufficientPrivilege)
        assert isinstance(good.result(60), Accepted)

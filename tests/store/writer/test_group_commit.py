"""Many commands share a transaction, and each gets its own answer."""

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
from tests.support.postgres import Database


@pytest.fixture
def committer(journal: Journal) -> Iterator[Committer]:
    with Committer(journal) as committer:
        yield committer


class Gate:
    """A job that holds the writer until opened, so that the jobs behind it form one batch."""

    def __init__(self, committer: Committer) -> None:
        self._opened = threading.Event()
        entered = threading.Event()

        def run(_view: BatchView) -> AppendRequest:
            entered.set()
            assert self._opened.wait(60)
            return AppendRequest()

        self._future = committer.submit(QueuedCommand(run))
        assert entered.wait(60)

    def open(self) -> None:
        self._opened.set()
        self._future.result(60)


def together(committer: Committer, *jobs: QueuedCommand) -> list[Future]:
    """Submit jobs so that they are decided in one transaction, and wait for all."""
    gate = Gate(committer)
    batches = committer.stats.batches
    futures = [committer.submit(job) for job in jobs]
    gate.open()
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


def test_what_a_batch_held_is_let_go_of_without_the_collector(committer: Committer) -> None:
    def batches() -> int:
        return sum(type(each) is Batch for each in gc.get_objects())

    gc.collect()
    before = batches()  # of other tests
    gc.disable()
    try:
        for n in range(8):
            committer.submit(next_event("a", f"k{n}")).result(60)
        assert batches() - before <= 2  # the writer has its last one in its hands
    finally:
        gc.enable()


def test_a_later_command_of_a_batch_sees_the_events_of_the_earlier_one(
    committer: Committer, journal: Journal
) -> None:
    seen: list[list[int]] = []

    def look(view: BatchView) -> AppendRequest:
        seen.append([event.version for event in view.recorded("a")])
        assert view.position == 2
        assert view.claimed("n", "1") == 1
        return append("a", view.version("a") + 1)

    first = QueuedCommand(lambda view: append("a", 1, claims=(("n", "1"),)))
    together(committer, first, next_event("a"), QueuedCommand(look, streams=("a",)))
    assert seen == [[1, 2]]
    assert [event.version for event in journal.stream("a")] == [1, 2, 3]


def test_a_refused_command_never_harms_its_neighbours(
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
    jobs = [QueuedCommand(lambda _: append("b", 1, claims=(("n", "1"),)))]
    for neighbour, refused in zip(neighbours, refusals.values(), strict=False):
        jobs += [refused, neighbour]
    futures = together(committer, *jobs, neighbours[-1])
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
def test_one_that_cannot_be_written_pays_alone(
    committer: Committer, journal: Journal, database: Database, bad: QueuedCommand
) -> None:
    database.execute("ALTER TABLE certledger.journal ADD CHECK (stream <> 'b')")
    committer.submit(next_event("a")).result(60)
    gate = Gate(committer)
    jobs = [next_event("c"), bad, next_event("d", "k")]
    futures = [committer.submit(job) for job in jobs]
    gate.open()
    assert isinstance(futures[0].result(60), Accepted)
    assert isinstance(futures[1].exception(60), RejectedByDatabase | ValueError)
    assert isinstance(futures[2].result(60), Accepted)
    assert [event.stream for event in journal.read(0, 9)] == ["a", "c", "d"]


# --- the same command again ----------------------------------------------------------------------


def test_the_same_command_again_gets_the_first_answer(
    committer: Committer, journal: Journal
) -> None:
    committer.submit(next_event("a", "k")).result(60)
    again = committer.submit(next_event("a", "k")).result(60)
    assert again == Replayed(b"at 1", command("k").command_id, 1, 1)
    assert journal.head().position == 1


def test_the_same_command_twice_in_one_batch_is_carried_out_once(
    committer: Committer, journal: Journal
) -> None:
    first, second = together(committer, next_event("a", "k"), next_event("a", "k"))
    assert isinstance(first.result(), Accepted)
    assert second.result() == Replayed(b"at 1", command("k").command_id, 1, 1)
    assert journal.head().position == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_a_key_that_was_used_for_another_request_is_refused(
    committer: Committer, journal: Journal, at_once: bool
) -> None:
    other = QueuedCommand(lambda _: append("b", 1), command=command("k", b"another request"))
    if at_once:
        _, future = together(committer, next_event("a", "k"), other)
    else:
        committer.submit(next_event("a", "k")).result(60)
        future = committer.submit(other)
    assert isinstance(future.exception(60), IdempotencyKeyReused)
    assert journal.head().position == 1


def test_a_refused_command_may_be_tried_again_under_its_key(
    committer: Committer, journal: Journal
) -> None:
    refused = QueuedCommand(refusing(ValueError("not yet")).execute, command=command("k"))
    first, second = together(committer, refused, next_event("a", "k"))
    assert isinstance(first.exception(), ValueError)
    assert isinstance(second.result(), Accepted)
    assert journal.command("li", "k") is not None


# --- what is not named beforehand is found all the same ------------------------------------------


def test_a_command_may_look_at_what_it_did_not_announce(
    committer: Committer, journal: Journal
) -> None:
    committer.submit(QueuedCommand(lambda _: append("a", 1, 2, claims=(("n", "1"),)))).result(60)

    def look(view: BatchView) -> AppendRequest:
        assert [event.version for event in view.recorded("a")] == [1, 2]
        assert (view.version("a"), view.version("b")) == (2, 0)
        assert (view.claimed("n", "1"), view.claimed("n", "2")) == (1, None)
        assert view.person_key("p") is None
        assert view.tracked("v") is None
        assert view.ledger == "omc"
        return append("b", 1)

    assert isinstance(committer.submit(QueuedCommand(look)).result(60), Accepted)


def test_an_owner_that_holds_a_state_is_given_the_later_events_only(journal: Journal) -> None:
    held: dict[str, int] = {}
    told: list[list[int]] = []
    seen: list[list[int]] = []

    def remember(events: list[RecordedEvent]) -> None:
        held.update({event.stream: event.version for event in events})
        told.append([event.position for event in events])

    def run(view: BatchView) -> AppendRequest:
        seen.append([event.version for event in view.recorded("a")])
        return append("a", view.version("a") + 1)

    committer = Committer(
        journal, cached_version=lambda stream: held.get(stream, -1), apply_committed=remember
    )
    with committer:
        for _ in range(2):
            committer.submit(QueuedCommand(run, streams=("a",))).result(60)
        with Committer(journal) as other:
            other.submit(next_event("a")).result(60)
        committer.submit(QueuedCommand(run, streams=("a",))).result(60)
    assert seen == [[], [], [3]]
    assert told == [[1], [2], [4]]


# --- limits --------------------------------------------------------------------------------------


def test_more_than_can_wait_is_refused_at_once(journal: Journal) -> None:
    with Committer(journal, queue_max=3) as committer:
        gate = Gate(committer)
        futures = [committer.submit(next_event("a")) for _ in range(3)]
        with pytest.raises(Overloaded) as refusal:
            committer.submit(next_event("a"))
        assert refusal.value.waiting == committer.queue_length == 3
        gate.open()
        assert [future.result(60).recorded[0].version for future in futures] == [1, 2, 3]


def test_a_command_whose_time_is_up_is_not_begun(committer: Committer, journal: Journal) -> None:
    gate = Gate(committer)
    late = committer.submit(QueuedCommand(next_event("a").execute, timeout_seconds=0.05))
    in_time = committer.submit(next_event("b"))
    time.sleep(0.1)
    gate.open()
    assert isinstance(late.exception(60), DeadlineExceeded)
    in_time.result(60)
    assert [event.stream for event in journal.read(0, 9)] == ["b"]


def test_a_command_its_sender_took_back_is_not_begun(
    committer: Committer, journal: Journal
) -> None:
    gate = Gate(committer)
    taken_back = committer.submit(next_event("a"))
    assert taken_back.cancel()
    gate.open()
    committer.submit(next_event("b")).result(60)
    assert [event.stream for event in journal.read(0, 9)] == ["b"]


def test_closing_finishes_what_waits_and_refuses_what_comes(journal: Journal) -> None:
    committer = Committer(journal)
    gate = Gate(committer)
    futures = [committer.submit(next_event("a")) for _ in range(20)]
    closing = threading.Thread(target=committer.close)
    closing.start()
    gate.open()
    closing.join(10)
    assert [future.result(60).recorded[0].version for future in futures] == list(range(1, 21))
    with pytest.raises(Closed):
        committer.submit(next_event("a"))


def test_a_ledger_that_was_not_made_is_named(dsn: str) -> None:
    journal = Journal(dsn, "nobody")
    with Committer(journal) as committer:
        assert isinstance(committer.submit(next_event("a")).exception(60), UnknownLedger)
    journal.close()


def test_an_owner_that_fails_does_not_make_what_was_recorded_unrecorded(journal: Journal) -> None:
    def fail(_events: list[RecordedEvent]) -> None:
        raise RuntimeError("a bug")

    with Committer(journal, apply_committed=fail) as committer:
        for _ in range(2):
            assert isinstance(committer.submit(next_event("a")).result(60), Accepted)


def test_a_bug_in_the_writer_is_heard_by_the_callers_and_stops_nothing(
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


def test_answers_can_be_delivered_by_the_batch(journal: Journal) -> None:
    delivered: list[int] = []

    def deliver(answers: list) -> None:
        delivered.append(len(answers))
        for future, answer in answers:
            future.set_result(answer)

    with Committer(journal, resolve_batch=deliver) as committer:
        gate = Gate(committer)
        futures = [committer.submit(next_event("a")) for _ in range(5)]
        gate.open()
        assert all(isinstance(future.result(60), Accepted) for future in futures)
    assert delivered == [1, 5]


def test_a_lost_race_for_a_stream_between_processes_is_told_to_the_loser(
    journal: Journal, database: Database
) -> None:
    with Committer(journal) as one, Committer(journal) as two:
        jobs = [QueuedCommand(lambda _: append("a", 1)) for _ in range(2)]
        answers = [one.submit(jobs[0]), two.submit(jobs[1])]
        outcomes = sorted(type(f.exception(60) or f.result()).__name__ for f in answers)
    assert outcomes == ["Accepted", "StaleStream"]


def test_one_notification_is_sent_for_a_whole_batch(journal: Journal, database: Database) -> None:
    with (
        database.connect() as listening,
        listening.cursor() as cursor,
        Committer(journal) as committer,
    ):
        cursor.execute("LISTEN certledger")
        together(committer, *[next_event("a") for _ in range(5)])
        deadline = time.monotonic() + 10
        while not listening.notifies and time.monotonic() < deadline:
            listening.poll()
            time.sleep(0.01)
        assert [notify.payload for notify in listening.notifies] == ["omc"]


def test_a_lock_that_is_held_too_long_is_waited_for(
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


def test_a_command_that_meets_a_broken_database_is_told_so(
    journal: Journal, database: Database
) -> None:
    database.execute("REVOKE INSERT ON certledger.commands FROM certledger_app")
    with Committer(journal) as committer:
        good, bad = committer.submit(next_event("a")), committer.submit(next_event("b", "k"))
        assert isinstance(bad.exception(60), RejectedByDatabase)
        assert isinstance(bad.exception().__cause__, psycopg2.errors.InsufficientPrivilege)
        assert isinstance(good.result(60), Accepted)

"""Optimistic execution: a batch executes while the preceding one is being committed.

Covers: domain/store/journal/transaction.py, domain/store/journal/read_cache.py,
domain/store/writer/group_commit.py
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from domain.store.errors import ClaimTaken
from domain.store.journal.journal import Journal
from domain.store.journal.read_cache import HeadConflict
from domain.store.journal.records import AppendRequest
from domain.store.journal.statements import ReadRequest
from domain.store.tlog.audit import verify
from domain.store.writer.commands import Accepted, BatchView, QueuedCommand, Replayed
from domain.store.writer.group_commit import Committer
from tests.store.drafts import append, command, data_key, next_event
from tests.support.keys import add_buckets, journal_of
from tests.support.postgres import Database


@pytest.fixture
def committer(journal: Journal) -> Iterator[Committer]:
    with Committer(journal, batch_max=1) as committer:
        committer.submit(next_event("before")).result(60)
        yield committer


@contextmanager
def head_locked(journal: Journal, *appends: AppendRequest) -> Iterator[None]:
    """Another writer holds the head lock, and appends these when the block ends."""
    other = journal_of(journal.dsn, journal.ledger)
    try:
        with other.transaction() as transaction:
            yield
            transaction.append(appends)
    finally:
        other.close()


def two_batches(
    committer: Committer, first: QueuedCommand, second: QueuedCommand
) -> tuple[Future, Future]:
    """Submit two commands as two batches: the second executes during the commit of the first."""
    with committer._changed:  # the writer takes nothing before both are queued
        return committer.submit(first), committer.submit(second)


def recording(
    calls: list[int], run: Callable[[BatchView], AppendRequest]
) -> tuple[QueuedCommand, threading.Event]:
    """A command that records the position of each execution, and an event set after the first."""
    decided = threading.Event()

    def recorded_run(view: BatchView) -> AppendRequest:
        calls.append(view.position)
        try:
            return run(view)
        finally:
            decided.set()

    return QueuedCommand(recorded_run, timeout_seconds=90), decided


def test_the_next_batch_executes_while_one_is_being_committed(
    committer: Committer, journal: Journal
) -> None:
    calls: list[int] = []
    second, decided = recording(calls, lambda view: append("a", view.version("a") + 1))
    with head_locked(journal):
        futures = two_batches(committer, next_event("a"), second)
        assert decided.wait(60)
        assert not futures[0].done()
        assert not futures[1].done()
    assert [f.result(60).recorded[0].position for f in futures] == [2, 3]
    assert calls == [2]  # on top of the batch in flight, and once
    assert [e.version for e in journal.stream("a")] == [1, 2]
    assert committer.stats.optimistic == 2


def test_a_batch_on_top_of_a_failed_one_is_executed_again(
    committer: Committer, journal: Journal
) -> None:
    calls: list[int] = []
    second, decided = recording(calls, lambda view: append("a", view.version("a") + 1))
    with head_locked(journal, append("foreign", 1)):
        futures = two_batches(committer, next_event("a"), second)
        assert decided.wait(60)
    assert [f.result(60).recorded[0].position for f in futures] == [3, 4]
    assert calls == [2, 3]
    assert [e.stream for e in journal.read(0, 9)] == ["before", "foreign", "a", "a"]
    assert verify(journal).is_good


def test_a_refusal_based_on_a_failed_batch_is_not_delivered(
    committer: Committer, journal: Journal
) -> None:
    """The first takes the claim only while stream `b` is empty; another writer appends to it."""

    def first(view: BatchView) -> AppendRequest:
        claims = () if view.version("b") else (("number", "1"),)
        return append("a", view.version("a") + 1, claims=claims)

    def takes_claim(view: BatchView) -> AppendRequest:
        return append("c", 1, claims=(("number", "1"),))

    second, decided = recording([], takes_claim)
    with head_locked(journal, append("b", 1)):
        futures = two_batches(committer, QueuedCommand(first, timeout_seconds=90), second)
        assert decided.wait(60)
        assert not futures[1].done()
    assert all(isinstance(f.result(60), Accepted) for f in futures)


def test_a_refusal_based_on_a_batch_in_flight_is_delivered_after_its_commit(
    committer: Committer, journal: Journal
) -> None:
    claim = (("number", "1"),)
    second, decided = recording([], lambda view: append("c", 1, claims=claim))
    with head_locked(journal):
        futures = two_batches(committer, next_event("a", claims=claim), second)
        assert decided.wait(60)
        assert not futures[1].done()
    assert isinstance(futures[0].result(60), Accepted)
    with pytest.raises(ClaimTaken) as refused:
        futures[1].result(60)
    assert refused.value.position == 2


def test_a_claim_released_by_one_batch_may_be_taken_by_the_next(
    committer: Committer, journal: Journal
) -> None:
    claim = (("number", "1"),)
    committer.submit(next_event("a", claims=claim)).result(60)
    with head_locked(journal):
        futures = two_batches(
            committer,
            QueuedCommand(lambda view: append("a", 2, releases=claim), timeout_seconds=90),
            next_event("b", claims=claim),
        )
    assert all(isinstance(f.result(60), Accepted) for f in futures)
    found = journal.query("SELECT position, released_position FROM certledger.claims ORDER BY 1")
    assert found == [(2, 3), (4, None)]


def test_a_command_repeated_during_its_commit_gets_the_first_receipt(
    committer: Committer, journal: Journal
) -> None:
    with head_locked(journal):
        futures = two_batches(committer, next_event("a", "k"), next_event("a", "k"))
    assert futures[0].result(60).receipt == b"at 2"
    assert futures[1].result(60) == Replayed(b"at 2", command("k").command_id, 2, 2)
    assert journal.head().position == 2


def test_a_person_being_erased_is_erased_for_the_next_batch(
    committer: Committer, journal: Journal
) -> None:
    add_buckets(journal)
    key = data_key("p")
    committer.submit(next_event("p", fresh_keys=(key,))).result(60)

    def seal(view: BatchView) -> AppendRequest:
        [found] = view.data_keys("person/p")
        if found.wrapped is None:
            raise LookupError("the key was destroyed")
        return append("p", view.version("p") + 1)

    second, decided = recording([], seal)
    with head_locked(journal):
        futures = two_batches(
            committer, next_event("p", destroy_keys=(("person/p", "identity"),)), second
        )
        assert decided.wait(60)
    assert isinstance(futures[0].result(60), Accepted)
    assert isinstance(futures[1].exception(60), LookupError)


def test_a_stream_is_complete_whether_its_last_events_are_committed_or_pending(
    journal: Journal,
) -> None:
    """The same read, before and after the commit of the preceding batch."""
    with journal.optimistic_batch(ReadRequest(), None) as one:
        one.batch.accept(append("a", 1, 2))
    seen: list[list[list[int]]] = []

    def read_streams() -> None:
        with journal.optimistic_batch(ReadRequest(streams={"a": 0}), one.batch) as two:
            view = BatchView(two, lambda _stream: 0)
            parts = (view.committed("a"), view.pending("a"), view.recorded("a"))
            seen.append([[event.version for event in part] for part in parts])
            assert (view.version("a"), view.position) == (2, 2)

    read_streams()
    journal.commit_optimistic(one.batch)
    read_streams()
    assert seen == [[[], [1, 2], [1, 2]], [[1, 2], [], [1, 2]]]


def test_an_optimistic_batch_writes_nothing_after_a_head_conflict(
    journal: Journal,
) -> None:
    with journal.optimistic_batch(ReadRequest(versions=("a",)), None) as optimistic:
        optimistic.batch.accept(append("a", 1, claims=(("n", "1"),)), command("k"))
    with journal.transaction() as transaction:
        transaction.append([append("b", 1)])
    with pytest.raises(HeadConflict):
        journal.commit_optimistic(optimistic.batch)
    assert [event.stream for event in journal.read(0, 9)] == ["b"]
    assert journal.command("li", "k") is None
    with journal.transaction() as transaction:
        assert transaction.claim(("n", "1")) is None


@pytest.mark.parametrize("size", [1, 40])
def test_a_batch_of_any_size_is_refused_or_written_as_a_whole(journal: Journal, size: int) -> None:
    with (
        journal.optimistic_batch(ReadRequest(), None) as first,
        journal.optimistic_batch(ReadRequest(), None) as second,
    ):
        for n in range(size):
            first.batch.accept(append(f"a{n}", 1), command(f"a{n}"))
            second.batch.accept(append(f"b{n}", 1), command(f"b{n}"))
    journal.commit_optimistic(first.batch)
    with pytest.raises(HeadConflict):
        journal.commit_optimistic(second.batch)
    assert [event.stream for event in journal.read(0, 99)] == [f"a{n}" for n in range(size)]
    assert verify(journal).is_good


def test_a_later_read_on_another_head_is_a_conflict(journal: Journal) -> None:
    with pytest.raises(HeadConflict), journal.optimistic_batch(ReadRequest(), None) as optimistic:
        assert optimistic.last_version("a") is None
        with journal.transaction() as transaction:
            transaction.append([append("b", 1)])
        optimistic.last_version("b")


def test_contending_writers_take_the_lock_until_they_are_alone_again(
    committer: Committer, journal: Journal
) -> None:
    with head_locked(journal, append("foreign", 1)):
        lost = two_batches(committer, next_event("a"), next_event("a"))
        while committer.queue_length:
            threading.Event().wait(0.001)
    assert [f.result(60).recorded[0].position for f in lost] == [3, 4]
    under_lock = committer.stats.batches - committer.stats.optimistic
    for _ in range(4):
        for future in two_batches(committer, next_event("a"), next_event("a")):
            future.result(60)
    assert committer.stats.batches - committer.stats.optimistic <= under_lock + 1
    assert [e.version for e in journal.stream("a")] == list(range(1, 11))


def test_claims_and_keys_change_with_an_event_only(journal: Journal) -> None:
    with journal.transaction() as transaction:
        for changes in (
            AppendRequest(claims=(("n", "1"),)),
            AppendRequest(releases=(("n", "1"),)),
            AppendRequest(destroy_keys=(("person/p", "identity"),)),
            AppendRequest(fresh_keys=(data_key("p"),)),
        ):
            with pytest.raises(ValueError, match="with an event"):
                transaction.accept(changes)
    assert journal.query("SELECT 1 FROM certledger.claims") == []


def test_a_batch_lost_with_its_connection_is_executed_again_with_the_next_one(
    committer: Committer, journal: Journal, database: Database
) -> None:
    """The server ends the first connection while it waits for the lock; both execute again."""
    second, decided = recording([], lambda view: append("a", view.version("a") + 1))
    with head_locked(journal):
        futures = two_batches(committer, next_event("a"), second)
        assert decided.wait(60)
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND wait_event_type = 'Lock'",
            database.name,
            user="postgres",
        )
    assert [f.result(60).recorded[0].position for f in futures] == [2, 3]
    assert [event.stream for event in journal.read(0, 9)] == ["before", "a", "a"]
    assert verify(journal).is_good


def test_the_claims_of_a_conflicting_batch_are_not_taken(journal: Journal) -> None:
    claims = tuple(("number", str(n)) for n in range(40))
    with journal.optimistic_batch(ReadRequest(), None) as optimistic:
        optimistic.batch.accept(append("a", 1, claims=claims))
    with journal.transaction() as transaction:
        transaction.append([append("b", 1)])
    with pytest.raises(HeadConflict):
        journal.commit_optimistic(optimistic.batch)
    assert journal.query("SELECT 1 FROM certledger.claims") == []

"""A batch is decided while the one before it is being committed, and stands or falls with it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from domain.store.errors import ClaimTaken, PersonErased
from domain.store.journal.journal import Journal
from domain.store.journal.read_cache import HeadConflict
from domain.store.journal.records import AppendRequest, PersonKey
from domain.store.journal.statements import ReadRequest
from domain.store.tlog.audit import verify
from domain.store.writer.commands import Accepted, BatchView, QueuedCommand, Replayed
from domain.store.writer.group_commit import Committer
from tests.store.drafts import append, command, next_event
from tests.support.postgres import Database


@pytest.fixture
def committer(journal: Journal) -> Iterator[Committer]:
    with Committer(journal, batch_max=1) as committer:
        committer.submit(next_event("before")).result(60)
        yield committer


@contextmanager
def holding_the_head(journal: Journal, *appends: AppendRequest) -> Iterator[None]:
    """Another writer, who appends these when the block ends."""
    other = Journal(journal.dsn, journal.ledger)
    try:
        with other.transaction() as transaction:
            yield
            transaction.append(appends)
    finally:
        other.close()


def one_after_the_other(
    committer: Committer, first: QueuedCommand, second: QueuedCommand
) -> tuple[Future, Future]:
    """Each is a batch, and the second waits when the first is decided: it is during its commit."""
    with committer._changed:  # nothing is taken before both are there
        return committer.submit(first), committer.submit(second)


def noting(
    calls: list[int], run: Callable[[BatchView], AppendRequest]
) -> tuple[QueuedCommand, threading.Event]:
    """A job that notes the position it is decided at, and an event set once it was decided."""
    decided = threading.Event()

    def noted(view: BatchView) -> AppendRequest:
        calls.append(view.position)
        try:
            return run(view)
        finally:
            decided.set()

    return QueuedCommand(noted, timeout_seconds=90), decided


def test_the_next_batch_is_decided_while_one_is_being_committed(
    committer: Committer, journal: Journal
) -> None:
    calls: list[int] = []
    second, decided = noting(calls, lambda view: append("a", view.version("a") + 1))
    with holding_the_head(journal):
        futures = one_after_the_other(committer, next_event("a"), second)
        assert decided.wait(60)
        assert not futures[0].done()
        assert not futures[1].done()
    assert [f.result(60).recorded[0].position for f in futures] == [2, 3]
    assert calls == [2]  # on top of what was on its way, and once
    assert [e.version for e in journal.stream("a")] == [1, 2]
    assert committer.stats.optimistic == 2


def test_what_was_decided_on_top_of_a_lost_batch_is_decided_anew(
    committer: Committer, journal: Journal
) -> None:
    calls: list[int] = []
    second, decided = noting(calls, lambda view: append("a", view.version("a") + 1))
    with holding_the_head(journal, append("foreign", 1)):
        futures = one_after_the_other(committer, next_event("a"), second)
        assert decided.wait(60)
    assert [f.result(60).recorded[0].position for f in futures] == [3, 4]
    assert calls == [2, 3]
    assert [e.stream for e in journal.read(0, 9)] == ["before", "foreign", "a", "a"]
    assert verify(journal).is_good


def test_nobody_hears_of_a_refusal_whose_reason_was_lost(
    committer: Committer, journal: Journal
) -> None:
    """The first takes the claim only as long as stream `b` is empty, which a stranger changes."""

    def first(view: BatchView) -> AppendRequest:
        claims = () if view.version("b") else (("number", "1"),)
        return append("a", view.version("a") + 1, claims=claims)

    def wants_it(view: BatchView) -> AppendRequest:
        return append("c", 1, claims=(("number", "1"),))

    second, decided = noting([], wants_it)
    with holding_the_head(journal, append("b", 1)):
        futures = one_after_the_other(committer, QueuedCommand(first, timeout_seconds=90), second)
        assert decided.wait(60)
        assert not futures[1].done()
    assert all(isinstance(f.result(60), Accepted) for f in futures)


def test_a_refusal_for_what_is_being_committed_is_told_once_it_is(
    committer: Committer, journal: Journal
) -> None:
    claim = (("number", "1"),)
    second, decided = noting([], lambda view: append("c", 1, claims=claim))
    with holding_the_head(journal):
        futures = one_after_the_other(committer, next_event("a", claims=claim), second)
        assert decided.wait(60)
        assert not futures[1].done()
    assert isinstance(futures[0].result(60), Accepted)
    with pytest.raises(ClaimTaken) as refused:
        futures[1].result(60)
    assert refused.value.position == 2


def test_a_claim_let_go_by_one_batch_may_be_taken_by_the_next(
    committer: Committer, journal: Journal
) -> None:
    claim = (("number", "1"),)
    committer.submit(next_event("a", claims=claim)).result(60)
    with holding_the_head(journal):
        futures = one_after_the_other(
            committer,
            QueuedCommand(lambda view: append("a", 2, releases=claim), timeout_seconds=90),
            next_event("b", claims=claim),
        )
    assert all(isinstance(f.result(60), Accepted) for f in futures)
    found = journal.query("SELECT position, released_position FROM certledger.claims ORDER BY 1")
    assert found == [(2, 3), (4, None)]


def test_a_command_sent_again_while_it_is_committed_gets_the_one_answer(
    committer: Committer, journal: Journal
) -> None:
    with holding_the_head(journal):
        futures = one_after_the_other(committer, next_event("a", "k"), next_event("a", "k"))
    assert futures[0].result(60).receipt == b"at 2"
    assert futures[1].result(60) == Replayed(b"at 2", command("k").command_id, 2, 2)
    assert journal.head().position == 2


def test_a_person_being_erased_is_erased_for_the_next_batch(
    committer: Committer, journal: Journal
) -> None:
    key = PersonKey("p", "aes-256-gcm", "1", b"wrapped")
    committer.submit(next_event("p", fresh_keys=(key,))).result(60)

    def seal(view: BatchView) -> AppendRequest:
        found = view.person_key("p")
        assert found is not None
        if found.wrapped is None:
            raise PersonErased(person="p")
        return append("p", view.version("p") + 1)

    second, decided = noting([], seal)
    with holding_the_head(journal):
        futures = one_after_the_other(committer, next_event("p", destroy_keys=("p",)), second)
        assert decided.wait(60)
    assert isinstance(futures[0].result(60), Accepted)
    assert isinstance(futures[1].exception(60), PersonErased)


def test_a_stream_is_whole_whether_its_last_events_are_committed_or_on_their_way(
    journal: Journal,
) -> None:
    """The same question, before and after the commit of the batch it builds on."""
    with journal.optimistic_batch(ReadRequest(), None) as one:
        one.batch.accept(append("a", 1, 2))
    seen: list[list[list[int]]] = []

    def look() -> None:
        with journal.optimistic_batch(ReadRequest(streams={"a": 0}), one.batch) as two:
            view = BatchView(two, lambda _stream: 0)
            parts = (view.committed("a"), view.pending("a"), view.recorded("a"))
            seen.append([[event.version for event in part] for part in parts])
            assert (view.version("a"), view.position) == (2, 2)

    look()
    journal.commit_optimistic(one.batch)
    look()
    assert seen == [[[], [1, 2], [1, 2]], [[1, 2], [], [1, 2]]]


def test_a_batch_decided_ahead_writes_nothing_where_somebody_else_has_written(
    journal: Journal,
) -> None:
    with journal.optimistic_batch(ReadRequest(versions=("a",)), None) as ahead:
        ahead.batch.accept(append("a", 1, claims=(("n", "1"),)), command("k"))
    with journal.transaction() as transaction:
        transaction.append([append("b", 1)])
    with pytest.raises(HeadConflict):
        journal.commit_optimistic(ahead.batch)
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


def test_what_is_asked_later_must_belong_to_the_same_head(journal: Journal) -> None:
    with pytest.raises(HeadConflict), journal.optimistic_batch(ReadRequest(), None) as ahead:
        assert ahead.last_version("a") is None
        with journal.transaction() as transaction:
            transaction.append([append("b", 1)])
        ahead.last_version("b")


def test_writers_of_two_processes_wait_for_the_lock_and_go_ahead_again_when_alone(
    committer: Committer, journal: Journal
) -> None:
    with holding_the_head(journal, append("foreign", 1)):
        lost = one_after_the_other(committer, next_event("a"), next_event("a"))
        while committer.queue_length:
            threading.Event().wait(0.001)
    assert [f.result(60).recorded[0].position for f in lost] == [3, 4]
    under_lock = committer.stats.batches - committer.stats.optimistic
    for _ in range(4):
        for future in one_after_the_other(committer, next_event("a"), next_event("a")):
            future.result(60)
    assert committer.stats.batches - committer.stats.optimistic <= under_lock + 1
    assert [e.version for e in journal.stream("a")] == list(range(1, 11))


def test_claims_and_keys_change_with_an_event_only(journal: Journal) -> None:
    with journal.transaction() as transaction:
        for changes in (
            AppendRequest(claims=(("n", "1"),)),
            AppendRequest(releases=(("n", "1"),)),
            AppendRequest(destroy_keys=("p",)),
            AppendRequest(fresh_keys=(PersonKey("p", "aes-256-gcm", "1", b"w"),)),
        ):
            with pytest.raises(ValueError, match="with an event"):
                transaction.accept(changes)
    assert journal.query("SELECT 1 FROM certledger.claims") == []


def test_a_batch_lost_with_its_connection_takes_the_next_one_with_it(
    committer: Committer, journal: Journal, database: Database
) -> None:
    """The first is ended by the server while it waits for the lock; both are decided anew."""
    second, decided = noting([], lambda view: append("a", view.version("a") + 1))
    with holding_the_head(journal):
        futures = one_after_the_other(committer, next_event("a"), second)
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


def test_many_claims_of_one_event_are_taken_with_it_or_not_at_all(journal: Journal) -> None:
    claims = tuple(("number", str(n)) for n in range(40))
    with journal.optimistic_batch(ReadRequest(), None) as ahead:
        ahead.batch.accept(append("a", 1, claims=claims))
    with journal.transaction() as transaction:
        transaction.append([append("b", 1)])
    with pytest.raises(HeadConflict):
        journal.commit_optimistic(ahead.batch)
    assert journal.query("SELECT 1 FROM certledger.claims") == []

"""A subscription delivers every event once, in order, whatever happens to its connections."""

import threading
import time
from collections.abc import Iterator

import pytest

from domain.store.eventsourcing_adapter.tailer import Listener, Tailer
from domain.store.journal.journal import Journal
from domain.store.journal.records import AppendRequest
from domain.store.postgres.connection import Connection, connect
from domain.store.writer.group_commit import Committer
from tests.store.drafts import append, draft, next_event
from tests.support.keys import journal_of
from tests.support.postgres import Database


@pytest.fixture
def listener(dsn: str) -> Iterator[Listener]:
    listener = Listener(dsn)
    yield listener
    listener.close()


class Follower:
    """A tailer in a background thread."""

    def __init__(self, journal: Journal, listener: Listener, *, poll_seconds: float = 30.0) -> None:
        self.tailer = Tailer(journal, listener, limit=10, poll_seconds=poll_seconds)
        self.received: list[int] = []
        self.position = 0
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for page in self.tailer.pages(0):
            self.received.extend(event.position for event in page.events)
            self.position = page.position

    def wait_for(self, position: int, timeout_seconds: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self.position < position and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.received == list(range(1, position + 1))

    def stop(self) -> None:
        self.tailer.stop()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def follower(journal: Journal, listener: Listener) -> Iterator[Follower]:
    """It polls so rarely that only notifications can deliver in time."""
    follower = Follower(journal, listener)
    yield follower
    follower.stop()


def write(journal: Journal, *appends: AppendRequest) -> None:
    with journal.transaction() as transaction:
        transaction.append(appends)


def wait_until_connected(listener: Listener) -> None:
    deadline = time.monotonic() + 10
    while not listener.is_connected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert listener.is_connected


def test_existing_and_new_events_are_delivered(journal: Journal, follower: Follower) -> None:
    write(journal, append("a", *range(1, 26)))
    follower.wait_for(25)
    write(journal, append("b", 1))
    follower.wait_for(26)


def test_a_slow_transaction_never_makes_a_reader_skip(
    journal: Journal, follower: Follower, listener: Listener
) -> None:
    wait_until_connected(listener)
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        with journal.transaction() as transaction:
            transaction.append([append("slow", 1)])
            begun.set()
            assert go_on.wait(60)

    def quickly() -> None:
        write(journal, append("quick", 1))

    slow = threading.Thread(target=slowly)
    slow.start()
    assert begun.wait(60)
    quick = threading.Thread(target=quickly)
    quick.start()
    time.sleep(0.3)
    # The later one has no position yet: it cannot overtake.
    assert journal.head().position == 0
    assert follower.received == []
    go_on.set()
    slow.join(60)
    quick.join(60)
    follower.wait_for(2)
    assert [event.stream for event in journal.read(0, 9)] == ["slow", "quick"]


def test_readers_see_positions_without_gaps_while_two_writers_append(
    journal: Journal, listener: Listener
) -> None:
    followers = [Follower(journal, listener) for _ in range(3)]
    with Committer(journal) as one, Committer(journal) as two:
        futures = [
            committer.submit(next_event(f"s{n % 9}"))
            for n in range(400)
            for committer in (one, two)
        ]
        for future in futures:
            future.result(30)
    for follower in followers:
        follower.wait_for(800)
        follower.stop()


def test_an_event_between_the_first_read_and_listen_is_delivered(
    journal: Journal, dsn: str
) -> None:
    # The event comes after the first read and before LISTEN is active; a subscription that relied
    # on notifications alone would sleep until the next one.
    def connect_later(dsn: str) -> Connection:
        assert may_listen.wait(60)
        return connect(dsn)

    may_listen = threading.Event()
    listener = Listener(dsn, open_connection=connect_later)
    follower = Follower(journal, listener)
    time.sleep(0.2)
    write(journal, append("a", 1))
    time.sleep(0.2)
    assert follower.received == []
    may_listen.set()
    follower.wait_for(1, timeout_seconds=5)
    follower.stop()
    listener.close()


def test_new_events_arrive_by_polling_when_notifications_do_not(
    journal: Journal, database: Database
) -> None:
    # NOTIFY reaches the connections of its own database only.
    other_database = database.server.dsn(database="postgres")
    listener = Listener(other_database, open_connection=lambda dsn: connect(dsn, role=None))
    follower = Follower(journal, listener, poll_seconds=0.1)
    wait_until_connected(listener)
    generation = listener.generation("omc")
    write(journal, append("a", 1))
    follower.wait_for(1, timeout_seconds=5)
    assert listener.generation("omc") == generation
    follower.stop()
    listener.close()


def test_a_killed_listening_connection_is_reopened(
    journal: Journal, follower: Follower, listener: Listener, database: Database
) -> None:
    for version in range(1, 4):
        wait_until_connected(listener)
        killed = database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND application_name = 'certledger listener'",
            database.name,
            user="postgres",
        )
        assert len(killed) == 1
        write(journal, append("a", version))
        follower.wait_for(version)


def test_a_subscription_to_rare_topics_advances_past_other_topics(
    journal: Journal, listener: Listener
) -> None:
    write(journal, AppendRequest(tuple(draft("a", n, topic="often.v1") for n in range(1, 30))))
    tailer = Tailer(journal, listener, limit=10)
    page = tailer.page(0, ("rare.v1",))
    assert (page.events, page.position) == ([], 29)
    write(
        journal, AppendRequest((draft("a", 30, topic="rare.v1"), draft("a", 31, topic="often.v1")))
    )
    page = tailer.page(page.position, ("rare.v1",))
    assert [event.position for event in page.events] == [30]
    assert page.position == 31
    full = Tailer(journal, listener, limit=3).page(0, ("often.v1",))
    assert ([event.position for event in full.events], full.position) == ([1, 2, 3], 3)
    assert tailer.page(31).position == 31


def test_a_waiting_subscription_stops_at_once(journal: Journal, listener: Listener) -> None:
    follower = Follower(journal, listener)
    time.sleep(0.2)
    began = time.monotonic()
    follower.stop()
    assert time.monotonic() - began < 1.0


def test_a_notification_wakes_only_the_subscriptions_of_its_ledger(
    journal: Journal, listener: Listener, dsn: str
) -> None:
    other = journal_of(dsn, "other")
    other.create_ledger()
    wait_until_connected(listener)
    before, before_other = listener.generation("omc"), listener.generation("other")
    write(other, append("a", 1))
    listener.wait("other", before_other, 10)
    assert listener.generation("other") == before_other + 1
    assert listener.generation("omc") == before
    other.close()

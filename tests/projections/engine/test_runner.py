"""The runner: follows, waits, reconnects, stands by, and never folds an event twice."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.postgres.connection import connect
from projections.catalogue import VIEWS
from projections.engine.health import ViewState, view_states
from projections.engine.ledger_projector import Superseded
from projections.engine.progress import ProgressTracker
from projections.engine.runner import Runner
from projections.engine.view import View
from projections.rebuild.rebuild import replace
from tests.projections.grammar import Book
from tests.support.journeys import a_paid_application, an_open_book, reported_certificates
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

ALL = tuple(view.name for view in VIEWS)


@dataclass(frozen=True)
class Watched:
    """A runner, and how far the views are as another process would know it."""

    runner: Runner
    lookout: ProgressTracker
    dsn: str
    views: Sequence[View]

    def wait_for(self, ledger: str, view: str, position: int, timeout_seconds: float) -> bool:
        return self.lookout.wait_for(ledger, view, position, timeout_seconds)

    def view_states(self) -> list[ViewState]:
        with closing(connect(self.dsn)) as connection, connection.cursor() as cursor:
            return view_states(cursor, self.views)


@contextmanager
def running(dsn: str, views: Sequence[View] = VIEWS, **options: object) -> Iterator[Watched]:
    options = {"rebuild": partial(replace, processes=1), "poll_seconds": 0.5} | options
    runner = Runner(dsn, SECRETS, views, **options)
    # Only what a runner tells is heard in time.
    with ProgressTracker(dsn, views, poll_seconds=60) as lookout, runner:
        yield Watched(runner, lookout, dsn, views)


def wait_for_all(watched: Watched, book: Book, position: int) -> None:
    for view in ALL:
        assert watched.wait_for(book.ledger, view, position, timeout_seconds=10), view


def backends(database: Database, name: str) -> list[int]:
    sql = (
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = %s AND datname = current_database()"
    )
    return [pid for (pid,) in database.execute(sql, name, user=SUPERUSER)]


def terminate(database: Database, name: str) -> None:
    """Break every connection of that name, as a failing network would."""
    for pid in backends(database, name):
        database.execute("SELECT pg_terminate_backend(%s)", pid, user=SUPERUSER)


def test_what_was_recorded_before_it_started_is_folded(book: Book, dsn: str) -> None:
    book.told(reported_certificates())
    with running(dsn) as watched:
        wait_for_all(watched, book, book.journal.head().position)
        assert book.row("certificates", kind="national")["progress"] == "reported"


def test_a_write_can_be_read_at_once_without_polling(book: Book, dsn: str) -> None:
    with running(dsn, poll_seconds=30) as watched:
        wait_until(lambda: watched.runner.is_connected)
        time.sleep(0.3)
        world = an_open_book()
        book.told(world)
        began = time.monotonic()
        wait_for_all(watched, book, 2)
        a_paid_application(1, world)
        book.told(world)
        wait_for_all(watched, book, book.journal.head().position)
        assert time.monotonic() - began < 2
        assert len(book.rows("refund_lines")) == 2


def test_positions_pass_events_that_a_view_ignores(book: Book, dsn: str) -> None:
    book.told(an_open_book())
    with running(dsn) as watched:
        assert watched.wait_for("omc", "refund_ledger", 2, timeout_seconds=10)


def test_waiting_for_what_never_comes_ends_in_time(book: Book, dsn: str) -> None:
    with running(dsn) as watched:
        began = time.monotonic()
        assert not watched.wait_for("omc", "score_board", 99, timeout_seconds=0.2)
        assert time.monotonic() - began < 2


def test_a_ledger_made_later_is_found(open_book: Callable[..., Book], dsn: str) -> None:
    first = open_book("omc")
    with running(dsn, poll_seconds=30) as watched:
        wait_until(lambda: watched.runner.is_connected)
        second = open_book("zju")
        second.told(a_paid_application())
        wait_for_all(watched, second, second.journal.head().position)
        assert len(second.rows("refund_lines")) == 2
        assert first.rows("refund_lines") == []


@pytest.mark.parametrize(
    "broken", ["certledger view listener", "certledger view runner", "certledger view lookout"]
)
def test_a_broken_connection_is_made_again(
    book: Book, dsn: str, database: Database, broken: str
) -> None:
    world = an_open_book()
    book.told(world)
    with running(dsn) as watched:
        wait_for_all(watched, book, 2)
        assert backends(database, broken)
        terminate(database, broken)
        a_paid_application(1, world)
        book.told(world)
        wait_for_all(watched, book, book.journal.head().position)
        assert len(book.rows("refund_lines")) == 2
        assert all(state.lag == 0 for state in watched.view_states())


def test_a_lost_notification_costs_no_more_than_a_poll(book: Book, dsn: str) -> None:
    with running(dsn, poll_seconds=0.3) as watched:
        wait_until(lambda: watched.runner.is_connected)
        watched.runner._ear.stop()
        book.told(a_paid_application())
        wait_for_all(watched, book, book.journal.head().position)


def test_what_no_runner_told_is_seen_at_the_next_look(book: Book, dsn: str) -> None:
    with ProgressTracker(dsn, VIEWS, poll_seconds=0.3) as lookout:
        assert not lookout.wait_for("omc", "score_board", 7, timeout_seconds=0.1)
        book.execute("INSERT INTO certledger.tracking VALUES ('omc', 'score_board', 7)")
        assert lookout.wait_for("omc", "score_board", 7, timeout_seconds=10)
        assert not lookout.wait_for("omc", "score_board", 8, timeout_seconds=0.1)


def test_of_two_runners_one_folds_and_the_other_hears_of_it_and_takes_over(
    book: Book, dsn: str
) -> None:
    world = an_open_book()
    with running(dsn) as first:
        book.told(world)
        wait_for_all(first, book, 2)
        with running(dsn) as second:
            a_paid_application(1, world)
            book.told(world)
            head = book.journal.head().position
            wait_for_all(second, book, head)
            assert first.runner.followed == {"omc"}
            assert second.runner.followed == set()
            first.runner.stop()
            a_paid_application(2, world)
            book.told(world)
            wait_for_all(second, book, book.journal.head().position)
            assert second.runner.followed == {"omc"}
            assert len(book.rows("refund_lines")) == 4


def test_many_runners_without_a_lock_between_them_still_fold_every_event_once(
    book: Book, dsn: str
) -> None:
    """Followers on connections of their own, as if every advisory lock had been lost."""
    world = an_open_book()
    for n in range(1, 9):
        a_paid_application(n, world)
    book.told(world)
    head = book.journal.head().position
    others = [Book(dsn) for _ in range(3)]

    def follow(own: Book) -> None:
        follower = own.follower(batch=3)
        while own.position("refund_ledger") < head:
            try:
                follower.advance(own.connection, own.targets())
            except Superseded:
                follower.look(own.connection, own.views)

    threads = [threading.Thread(target=follow, args=(own,)) for own in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for own in others:
        own.close()
    assert len(book.rows("refund_lines")) == 16
    assert [r["entry_no"] for r in book.rows("postings", line=1)] == list(range(1, 9))


def test_states_tell_how_far_every_view_is(book: Book, dsn: str) -> None:
    book.told(an_open_book())
    with running(dsn) as watched:
        wait_for_all(watched, book, 2)
        states = watched.view_states()
    assert [(s.ledger, s.view, s.position, s.head, s.lag, s.state) for s in states] == [
        ("omc", view, 2, 2, 0, "following") for view in sorted(ALL)
    ]

"""The runner follows, reconnects, takes over from another, and never folds an event twice.

Covers: projections/engine/progress.py, projections/engine/health.py,
projections/engine/generations.py, projections/engine/journal_reader.py,
projections/engine/vaults.py
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from domain.store.embedded.server import SUPERUSER
from domain.store.postgres.connection import connect
from domain.store.privacy.key_renewal import KeyRenewal
from projections.catalogue import VIEWS
from projections.engine.health import ViewState, view_states
from projections.engine.ledger_projector import Superseded
from projections.engine.progress import ProgressTracker
from projections.engine.runner import Runner
from projections.engine.view import View
from projections.rebuild.rebuild import replace
from tests.projections.grammar import ProjectedLedger
from tests.support import tampering
from tests.support.journeys import a_paid_application, an_open_ledger, reported_certificates
from tests.support.keys import SEALER
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

ALL = tuple(view.name for view in VIEWS)


@dataclass(frozen=True)
class Watched:
    """A runner, and the progress of the views as another process sees it."""

    runner: Runner
    progress: ProgressTracker
    dsn: str
    views: Sequence[View]

    def wait_until(self, ledger: str, view: str, position: int, timeout_seconds: float) -> bool:
        return self.progress.wait_until(ledger, view, position, timeout_seconds)

    def view_states(self) -> list[ViewState]:
        with closing(connect(self.dsn)) as connection, connection.cursor() as cursor:
            return view_states(cursor, self.views)


@contextmanager
def running(dsn: str, views: Sequence[View] = VIEWS, **options: object) -> Iterator[Watched]:
    options = {"rebuild": partial(replace, processes=1), "poll_seconds": 0.5} | options
    runner = Runner(dsn, SECRETS, views, **options)
    # It polls so rarely that only notifications arrive in time.
    with ProgressTracker(dsn, views, poll_seconds=60) as progress, runner:
        yield Watched(runner, progress, dsn, views)


def wait_for_all(watched: Watched, ledger: ProjectedLedger, position: int) -> None:
    for view in ALL:
        assert watched.wait_until(ledger.name, view, position, timeout_seconds=10), view


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


def test_events_recorded_before_the_start_are_folded(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(reported_certificates())
    with running(dsn) as watched:
        wait_for_all(watched, ledger, ledger.journal.head().position)
        assert ledger.row("certificates", kind="national")["progress"] == "reported"


def test_a_write_can_be_read_at_once_without_polling(ledger: ProjectedLedger, dsn: str) -> None:
    with running(dsn, poll_seconds=30) as watched:
        wait_until(lambda: watched.runner.is_connected)
        time.sleep(0.3)
        world = an_open_ledger()
        ledger.record(world)
        began = time.monotonic()
        wait_for_all(watched, ledger, 2)
        a_paid_application(1, world)
        ledger.record(world)
        wait_for_all(watched, ledger, ledger.journal.head().position)
        assert time.monotonic() - began < 2
        assert len(ledger.rows("refund_lines")) == 2


def test_positions_advance_past_events_that_a_view_ignores(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.record(an_open_ledger())
    with running(dsn) as watched:
        assert watched.wait_until("omc", "refund_ledger", 2, timeout_seconds=10)


def test_waiting_for_a_position_that_is_never_reached_times_out(
    ledger: ProjectedLedger, dsn: str
) -> None:
    with running(dsn) as watched:
        began = time.monotonic()
        assert not watched.wait_until("omc", "score_board", 99, timeout_seconds=0.2)
        assert time.monotonic() - began < 2


def test_a_ledger_created_later_is_found(
    open_ledger: Callable[..., ProjectedLedger], dsn: str
) -> None:
    first = open_ledger("omc")
    with running(dsn, poll_seconds=30) as watched:
        wait_until(lambda: watched.runner.is_connected)
        second = open_ledger("zju")
        second.record(a_paid_application())
        wait_for_all(watched, second, second.journal.head().position)
        assert len(second.rows("refund_lines")) == 2
        assert first.rows("refund_lines") == []


@pytest.mark.parametrize(
    "broken", ["certledger view listener", "certledger view runner", "certledger view progress"]
)
def test_a_broken_connection_is_reopened(
    ledger: ProjectedLedger, dsn: str, database: Database, broken: str
) -> None:
    world = an_open_ledger()
    ledger.record(world)
    with running(dsn) as watched:
        wait_for_all(watched, ledger, 2)
        assert backends(database, broken)
        terminate(database, broken)
        a_paid_application(1, world)
        ledger.record(world)
        wait_for_all(watched, ledger, ledger.journal.head().position)
        assert len(ledger.rows("refund_lines")) == 2
        assert all(state.lag == 0 for state in watched.view_states())


def test_a_lost_notification_costs_no_more_than_a_poll(ledger: ProjectedLedger, dsn: str) -> None:
    with running(dsn, poll_seconds=0.3) as watched:
        wait_until(lambda: watched.runner.is_connected)
        watched.runner._listener.stop()
        ledger.record(a_paid_application())
        wait_for_all(watched, ledger, ledger.journal.head().position)


def test_unannounced_progress_is_found_by_the_next_poll(ledger: ProjectedLedger, dsn: str) -> None:
    with ProgressTracker(dsn, VIEWS, poll_seconds=0.3) as progress:
        assert not progress.wait_until("omc", "score_board", 7, timeout_seconds=0.1)
        ledger.execute("INSERT INTO certledger.tracking VALUES ('omc', 'score_board', 7)")
        assert progress.wait_until("omc", "score_board", 7, timeout_seconds=10)
        assert not progress.wait_until("omc", "score_board", 8, timeout_seconds=0.1)


def test_a_view_under_an_epoch_whose_key_is_lost_is_rebuilt(
    ledger: ProjectedLedger, database: Database
) -> None:
    """The rows of its bucket keys have come under the next epoch by then."""
    ledger.record(a_paid_application())
    keys = SECRETS.epoch_keys
    [(key_id, end)] = database.execute("SELECT key_id, ends_at FROM certledger.epochs")
    with closing(connect(database.dsn, name="test")) as connection:
        KeyRenewal(keys, SECRETS.algorithm, SEALER).round(connection, end - timedelta(days=1))
    with tampering.superuser(database) as cursor:
        cursor.execute("UPDATE certledger.epochs SET made_at = now() - interval '1 hour'")
    [lost] = [path for path in keys.files() if path.name == f"epoch_1_{key_id}"]
    lost.unlink()
    under = "SELECT DISTINCT epoch FROM views.generations WHERE epoch IS NOT NULL"
    assert database.execute(under) == [(1,)]
    with running(database.dsn) as watched:
        wait_for_all(watched, ledger, ledger.journal.head().position)
        wait_until(lambda: database.execute(under) == [(2,)], 30)
        wait_until(lambda: all(state.state == "following" for state in watched.view_states()), 30)


def test_a_second_runner_stands_by_and_takes_over(ledger: ProjectedLedger, dsn: str) -> None:
    world = an_open_ledger()
    with running(dsn) as first:
        ledger.record(world)
        wait_for_all(first, ledger, 2)
        with running(dsn) as second:
            a_paid_application(1, world)
            ledger.record(world)
            head = ledger.journal.head().position
            wait_for_all(second, ledger, head)
            assert first.runner.claimed_ledgers == {"omc"}
            assert second.runner.claimed_ledgers == set()
            first.runner.stop()
            a_paid_application(2, world)
            ledger.record(world)
            wait_for_all(second, ledger, ledger.journal.head().position)
            assert second.runner.claimed_ledgers == {"omc"}
            assert len(ledger.rows("refund_lines")) == 4


def test_many_runners_without_a_lock_between_them_still_fold_every_event_once(
    ledger: ProjectedLedger, dsn: str
) -> None:
    """Projectors on separate connections, as if every advisory lock had been lost."""
    world = an_open_ledger()
    for n in range(1, 9):
        a_paid_application(n, world)
    ledger.record(world)
    head = ledger.journal.head().position
    others = [ProjectedLedger(dsn) for _ in range(3)]

    def follow(own: ProjectedLedger) -> None:
        projector = own.projector(batch=3)
        while own.position("refund_ledger") < head:
            try:
                projector.advance(own.connection, own.targets())
            except Superseded:
                projector.reload_positions(own.connection, own.views)

    threads = [threading.Thread(target=follow, args=(own,)) for own in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for own in others:
        own.close()
    assert len(ledger.rows("refund_lines")) == 16
    assert [r["entry_no"] for r in ledger.rows("postings", line=1)] == list(range(1, 9))


def test_states_report_position_head_and_lag_of_every_view(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.record(an_open_ledger())
    with running(dsn) as watched:
        wait_for_all(watched, ledger, 3)
        states = watched.view_states()
    assert [(s.ledger, s.view, s.position, s.head, s.lag, s.state) for s in states] == [
        ("omc", view, 3, 3, 0, "following") for view in sorted(ALL)
    ]

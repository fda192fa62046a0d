"""A failover to a standby: nothing changes if it lost nothing, everything stops if it did.

Covers: domain/store/journal/last_seen.py, domain/service/guards.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from domain.service.ledger import Ledger, Ledgers
from domain.store.errors import LogNotContinued
from domain.store.postgres.migrate import migrate
from tests.support.commands import introduce_key, open_ledger
from tests.support.ledgers import SECRETS, SITE_CODE, submit
from tests.support.standby import Pair, primary_and_standby


@pytest.fixture
def pair(server_dir: Path) -> Iterator[Pair]:
    """A primary and a standby that follows it."""
    with primary_and_standby(server_dir / "p", server_dir / "s") as pair:
        migrate(pair.dsn)
        yield pair


@contextmanager
def process(pair: Pair) -> Iterator[Ledger]:
    """The ledger as one process has it."""
    ledgers = Ledgers(pair.dsn, SECRETS)
    try:
        yield ledgers.create("omc", SITE_CODE)
    finally:
        ledgers.close()


def introduce(ledger: Ledger, *keys: str) -> list[int]:
    """Introduce a key under each request. Returns: the version of the stream after each."""
    return [submit(ledger, introduce_key(f"{int(key):08x}"), key=key).version for key in keys]


def versions(ledger: Ledger) -> list[int]:
    return [event.version for event in ledger.journal.stream("ledger")]


def test_a_synchronous_failover_loses_nothing_and_the_service_goes_on(pair: Pair) -> None:
    with process(pair) as ledger:
        pair.make_synchronous()
        submit(ledger, open_ledger(), key="open")
        before = introduce(ledger, "1", "2")[-1]
        pair.fail_over()
        assert introduce(ledger, "3") == [before + 1]
        assert versions(ledger) == list(range(1, before + 2))
        assert ledger.guard.stopped is None


def test_an_asynchronous_failover_that_lost_events_stops_the_ledger(pair: Pair) -> None:
    with process(pair) as ledger:
        submit(ledger, open_ledger(), key="open")
        kept = introduce(ledger, "1")[-1]
        pair.wait_for_standby()
        pair.standby.stop()
        introduce(ledger, "2", "3")
        assert ledger.state("ledger").version == kept + 2
        pair.fail_over()
        for key in ("4", "5"):
            with pytest.raises(LogNotContinued):
                introduce(ledger, key)
        assert versions(ledger) == list(range(1, kept + 1))
        assert ledger.state("ledger").version == kept
        assert "was seen" in str(ledger.guard.stopped)
    with process(pair) as ledger:
        assert introduce(ledger, "6") == [kept + 1]


def test_events_of_another_process_do_not_hide_what_was_lost(pair: Pair) -> None:
    with process(pair) as ledger, process(pair) as other:
        submit(ledger, open_ledger(), key="open")
        kept = introduce(ledger, "1")[-1]
        pair.wait_for_standby()
        pair.standby.stop()
        introduce(ledger, "2")
        pair.fail_over()
        assert introduce(other, "7", "8", "9") == [kept + 1, kept + 2, kept + 3]
        with pytest.raises(LogNotContinued):
            introduce(ledger, "4")
        assert versions(other) == list(range(1, kept + 4))


def test_a_process_that_writes_nothing_notices_the_loss_too(pair: Pair) -> None:
    with process(pair) as ledger, process(pair) as other:
        submit(ledger, open_ledger(), key="open")
        pair.wait_for_standby()
        pair.standby.stop()
        introduce(ledger, "1")
        other.check_history()
        pair.fail_over()
        other.check_history()
        assert other.guard.stopped is not None


def test_a_repeated_request_whose_record_is_gone_is_refused(pair: Pair) -> None:
    with process(pair) as ledger:
        submit(ledger, open_ledger(), key="open")
        pair.wait_for_standby()
        pair.standby.stop()
        introduce(ledger, "1")
        pair.fail_over()
        with pytest.raises(LogNotContinued):
            introduce(ledger, "1")  # the same request again: its record is gone

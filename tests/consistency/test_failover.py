"""A service on a primary server with a standby, which takes over when the primary is killed.

With a synchronous standby nothing that was acknowledged is lost, and the service goes on. With an
asynchronous one an acknowledged tail can be lost; then the service stops, and `recover` leads on to
a log that Go's packages for checksum databases accept.
Covers: domain/store/journal/last_seen.py, api/transparency/recovery.py
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from api.settings import Settings
from api.transparency.kept_heads import logs_of, vkey_of
from api.transparency.log_keys import make_log_key
from domain.events import PersonRegistered
from domain.store.postgres.migrate import migrate
from domain.store.tlog.checkpoints import opened_head
from domain.store.tlog.signed_note import Verifier
from tests.consistency.live_ledger import SWITCHES, as_texts
from tests.consistency.service_process import ServiceProcess
from tests.support.commands import document_of, name_of
from tests.support.ledgers import SITE_CODE
from tests.support.recovery import recover, stopped
from tests.support.rolled_back import ORIGIN, heads, problems, refusal, write
from tests.support.service import LedgerClient, opening, settings_for
from tests.support.standby import Pair, primary_and_standby
from tests.support.sumdb import judge
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

TAKEOVER_S = 60.0
"""How long a busy machine may take until the service works on the standby."""


@pytest.fixture
def pair(server_dir: Path) -> Iterator[Pair]:
    with primary_and_standby(server_dir / "p", server_dir / "s") as pair:
        migrate(pair.dsn)
        yield pair


@pytest.fixture
def settings(pair: Pair, tmp_path: Path) -> Settings:
    """Of a service that finds whichever server takes writes."""
    made = settings_for(pair.dsn, tmp_path)
    make_log_key(made, "omc")
    return made


@contextmanager
def service_on(settings: Settings) -> Iterator[LedgerClient]:
    """A service process."""
    service = ServiceProcess(**as_texts(settings), **SWITCHES)
    try:
        with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
            wait_until(lambda: client.get("/ready").status_code == 200, TAKEOVER_S)
            yield LedgerClient(client, "omc", SITE_CODE)
    finally:
        service.stop()


def open_and_write(ledger: LedgerClient) -> None:
    ledger.caller("operator").write("", opening(SITE_CODE, "omc"), method="PUT")
    assert write(ledger, 1, 2) == [201, 201]


def size_of(settings: Settings) -> int:
    with stopped(settings) as (reader, _):
        return reader.journal.head().position


def register(ledger: LedgerClient, n: int) -> dict[str, Any]:
    """Register a person, with the same request until it is answered. Returns: the receipt."""
    body = {
        "person_id": f"P{n}",
        "document_type": "resident_id",
        "document_number": document_of(n),
        "name": name_of(n),
    }
    answers: list[httpx.Response] = []

    def is_recorded() -> bool:
        answers.append(ledger.caller("agency").send("persons", body, key=f"register {n}"))
        assert answers[-1].status_code in (201, 202, 503), answers[-1].text
        return answers[-1].is_success

    wait_until(is_recorded, TAKEOVER_S)
    return dict(answers[-1].json())


def test_a_synchronous_failover_loses_nothing_that_was_acknowledged(
    pair: Pair, settings: Settings
) -> None:
    """One client writes all the time, and sends again what was not answered."""
    with service_on(settings) as ledger:
        open_and_write(ledger)
        pair.make_synchronous()
        is_over, receipts = Event(), []

        def write_on() -> None:
            n = 0
            while not is_over.is_set():
                n += 1
                receipts.append((f"P{n}", register(ledger, n)["first_position"]))

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write_on)
            wait_until(lambda: len(receipts) > 5)
            pair.fail_over()
            before = len(receipts)
            try:
                wait_until(lambda: len(receipts) > before + 5 or writing.done(), TAKEOVER_S)
            finally:
                is_over.set()
            writing.result(TAKEOVER_S)
        assert problems(ledger) == set()
        assert refusal(ledger) is None
        size = size_of(settings)
        wait_until(lambda: size in heads(settings), TAKEOVER_S)
    with stopped(settings) as (reader, _):
        registered = [
            (event.data["person_id"], event.position)
            for event in reader.journal.events()
            if event.topic == PersonRegistered.TOPIC
        ]
        assert registered == receipts


def test_an_asynchronous_failover_that_lost_events_stops_and_is_recovered_from(
    pair: Pair, settings: Settings, tmp_path: Path
) -> None:
    with service_on(settings) as ledger:
        open_and_write(ledger)
        common = size_of(settings)
        wait_until(lambda: common in heads(settings))
        pair.wait_for_standby()
        pair.standby.stop()
        assert write(ledger, 3, 4) == [201, 201]
        wait_until(lambda: common + 2 in heads(settings))
        before = heads(settings)
        pair.fail_over()
        wait_until(lambda: "log_not_continued" in problems(ledger), TAKEOVER_S)
        assert refusal(ledger) == "log_not_continued"
        assert len(ledger.caller("regulator").read("events", limit=200)["data"]) == common
        assert heads(settings) == before
    settings = recover(settings)
    with service_on(settings) as ledger:
        assert write(ledger, 10, 11) == [201, 201]
        size = size_of(settings)
        wait_until(lambda: size in heads(settings, f"{ORIGIN}/2"), TAKEOVER_S)
        assert problems(ledger) == set()
    assert heads(settings) == before
    with stopped(settings) as (reader, _):
        vkeys = [vkey_of(settings, "omc", log) for log in logs_of(reader.journal)]
        assert vkeys[0] is not None
        assert vkeys[1] is not None
        last = opened_head(before[common], Verifier.from_vkey(vkeys[0][0]))
        envelopes = [event.envelope for event in reader.journal.events()]
        note = heads(settings, f"{ORIGIN}/2")[size]
        verdict = judge(tmp_path, vkeys[1][0], note, envelopes, last)
        assert verdict == f"{ORIGIN}/2: {size} events"

"""What a lost part of the history left behind, put into the one that goes on after a recovery.

Events, commands and snapshots of the lost part have right seals of the old journal key. Somebody
with the database has a copy of them; the ledger goes on under a new key, with a service on it and
this process as a reader.
Covers: domain/store/journal/resealing.py, domain/store/journal/snapshot_table.py,
domain/store/journal/key_ranges.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.cli.environment import open_environment
from api.settings import Settings
from api.transparency.checkpoint_signing import LogSigner
from api.transparency.log_keys import make_log_key
from domain.actors import Actor
from domain.audit.full import audit_ledger, subject_of
from domain.decision import Command
from domain.events import ExamSessionScheduled, PersonRegistered
from domain.service.ledger import Ledger
from domain.service.snapshots import SnapshotStore
from domain.store.embedded.server import SUPERUSER
from domain.store.errors import SealBroken
from tests.consistency.live_ledger import PATIENCE_S, SWITCHES, as_texts
from tests.consistency.service_process import ServiceProcess
from tests.support import tampering
from tests.support.actors import ASSISTANT, CERTIFIER, OPERATOR
from tests.support.commands import open_ledger, register, schedule
from tests.support.ledgers import SITE_CODE, submit
from tests.support.postgres import Database
from tests.support.recovery import recover, stopped
from tests.support.rolled_back import ORIGIN, Copy, heads, problems, refusal
from tests.support.service import LedgerClient, settings_for
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SESSION, LOST_PLACE, PLACE = "session-S1", "失去的考点", "后来的考点"
LOST_TABLES = ("journal", "commands", "snapshots")


@dataclass(frozen=True)
class Continued:
    """A ledger after a recovery.

    position: at which the lost part has a session, and the ledger a registration.
    """

    database: Database
    settings: Settings
    position: int


def write(settings: Settings, *commands: tuple[Command, Actor]) -> int:
    """Submit and sign as a service does. Returns: the last position."""
    with open_environment(settings) as environment:
        ledger = environment.ledgers.create("omc", SITE_CODE)
        for command, actor in commands:
            submit(ledger, command, actor, key=command.model_dump_json()[:150])
        LogSigner(settings).sign(ledger)
        return ledger.journal.head().position


@pytest.fixture
def continued(database: Database, tmp_path: Path) -> Continued:
    """The lost part ends with a session, of which there is a snapshot."""
    settings = settings_for(database.dsn, tmp_path)
    make_log_key(settings, "omc")
    write(
        settings,
        *((open_ledger(), OPERATOR), (register(1, subject=None), ASSISTANT)),
        (schedule(session_id="S0"), CERTIFIER),  # so that no later event names them
    )
    copy = Copy(database)
    lost = [(register(n, subject=None), ASSISTANT) for n in range(2, 9)]
    position = write(settings, *lost, (schedule(place=LOST_PLACE), CERTIFIER))
    with stopped(settings) as (ledger, _):
        SnapshotStore(ledger.journal).put(SESSION, ledger.state("session", "S1"))
    for table in LOST_TABLES:
        database.execute(
            f"CREATE TABLE public.lost_{table} AS TABLE certledger.{table}", user=SUPERUSER
        )
    copy.put_back()
    settings = recover(settings)
    now = [(register(n, subject=None), ASSISTANT) for n in range(22, 32)]
    assert write(settings, *now) > position
    return Continued(database, settings, position)


@contextmanager
def service_on(continued: Continued) -> Iterator[LedgerClient]:
    service = ServiceProcess(**as_texts(continued.settings), **SWITCHES)
    try:
        with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
            wait_until(lambda: client.get("/ready").status_code == 200)
            yield LedgerClient(client, "omc", SITE_CODE)
    finally:
        service.stop()


def new_heads(continued: Continued) -> dict[int, str]:
    return heads(continued.settings, f"{ORIGIN}/2")


@pytest.fixture
def live(continued: Continued) -> Iterator[LedgerClient]:
    """A service on it, which has signed what there is."""
    with service_on(continued) as live:
        assert refusal(live) is None
        size = continued.database.execute("SELECT position FROM certledger.ledgers")[0][0]
        wait_until(lambda: size in new_heads(continued))
        yield live


def topic_at(reader: Ledger, position: int) -> str:
    [event] = reader.journal.read(position - 1, 1)
    return event.topic


def test_an_event_of_a_lost_tail_put_over_the_new_one_is_neither_shown_nor_signed(
    continued: Continued, live: LedgerClient
) -> None:
    at = continued.position
    before = new_heads(continued)
    with stopped(continued.settings) as (reader, _):
        assert topic_at(reader, at) == PersonRegistered.TOPIC
        with tampering.superuser(continued.database) as cursor:
            cursor.execute("SELECT topic FROM public.lost_journal WHERE position = %s", (at,))
            assert cursor.fetchone() == (ExamSessionScheduled.TOPIC,)
            tampering.delete(cursor, at)
            cursor.execute(
                "INSERT INTO certledger.journal SELECT * FROM public.lost_journal "
                "WHERE position = %s",
                (at,),
            )
        with pytest.raises(SealBroken):
            topic_at(reader, at)
        with pytest.raises(SealBroken):
            reader.state("session", "S1")
        wait_until(lambda: "log_not_continued" in problems(live), PATIENCE_S)
        answer = live.caller("regulator").get(f"events?after={at - 1}&limit=1")
        assert (answer.status_code, answer.json()["code"]) == (503, "seal_broken")
        assert LOST_PLACE not in answer.text
        assert refusal(live) == "log_not_continued"
        assert new_heads(continued) == before
        report = audit_ledger(subject_of(reader), None, hashes_only=True)
        assert report.first_bad_position == at


def test_a_command_of_a_lost_tail_is_found_among_the_last_ones(
    continued: Continued, live: LedgerClient
) -> None:
    """A request of the lost part, sent again, would be answered as if it was recorded."""
    before = new_heads(continued)
    with tampering.superuser(continued.database) as cursor:
        cursor.execute(
            "INSERT INTO certledger.commands SELECT * FROM public.lost_commands "
            "WHERE last_position = %s",
            (continued.position,),
        )
    wait_until(lambda: "log_not_continued" in problems(live), PATIENCE_S)
    assert refusal(live) == "log_not_continued"
    assert new_heads(continued) == before


def test_a_snapshot_of_a_lost_tail_shows_nobody_what_was_lost(continued: Continued) -> None:
    """With the application role alone; the session has the same version in both histories."""
    write(continued.settings, (schedule(place=PLACE), CERTIFIER))
    continued.database.execute(
        "GRANT SELECT ON public.lost_snapshots TO certledger_app", user=SUPERUSER
    )
    with tampering.application_role(continued.database) as cursor:
        cursor.execute("INSERT INTO certledger.snapshots SELECT * FROM public.lost_snapshots")
    with service_on(continued) as live, stopped(continued.settings) as (reader, _):
        session = reader.state("session", "S1")
        assert (session.version, session.scheduled.place) == (1, PLACE)
        shown = live.caller("certifier").get("sessions/S1")
        assert LOST_PLACE not in shown.text
        assert refusal(live) is None
        report = audit_ledger(subject_of(reader), None)
        assert "snapshots" in {each.check for each in report.findings}

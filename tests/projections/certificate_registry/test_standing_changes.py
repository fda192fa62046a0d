"""No earlier row of a certificate is shown after it or its holder changed.

Covers: projections/certificate_registry/standing_changes.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from domain import events as e
from domain.events import Fact
from domain.steps import certificate as c
from domain.steps.authority_report import AnswerReportRow, RecordVisibility
from domain.store.errors import RecordOutdated
from projections.certificate_registry import queries as q
from projections.certificate_registry import standing_changes
from projections.certificate_registry.standing_changes import (
    LEDGERS,
    PAGE,
    REFRESH_S,
    RecordChecks,
    StandingChanges,
)
from projections.certificate_registry.view import VIEW
from projections.engine.wrong_views import WrongViews
from tests.projections.certificate_registry.test_view import NUMBER, revoke, step
from tests.projections.grammar import ProjectedLedger
from tests.support import tampering
from tests.support.actors import REGISTRAR
from tests.support.commands import correct_person, destroyed, report
from tests.support.journeys import issued_certificates
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.world import World

OMC_NUMBER = "OMC-2026-4-0000001-H"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def checks(clock: Clock) -> RecordChecks:
    return RecordChecks(SECRETS.sealer.row_keys(), StandingChanges(clock), WrongViews())


def put_back(ledger: ProjectedLedger, row: str, name: str = "omc") -> None:
    """Put the national certificate's row back as it was. row: as JSON."""
    ledger.execute(
        "DELETE FROM views.certificates WHERE kind = 'national' AND ledger = %s", (name,)
    )
    ledger.execute(
        "INSERT INTO views.certificates "
        f"SELECT * FROM json_populate_record(NULL::views.certificates, $row${row}$row$)"
    )


def do(world: World, *commands: Any) -> None:
    """Commands, and facts that no command of this history records."""
    for command in commands:
        if isinstance(command, Fact):
            world.append(command)
        else:
            world.do(command, by=REGISTRAR)


def stored(ledger: ProjectedLedger, name: str = "omc") -> str:
    with ledger.cursor() as cursor:
        cursor.execute(
            "SELECT to_json(c)::text FROM views.certificates c "
            "WHERE kind = 'national' AND ledger = %s",
            (name,),
        )
        [(row,)] = cursor.fetchall()
    return str(row)


CHANGES = {
    "suspended": [step(c.SuspendCertificate)],
    "reinstated": [step(c.SuspendCertificate), step(c.ReinstateCertificate)],
    "revoked": [revoke()],
    "reissued": [step(c.ReissueCertificate)],
    "reported": [report()],
    "accepted": [report(), AnswerReportRow(report_id="R1", number=NUMBER, accepted=True)],
    "visible": [
        report(),
        AnswerReportRow(report_id="R1", number=NUMBER, accepted=True),
        RecordVisibility(application_id="A1", scope="province"),
    ],
    "its holder's name corrected": [correct_person()],
    "its holder's data erased": [destroyed()],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_row_from_before_a_change_is_not_shown_though_its_seal_is_right(
    ledger: ProjectedLedger, checks: RecordChecks, clock: Clock, changes: list[Any]
) -> None:
    world = issued_certificates()
    do(world, *changes[:-1])
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        assert q.by_numbers(cursor, [NUMBER], checks)
    earlier = stored(ledger)
    do(world, *changes[-1:])
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        clock.now += REFRESH_S
        assert q.by_numbers(cursor, [NUMBER], checks)
    put_back(ledger, earlier)
    with ledger.cursor() as cursor:
        for ask in (
            lambda: q.by_numbers(cursor, [NUMBER], checks),
            lambda: q.of_application(cursor, "omc", "A1", checks),
            lambda: q.listed(cursor, "omc", "national", checks),
        ):
            with pytest.raises(RecordOutdated):
                ask()
        assert q.by_numbers(cursor, [OMC_NUMBER], checks), "only what is earlier"


def test_a_process_that_starts_after_the_change_knows_of_it(
    ledger: ProjectedLedger, checks: RecordChecks
) -> None:
    world = issued_certificates()
    ledger.record(world).fold()
    earlier = stored(ledger)
    do(world, revoke())
    ledger.record(world).fold()
    put_back(ledger, earlier)
    with ledger.cursor() as cursor, pytest.raises(RecordOutdated):
        q.by_numbers(cursor, [NUMBER], checks)


def move_head(database: Database, by: int) -> None:
    with tampering.superuser(database) as cursor:
        cursor.execute("ALTER TABLE certledger.ledgers DISABLE TRIGGER ALL")
        cursor.execute("UPDATE certledger.ledgers SET position = position + %s", (by,))


def test_a_head_that_was_moved_ahead_and_back_hides_no_change(
    ledger: ProjectedLedger, database: Database, checks: RecordChecks, clock: Clock
) -> None:
    """Its trigger keeps all but a superuser from moving it back."""
    world = issued_certificates()
    ledger.record(world).fold()
    earlier = stored(ledger)
    move_head(database, 1_000_000)
    with ledger.cursor() as cursor:
        q.by_numbers(cursor, [NUMBER], checks)
    move_head(database, -1_000_000)
    do(world, revoke())
    ledger.record(world).fold()
    put_back(ledger, earlier)
    clock.now += REFRESH_S
    with ledger.cursor() as cursor, pytest.raises(RecordOutdated):
        q.by_numbers(cursor, [NUMBER], checks)


def test_the_journal_is_asked_at_most_twice_a_second(
    ledger: ProjectedLedger, checks: RecordChecks, clock: Clock
) -> None:
    ledger.record(issued_certificates()).fold()
    with ledger.cursor() as cursor:
        q.by_numbers(cursor, [NUMBER], checks)
        assert not checks.changes.is_due
        clock.now += REFRESH_S / 2
        assert not checks.changes.is_due
        clock.now += REFRESH_S / 2
        assert checks.changes.is_due


def test_more_changes_than_one_page_are_read_in_several_pages(
    ledger: ProjectedLedger, checks: RecordChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"LIMIT {PAGE}\n" in q.SQL["standing_changes"]
    monkeypatch.setitem(
        q.SQL, "standing_changes", q.SQL["standing_changes"].replace(str(PAGE), "1")
    )
    world = issued_certificates()
    again = [step(c.SuspendCertificate), step(c.ReinstateCertificate)]
    do(world, *again, *again)
    ledger.record(world).fold()
    earlier = stored(ledger)  # only the fifth change is later
    do(world, revoke())
    ledger.record(world).fold()
    put_back(ledger, earlier)
    with ledger.cursor() as cursor, pytest.raises(RecordOutdated):
        q.by_numbers(cursor, [NUMBER], checks)


def test_more_ledgers_than_one_query_reads_are_read_by_several(
    open_ledger: Callable[..., ProjectedLedger],
    checks: RecordChecks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert f"LIMIT {LEDGERS}\n" in q.SQL["standing_changes"]
    monkeypatch.setitem(
        q.SQL,
        "standing_changes",
        q.SQL["standing_changes"].replace(f"LIMIT {LEDGERS}\n", "LIMIT 1\n"),
    )
    monkeypatch.setattr(standing_changes, "LEDGERS", 1)
    for name in ("a", "b", "omc"):
        ledger = open_ledger(name)
        world = issued_certificates()
        ledger.record(world).fold()
        earlier = stored(ledger, name)
        do(world, revoke())
        ledger.record(world).fold()
        put_back(ledger, earlier, name)
    with ledger.cursor() as cursor, pytest.raises(RecordOutdated):
        q.by_numbers(cursor, [NUMBER], checks)
    read = checks.changes.keys()
    assert {key.split("|")[2] for key in read} == {"a", "b", "omc"}


def test_the_statement_names_every_topic_that_writes_an_issued_certificate_again() -> None:
    """Every topic that the view handles, but those before the issue."""
    before = (e.LedgerOpened, *e.REGISTRATION, e.ApplicationOpened, e.ResultPublished)
    issue = (e.CertificateNumbered, e.CertificateIssued)
    wanted = set(VIEW.handles) - {each.TOPIC for each in (*before, *issue)}
    assert {topic for topic in VIEW.handles if f"'{topic}'" in q.SQL["standing_changes"]} == wanted

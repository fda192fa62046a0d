"""No event is folded into an earlier row of the registry, or into one that was altered.

The earlier rows have right seals: the program made them, before the last event that concerns them.
Covers: projections/engine/latest_rows.py, projections/certificate_registry/tables.py,
projections/certificate_registry/view.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from domain.events import CertificateKind, LedgerOpened, RevocationReason
from domain.steps import certificate as c
from domain.steps.authority_report import AnswerReportRow
from domain.steps.number_allocation import NumberCertificates
from projections.certificate_registry.view import VIEW
from projections.rebuild.rebuild import check, replace
from tests.projections.engine.test_runner import running
from tests.projections.grammar import ProjectedLedger
from tests.support import tampering
from tests.support.actors import REGISTRAR
from tests.support.commands import (
    CLOSED_AT,
    ISSUED_AT,
    PASSED,
    PUBLISHED_AT,
    close,
    correct_person,
    destroyed,
    national_number,
    publish,
)
from tests.support.journeys import (
    a_paid_application,
    a_registered_person,
    final_results,
    issued_certificates,
    numbered_certificates,
    reported_certificates,
    verified_scores,
)
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until
from tests.support.world import World

Happens = Callable[[World], Any]

OF_NATIONAL = "certificates WHERE kind = 'national' AND application_id = 'A1'"
OF_PERSON = "certificate_people WHERE person_id = 'P1'"
OF_APPLICATION = "certificate_applications WHERE application_id = 'A1'"
OF_LEDGER = "certificate_book WHERE true"


def step(cls: type[Any], **more: Any) -> Happens:
    given = {"application_id": "A1", "kind": CertificateKind.NATIONAL, "reason": "按规定办理"}
    return lambda world: world.do(cls(**given, **more), by=REGISTRAR)


def answered(world: World) -> Any:
    number = national_number(world, 1)
    answer = AnswerReportRow(report_id="R1", number=number, accepted=True)
    return world.do(answer, by=REGISTRAR)


def corrected(world: World, name: str = "钱壹") -> Any:
    return world.do(correct_person(name=name), by=REGISTRAR)


def corrected_again(world: World) -> Any:
    return corrected(world, "钱壹壹")


def erased(world: World) -> Any:
    return world.append(destroyed())


def published(world: World) -> Any:
    world.do(publish(), at=PUBLISHED_AT)
    return world.do(close(), at=CLOSED_AT)


def numbered(world: World) -> Any:
    return world.do(NumberCertificates(application_id="A1"), by=REGISTRAR, at=ISSUED_AT)


def issued(world: World) -> Any:
    return world.do(c.IssueCertificates(application_id="A1"), by=REGISTRAR)


revoked = step(c.RevokeCertificate, reason_class=RevocationReason.EXAM_FRAUD)
suspended = step(c.SuspendCertificate)
reinstated = step(c.ReinstateCertificate)
new_version = step(c.CorrectCertificate)


def put_back(database: Database, row: str) -> None:
    """Replace what there is of a table by the rows of before."""
    table, _, where = row.partition(" WHERE ")
    with tampering.superuser(database) as cursor:
        cursor.execute(f"DELETE FROM views.{table} WHERE {where}")
        cursor.execute(f"INSERT INTO views.{table} SELECT * FROM public.earlier")


def remember(database: Database, row: str) -> None:
    with tampering.superuser(database) as cursor:
        cursor.execute(f"CREATE TABLE public.earlier AS SELECT * FROM views.{row}")


def pause_of(ledger: ProjectedLedger) -> str | None:
    """Why the registry is paused."""
    found = ledger.execute("SELECT reason FROM views.pauses WHERE view = %s", (VIEW.name,))
    return found[0][0] if found else None


EARLIER = {
    "result": (lambda: verified_scores(PASSED), OF_APPLICATION, published, numbered),
    "revocation": (reported_certificates, OF_NATIONAL, revoked, answered),
    "suspension": (issued_certificates, OF_NATIONAL, suspended, new_version),
    "version": (issued_certificates, OF_NATIONAL, new_version, suspended),
    "issue": (numbered_certificates, OF_NATIONAL, issued, suspended),
    "correction of the holder, before another": (
        issued_certificates, OF_NATIONAL, corrected, corrected_again,
    ),
    "correction of the holder, before a suspension": (
        issued_certificates, OF_NATIONAL, corrected, suspended,
    ),
    "suspension, before a correction of the holder": (
        issued_certificates, OF_NATIONAL, suspended, corrected,
    ),
    "revocation, before an erasure": (issued_certificates, OF_NATIONAL, revoked, erased),
    "erasure": (issued_certificates, OF_NATIONAL, erased, suspended),
    "person before a correction": (issued_certificates, OF_PERSON, corrected, corrected_again),
    "person before a correction, then numbered": (final_results, OF_PERSON, corrected, numbered),
    "person before an erasure": (issued_certificates, OF_PERSON, erased, erased),
}  # fmt: skip


@pytest.mark.parametrize(("begun", "row", "change", "later"), EARLIER.values(), ids=EARLIER)
def test_no_later_event_gives_an_earlier_row_a_new_seal(
    ledger: ProjectedLedger,
    dsn: str,
    database: Database,
    begun: Callable[[], World],
    row: str,
    change: Happens,
    later: Happens,
) -> None:
    """The view pauses, in a runner that has read nothing else; a rebuild mends it."""
    world = begun()
    ledger.record(world).fold()
    remember(database, row)
    change(world)
    ledger.record(world).fold()
    put_back(database, row)
    before = ledger.contents(VIEW)
    later(world)
    ledger.record(world)
    with running(dsn):
        wait_until(lambda: pause_of(ledger) is not None)
        assert str(pause_of(ledger)).startswith("view_wrong")
        assert ledger.contents(VIEW) == before
    replace(dsn, SECRETS, processes=1)
    assert pause_of(ledger) is None
    assert check(dsn, SECRETS, processes=1) == 0


def test_every_event_that_writes_a_row_is_one_that_its_table_follows() -> None:
    """But for the issuer's, of which there is one."""
    followed = {
        topic for table in VIEW.tables for follows in table.follows for topic in follows.topics
    }
    assert followed == set(VIEW.handles) - {LedgerOpened.TOPIC}


def test_an_earlier_row_is_noticed_by_a_runner_that_goes_on(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    world = issued_certificates()
    ledger.record(world)
    with running(dsn) as watched:
        assert watched.wait_until("omc", VIEW.name, ledger.journal.head().position, 10)
        remember(database, OF_NATIONAL)
        suspended(world)
        ledger.record(world)
        assert watched.wait_until("omc", VIEW.name, ledger.journal.head().position, 10)
        put_back(database, OF_NATIONAL)
        new_version(world)
        ledger.record(world)
        wait_until(lambda: pause_of(ledger) is not None)
    [row] = ledger.rows("certificates", kind="national")
    assert (row["standing"], row["version"]) == ("valid", 1), "as it was put back, and no newer"


def suspended_and_put_back(ledger: ProjectedLedger, database: Database) -> int:
    """A certificate is suspended, its row of before is put back, and its next event comes.

    Returns: the position of the suspension.
    """
    world = issued_certificates()
    ledger.record(world).fold()
    remember(database, OF_NATIONAL)
    suspended(world)
    ledger.record(world).fold()
    put_back(database, OF_NATIONAL)
    position = ledger.journal.head().position
    a_paid_application(2, world)
    ledger.record(world).fold()
    new_version(world)
    ledger.record(world)
    return position


def test_an_event_that_is_hidden_when_the_next_one_is_folded_is_missed(
    ledger: ProjectedLedger, database: Database
) -> None:
    """The versions of the stream say that there is one more."""
    position = suspended_and_put_back(ledger, database)
    with tampering.superuser(database) as cursor:
        tampering.delete(cursor, position)
    ledger.fold()
    assert str(pause_of(ledger)).startswith("view_wrong")


def test_an_event_that_is_altered_when_the_next_one_is_folded_is_not_believed(
    ledger: ProjectedLedger, database: Database
) -> None:
    position = suspended_and_put_back(ledger, database)
    with tampering.superuser(database) as cursor:
        tampering.alter(cursor, position, kind="omc")
    ledger.fold()
    assert str(pause_of(ledger)).startswith("seal_missing")


ALTERED = {
    "person": (issued_certificates, OF_PERSON, "masked_name = '赵*'", corrected),
    "person, then numbered": (final_results, OF_PERSON, "name_index = 'x'", numbered),
    "numbers of a person": (issued_certificates, OF_PERSON, "certificates = '{}'", corrected),
    "level of an application": (final_results, OF_APPLICATION, "level = 1", numbered),
    "marks of an application": (final_results, OF_APPLICATION, "theory = '100'", numbered),
    "issuer": (final_results, OF_LEDGER, "issuer_name = 'x'", numbered),
}


@pytest.mark.parametrize(("begun", "row", "change", "later"), ALTERED.values(), ids=ALTERED)
def test_nothing_that_was_altered_gets_into_a_sealed_row(
    ledger: ProjectedLedger,
    begun: Callable[[], World],
    row: str,
    change: str,
    later: Happens,
) -> None:
    """With the application role alone, to which the views belong."""
    world = begun()
    ledger.record(world).fold()
    table, _, where = row.partition(" WHERE ")
    ledger.execute(f"UPDATE views.{table} SET {change} WHERE {where}")
    before = ledger.contents(VIEW)
    later(world)
    ledger.record(world).fold()
    assert str(pause_of(ledger)).startswith("view_wrong")
    assert ledger.contents(VIEW) == before


MISSING = {
    "certificate": (issued_certificates, OF_NATIONAL, suspended),
    "certificate of a person": (issued_certificates, OF_NATIONAL, corrected),
    "person": (issued_certificates, OF_PERSON, corrected),
    "person, then numbered": (final_results, OF_PERSON, numbered),
    "application": (final_results, OF_APPLICATION, numbered),
    "issuer": (final_results, OF_LEDGER, numbered),
}


@pytest.mark.parametrize(("begun", "row", "later"), MISSING.values(), ids=MISSING)
def test_no_event_is_folded_without_the_row_it_needs(
    ledger: ProjectedLedger, begun: Callable[[], World], row: str, later: Happens
) -> None:
    world = begun()
    ledger.record(world).fold()
    ledger.execute(f"DELETE FROM views.{row}")
    before = ledger.contents(VIEW)
    later(world)
    ledger.record(world).fold()
    assert pause_of(ledger) is not None
    assert ledger.contents(VIEW) == before


def test_an_erasure_without_the_row_of_its_person_is_noticed_with_the_next_event(
    ledger: ProjectedLedger,
) -> None:
    """Not before: an objector who is not registered has no row either.

    No lookup shows the certificate meanwhile, because its holder changed later than its row.
    """
    world = issued_certificates()
    ledger.record(world).fold()
    ledger.execute(f"DELETE FROM views.{OF_PERSON}")
    erased(world)
    ledger.record(world).fold()
    assert pause_of(ledger) is None
    suspended(world)
    ledger.record(world).fold()
    assert str(pause_of(ledger)).startswith("view_wrong")


# --- what it costs --------------------------------------------------------------------------------


def queries_of(ledger: ProjectedLedger, world: World) -> tuple[int, int]:
    """How many queries fold what is new into the registry: of its tables, of the journal."""
    queries = ledger.queries_of(world, VIEW)
    of_journal = sum("certledger.journal" in query for query in queries)
    return len(queries) - of_journal, of_journal


@pytest.mark.parametrize("candidates", [1, 3])
def test_all_rows_of_a_table_that_a_batch_reads_are_checked_with_one_query(
    ledger: ProjectedLedger, candidates: int
) -> None:
    """None where nothing is loaded, as for a new person."""
    world = final_results(*[PASSED] * candidates)
    ledger.record(world).fold()
    ns = range(1, candidates + 1)
    for n in ns:
        world.do(NumberCertificates(application_id=f"A{n}"), by=REGISTRAR, at=ISSUED_AT)
    assert queries_of(ledger, world) == (4, 2), "issuer, persons, applications; no certificate yet"
    ledger.fold()
    for n in ns:
        world.do(c.IssueCertificates(application_id=f"A{n}"), by=REGISTRAR)
    assert queries_of(ledger, world) == (1, 1)
    ledger.fold()
    corrected(world)
    assert queries_of(ledger, world) == (2, 2), "the person, and their certificates"
    ledger.fold()
    a_registered_person(9, world)
    assert queries_of(ledger, world) == (1, 0)

"""Every decision reads only its declared read set, and the ledger prefetches it in one message.

`tests.support.world.World` checks the read set of every decision in every test; this module runs a
history of all commands, in memory and on a real ledger.
Covers: domain/command_spec.py, domain/steps, domain/service/command_execution.py
"""

from datetime import datetime
from typing import Any

import pytest

from domain.actors import Actor, service_actor
from domain.commands import DECISIONS, READ_SETS
from domain.decision import Command
from domain.errors import LedgerError
from domain.events import CertificateKind, Component, Item, RevocationReason, Stage, Subject
from domain.steps import authority_report as reports
from domain.steps import certificate, refund
from domain.steps import number_allocation as numbering
from domain.steps.contested_registration import JoinRegistration, RejectRegistration
from domain.steps.enrolment import RegisterPerson
from domain.steps.erasure import ConfirmErasure, ContinueErasure, ProposeErasure, RepeatErasure
from domain.steps.exam import CloseSession
from domain.steps.ledger_setup import OpenService, SetIssuerUrl
from domain.steps.public_notice import ExtendNotice
from domain.store.postgres.connection import PgConnection
from domain.values.sealed_fields import DataClass
from tests.support.actors import (
    AGENCY,
    ASSISTANT,
    CERTIFIER,
    EXAMINER,
    FINANCE,
    FINANCE_2,
    OPERATOR,
    REGISTRAR,
    VERIFIER,
    candidate,
)
from tests.support.commands import (
    CLOSED_AT,
    ENDED_AT,
    ISSUED_AT,
    NEEDED,
    PUBLISHED_AT,
    STAGES,
    adopt,
    apply_for,
    close,
    continue_log,
    copy_of,
    correct,
    correct_person,
    document_of,
    erase,
    fees,
    give,
    hand_in,
    introduce_key,
    name_of,
    national_number,
    object_to,
    open_ledger,
    open_service,
    order,
    pay,
    publish,
    register,
    repeat_erasure,
    report,
    retire_key,
    schedule,
    score,
    seat,
    settle,
    submit,
    use,
    verify,
    withdraw,
)
from tests.support.editions import calendar_2027
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database
from tests.support.world import ReadSetChecker, World

ERASURE = (ProposeErasure, ConfirmErasure, ContinueErasure, RepeatErasure)
REFUSED = {ExtendNotice, numbering.ImportNumber, OpenService}
"""Refused in this history: the calendar is known, the numbers are allocated here, and the ledger is
no operator's."""


class HistoryRun:
    """Runs a history in a world and records the commands that succeeded."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.succeeded: list[type[Command]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def do(self, command: Command, by: Actor = OPERATOR, at: datetime | None = None) -> None:
        try:
            self.world.do(command, by=by, at=at)
        except LedgerError:
            assert type(command) in REFUSED
        else:
            self.succeeded.append(type(command))


def run_every_command(run: Any) -> None:
    """Every command; candidate 3 withdraws, 4 is rejected, 2 objects to the result."""
    run.do(open_ledger())
    run.do(fees())
    run.do(adopt(fees()), by=CERTIFIER)
    run.do(copy_of(calendar_2027()), by=service_actor("copy_edition"))
    run.do(open_service())
    run.do(SetIssuerUrl(url="https://cert.example.cn"), by=OPERATOR)
    run.do(schedule(), by=CERTIFIER)
    for n in (1, 2, 3, 4):
        run.do(register(n, name="赵零"), by=ASSISTANT)
        run.do(correct_person(n, name=name_of(n)), by=ASSISTANT)
        run.do(apply_for(n), by=candidate(n))
        run.do(pay(n, run), by=FINANCE)
    settle_registrations(run)
    run.do(use(Item.HANDBOOK), by=candidate(1))
    run.do(introduce_key("0a1b2c3d"))
    run.do(introduce_key("4e5f6071"))
    run.do(retire_key("0a1b2c3d"))
    run.do(continue_log())
    run.do(withdraw(3), by=candidate(3))
    refund_the_withdrawn(run)
    erase(run, 3)
    run.do(ContinueErasure(person_id="P3"), by=service_actor("continue_erasure"))
    run.do(repeat_erasure(3, DataClass.CERTIFICATE))
    for n in (1, 2, 4):
        for kind in NEEDED:
            run.do(hand_in(kind, n), by=candidate(n))
        run.do(submit(n), by=candidate(n))
    run.do(give(Stage.INITIAL, "reject", 4), by=AGENCY)
    for n in (1, 2):
        for stage, actor in STAGES:
            run.do(give(stage, "pass", n), by=actor)
        run.do(seat(n), by=CERTIFIER)
    hold_the_exam(run)
    issue_certificates(run)


def settle_registrations(run: Any) -> None:
    known = {"document_number": document_of(6), "name": name_of(6)}
    run.do(register(6, subject=None), by=ASSISTANT)
    run.do(register(9, subject=None, **known), by=ASSISTANT)
    for n in (7, 8):
        run.do(register(n, document_number=document_of(6)), by=candidate(n))
    run.do(JoinRegistration(person_id="P7"), by=CERTIFIER)
    run.do(RejectRegistration(person_id="P8", reason="所持证件与登记不符"), by=CERTIFIER)


def refund_the_withdrawn(run: Any) -> None:
    run.do(order(Component.CERTIFICATION_FEE, "PAY3", 3), by=candidate(3))
    first, second = ({"application_id": "A3", "refund_no": f"RPAY3-{n}"} for n in (1, 2))
    run.do(refund.DeclineRefund(**first, reason="金额有误"), by=FINANCE_2)
    run.do(order(Component.CERTIFICATION_FEE, "PAY3", 3), by=candidate(3))
    run.do(refund.ApproveRefund(**second), by=FINANCE_2)
    accepted = {**second, "provider_refund_id": "5000"}
    run.do(refund.RecordRefundOutcome(**accepted, outcome="accepted"), by=FINANCE)
    arrived = {"outcome": "settled", "channel": "original", "settled_at": run.now}
    run.do(refund.RecordRefundOutcome(**accepted, **arrived), by=FINANCE)


def hold_the_exam(run: Any) -> None:
    run.do(CloseSession(session_id="S1", ended_at=ENDED_AT), by=EXAMINER, at=ENDED_AT)
    for n in (1, 2):
        for subject in Subject:
            run.do(score(subject, "72", n), by=EXAMINER)
        run.do(verify("72", "72", n), by=VERIFIER)
    run.do(publish(), by=CERTIFIER, at=PUBLISHED_AT)
    run.do(ExtendNotice(notice_id="N1"), by=CERTIFIER)
    run.do(object_to(2), by=candidate(2))
    run.do(settle("upheld", 2), by=CERTIFIER)
    run.do(correct(Subject.THEORY, "80", 2, objection_id="O2"), by=EXAMINER)
    run.do(close(), by=CERTIFIER, at=CLOSED_AT)


def issue_certificates(run: Any) -> None:
    run.do(numbering.NumberCertificates(application_id="A1"), by=REGISTRAR, at=ISSUED_AT)
    number = "S000033000123264000017"
    run.do(numbering.ImportNumber(application_id="A2", number=number), by=REGISTRAR)
    run.do(certificate.IssueCertificates(application_id="A1"), by=REGISTRAR)
    run.do(report(), by=REGISTRAR)
    row = {"report_id": "R1", "number": national_number(run)}
    run.do(reports.AnswerReportRow(**row, accepted=True), by=REGISTRAR)
    run.do(reports.RecordVisibility(application_id="A1", scope="province"), by=REGISTRAR)
    which = {"application_id": "A1", "kind": CertificateKind.NATIONAL, "reason": "据实更正"}
    run.do(certificate.CorrectCertificate(**which), by=REGISTRAR)
    run.do(certificate.SuspendCertificate(**which), by=REGISTRAR)
    run.do(certificate.ReinstateCertificate(**which), by=REGISTRAR)
    run.do(certificate.ReissueCertificate(**which), by=REGISTRAR)
    why = RevocationReason.ISSUED_IN_ERROR
    run.do(certificate.RevokeCertificate(**which, reason_class=why), by=REGISTRAR)


def test_every_command_reads_only_its_declared_read_set() -> None:
    run = HistoryRun(World())
    run_every_command(run)
    assert {*run.succeeded} == {*DECISIONS} - REFUSED


def test_a_read_outside_the_read_set_is_detected() -> None:
    world = World()
    world.do(open_ledger())
    context = world.context(OPERATOR, world.now)
    checked = ReadSetChecker(world, READ_SETS[type(fees())](world.known, fees(), context))
    assert checked.ledger() == world.ledger()
    with pytest.raises(AssertionError, match="application-A1 is read but not"):
        checked.candidacy("A1")


class RecordingCursor:
    """A cursor that records the messages that prefetch for a decision."""

    def __init__(self, cursor: Any, read: list[str]) -> None:
        self._cursor = cursor
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __enter__(self) -> "RecordingCursor":
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def execute(self, sql: Any, *arguments: Any) -> None:
        text = sql.decode() if isinstance(sql, bytes) else sql
        if "EXECUTE certledger_read" in text:
            self._read.append(text)
        self._cursor.execute(sql, *arguments)


class MessageCounter:
    """A ledger that records the commands that needed more than one message."""

    def __init__(self, world: Any, read: list[str]) -> None:
        self._world = world
        self._read = read
        self.more: list[tuple[Command, list[str]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def do(self, command: Command, by: Actor, at: datetime | None) -> None:
        self._read.clear()
        try:
            self._world.do(command, by=by, at=at)
        finally:
            # An erasure finds on its way what it has to read.
            if len(self._read) != 1 and not isinstance(command, ERASURE):
                self.more.append((command, [*self._read]))


def test_the_read_set_of_a_command_is_prefetched_in_one_message(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    cursor = PgConnection.cursor
    with a_real_ledger(database) as world:
        monkeypatch.setattr(
            PgConnection, "cursor", lambda connection: RecordingCursor(cursor(connection), read)
        )
        counter = MessageCounter(world, read)
        run = HistoryRun(counter)
        run_every_command(run)
        assert {*run.succeeded} == {*DECISIONS} - REFUSED
        # Whose a document is, is known only when its holder was read.
        known = [each for each, _ in counter.more if isinstance(each, RegisterPerson)]
        assert [command for command, _ in counter.more] == known
        assert len(known) == 1

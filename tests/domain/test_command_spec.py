"""What a decision will look at is said before the ledger is locked, and read in one message.

`tests.support.world.World` holds every decision of every test to what was said of it; here stands a
history of all commands, told to it and to a real ledger.
"""

from datetime import datetime
from typing import Any

import pytest

from domain.actors import Actor
from domain.commands import DECISIONS, READ_SETS
from domain.decision import Command
from domain.errors import LedgerError
from domain.events import CertificateKind, Component, Item, RevocationReason, Stage, Subject
from domain.steps import authority_report as reports
from domain.steps import certificate, refund
from domain.steps import number_allocation as numbering
from domain.steps.exam import CloseSession
from domain.steps.publication import ExtendNotice
from domain.store.postgres.connection import PgConnection
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
    apply_for,
    close,
    correct,
    correct_person,
    erase,
    fees,
    give,
    hand_in,
    name_of,
    national_number,
    object_to,
    open_ledger,
    order,
    pay,
    publish,
    register,
    report,
    schedule,
    score,
    seat,
    settle,
    submit,
    use,
    verify,
    withdraw,
)
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database
from tests.support.world import ReadSetChecker, World

REFUSED = {ExtendNotice, numbering.ImportNumber}
"""Of the history: the calendar is known already, the numbers are given out here."""


class Told:
    """A world that is told a history, and who was granted what."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.granted: list[type[Command]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def do(self, command: Command, by: Actor = OPERATOR, at: datetime | None = None) -> None:
        try:
            self.world.do(command, by=by, at=at)
        except LedgerError:
            assert type(command) in REFUSED
        else:
            self.granted.append(type(command))


def tell_everything(told: Any) -> None:
    """Every command there is; candidate 3 gives up, 4 is rejected, 2 objects to the result."""
    told.do(open_ledger())
    told.do(fees(), by=FINANCE)
    told.do(schedule(), by=CERTIFIER)
    for n in (1, 2, 3, 4):
        told.do(register(n, name="赵零"), by=ASSISTANT)
        told.do(correct_person(n, name=name_of(n)), by=ASSISTANT)
        told.do(apply_for(n), by=candidate(n))
        told.do(pay(n, told), by=FINANCE)
    told.do(use(Item.HANDBOOK), by=candidate(1))
    told.do(withdraw(3), by=candidate(3))
    give_money_back(told)
    told.do(erase(3), by=REGISTRAR)
    for n in (1, 2, 4):
        for kind in NEEDED:
            told.do(hand_in(kind, n), by=candidate(n))
        told.do(submit(n), by=candidate(n))
    told.do(give(Stage.INITIAL, "reject", 4), by=AGENCY)
    for n in (1, 2):
        for stage, actor in STAGES:
            told.do(give(stage, "pass", n), by=actor)
        told.do(seat(n), by=CERTIFIER)
    hold_the_exam(told)
    hand_out_certificates(told)


def give_money_back(told: Any) -> None:
    told.do(order(Component.CERTIFICATION_FEE, "PAY3", 3), by=candidate(3))
    first, second = ({"application_id": "A3", "refund_no": f"RPAY3-{n}"} for n in (1, 2))
    told.do(refund.DeclineRefund(**first, reason="金额有误"), by=FINANCE_2)
    told.do(order(Component.CERTIFICATION_FEE, "PAY3", 3), by=candidate(3))
    told.do(refund.ApproveRefund(**second), by=FINANCE_2)
    said = {**second, "provider_refund_id": "5000"}
    told.do(refund.RecordRefundOutcome(**said, outcome="accepted"), by=FINANCE)
    arrived = {"outcome": "settled", "channel": "original", "settled_at": told.now}
    told.do(refund.RecordRefundOutcome(**said, **arrived), by=FINANCE)


def hold_the_exam(told: Any) -> None:
    told.do(CloseSession(session_id="S1", ended_at=ENDED_AT), by=EXAMINER, at=ENDED_AT)
    for n in (1, 2):
        for subject in Subject:
            told.do(score(subject, "72", n), by=EXAMINER)
        told.do(verify("72", "72", n), by=VERIFIER)
    told.do(publish(), by=CERTIFIER, at=PUBLISHED_AT)
    told.do(ExtendNotice(notice_id="N1"), by=CERTIFIER)
    told.do(object_to(2), by=candidate(2))
    told.do(settle("upheld", 2), by=CERTIFIER)
    told.do(correct(Subject.THEORY, "80", 2, objection_id="O2"), by=EXAMINER)
    told.do(close(), by=CERTIFIER, at=CLOSED_AT)


def hand_out_certificates(told: Any) -> None:
    told.do(numbering.NumberCertificates(application_id="A1"), by=REGISTRAR, at=ISSUED_AT)
    number = "S000033000123264000017"
    told.do(numbering.ImportNumber(application_id="A2", number=number), by=REGISTRAR)
    told.do(certificate.IssueCertificates(application_id="A1"), by=REGISTRAR)
    told.do(report(), by=REGISTRAR)
    row = {"report_id": "R1", "number": national_number(told)}
    told.do(reports.AnswerReportRow(**row, accepted=True), by=REGISTRAR)
    told.do(reports.RecordVisibility(application_id="A1", scope="province"), by=REGISTRAR)
    which = {"application_id": "A1", "kind": CertificateKind.NATIONAL, "reason": "据实更正"}
    told.do(certificate.CorrectCertificate(**which), by=REGISTRAR)
    told.do(certificate.SuspendCertificate(**which), by=REGISTRAR)
    told.do(certificate.ReinstateCertificate(**which), by=REGISTRAR)
    told.do(certificate.ReissueCertificate(**which), by=REGISTRAR)
    why = RevocationReason.ISSUED_IN_ERROR
    told.do(certificate.RevokeCertificate(**which, reason_class=why), by=REGISTRAR)


def test_every_command_asks_for_nothing_that_was_not_said_before() -> None:
    told = Told(World())
    tell_everything(told)
    assert {*told.granted} == {*DECISIONS} - REFUSED


def test_a_decision_that_asks_for_more_is_found_out() -> None:
    world = World()
    world.do(open_ledger())
    context = world.context(OPERATOR, world.now)
    watched = ReadSetChecker(world, READ_SETS[type(fees())](world.known, fees(), context))
    assert watched.book() == world.book()
    with pytest.raises(AssertionError, match="application-A1 is asked for"):
        watched.candidacy("A1")


class Listening:
    """A cursor that counts the messages which read for a decision."""

    def __init__(self, cursor: Any, read: list[str]) -> None:
        self._cursor = cursor
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __enter__(self) -> "Listening":
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def execute(self, sql: Any, *arguments: Any) -> None:
        text = sql.decode() if isinstance(sql, bytes) else sql
        if "EXECUTE certledger_read" in text:
            self._read.append(text)
        self._cursor.execute(sql, *arguments)


class Counted:
    """A ledger that notes for which commands more than one message was read."""

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
            if len(self._read) != 1:
                self.more.append((command, [*self._read]))


def test_all_that_a_command_looks_at_is_read_in_one_message(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    cursor = PgConnection.cursor
    with a_real_ledger(database) as world:
        monkeypatch.setattr(
            PgConnection, "cursor", lambda connection: Listening(cursor(connection), read)
        )
        counted = Counted(world, read)
        told = Told(counted)
        tell_everything(told)
        assert {*told.granted} == {*DECISIONS} - REFUSED
        assert counted.more == []

"""Step 5: certificate numbers go upward, and come back row by row (上报).

Source: source-document 5.3.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from domain import events as e
from domain.actors import Role
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    persons_of,
    reads_application,
    with_persons,
)
from domain.decision import (
    AlreadyExists,
    Command,
    Context,
    Decision,
    NotFound,
    States,
    ensure_day,
    stream_of,
)
from domain.errors import LedgerError
from domain.events import CertificateKind
from domain.steps.certificate import find, out_of_order
from domain.steps.enrolment import PersonErased
from domain.values.primitives import Sha256Hex

REPORTABLE = frozenset({"issued", "rejected"})
"""How far a certificate must be to be reported: issued, or sent back before."""


class RowTwice(LedgerError):
    """Application {application_id} occurs twice in the report."""

    code = "row_twice"


class WrongReport(LedgerError):
    """Certificate {number} is not waiting for an answer to report {report_id}."""

    code = "wrong_report"


class SeenAlready(LedgerError):
    """The certificate was recorded as visible to the {scope} already."""

    code = "seen_already"


class FreezeReport(Command):
    """Report certificates upward with the file whose bytes have this hash."""

    report_id: e.Id | None = None
    batch_type: Literal["new", "correction", "addendum"]
    file_sha256: Sha256Hex
    application_ids: tuple[e.Id, ...] = Field(min_length=1, max_length=500)


class AnswerReportRow(Command):
    """Record the authority's answer to one row."""

    report_id: e.Id
    number: e.ShortText
    accepted: bool
    reason: e.LongText | None = None


class RecordVisibility(Command):
    """Record that the public lookup of the province or nation shows the certificate."""

    application_id: e.Id
    scope: Literal["province", "nation"]
    seen_on: date | None = None


def decide_freeze_report(world: States, command: FreezeReport, context: Context) -> Decision:
    """Only issued national certificates that count are reported; the file's hash is frozen.

    Order of refusals: known report, then row by row in the order given.
    Raises: AlreadyExists, RowTwice, NotFound, CertificateOutOfOrder, PersonErased.
    Source: source-document 5.3.
    """
    report_id = command.report_id or context.new_id()
    stream = stream_of("report", report_id)
    if world.exists(stream):
        raise AlreadyExists(what="report", id=report_id)
    rows: list[e.ReportRow] = []
    facts: list[tuple[str, e.Fact]] = []
    seen: set[str] = set()
    for application_id in command.application_ids:
        if application_id in seen:
            raise RowTwice(application_id=application_id)
        seen.add(application_id)
        state = world.candidacy(application_id)
        certificate = find(state, CertificateKind.NATIONAL)
        if certificate.progress not in REPORTABLE or certificate.standing != "valid":
            raise out_of_order(certificate)
        if world.person(state.person_id).is_unknown:
            raise PersonErased()
        rows.append(e.ReportRow(application_id=state.id, number=certificate.number))
        facts.append(
            (
                stream_of("application", state.id),
                e.CertificateReported(
                    application_id=state.id,
                    person_id=state.person_id,
                    kind=certificate.kind,
                    number=certificate.number,
                    report_id=report_id,
                ),
            )
        )
    frozen = e.ReportFrozen(
        report_id=report_id,
        batch_type=command.batch_type,
        file_sha256=command.file_sha256,
        rows=tuple(rows),
    )
    return Decision(
        facts=((stream, frozen), *facts), outcome={"report_id": report_id, "rows": len(rows)}
    )


class RejectionNeedsReason(LedgerError):
    """A row that is sent back needs the authority's reason."""

    code = "rejection_needs_reason"


def decide_answer_row(world: States, command: AnswerReportRow, context: Context) -> Decision:
    """Each row is accepted or sent back by itself; one sent back can be reported again.

    Raises: NotFound, WrongReport, RejectionNeedsReason.
    Source: source-document 5.3.
    """
    report = world.report(command.report_id)
    application_id = report.rows.get(command.number)
    if application_id is None:
        raise NotFound(what="row", id=command.number)
    state = world.candidacy(application_id)
    certificate = find(state, CertificateKind.NATIONAL)
    if certificate.progress != "reported" or certificate.report_id != report.id:
        raise WrongReport(number=command.number, report_id=report.id)
    fact: e.Fact
    if command.accepted:
        fact = e.CertificateAccepted(
            application_id=state.id,
            person_id=state.person_id,
            kind=certificate.kind,
            number=certificate.number,
            report_id=report.id,
        )
    elif command.reason is None:
        raise RejectionNeedsReason()
    else:
        fact = e.CertificateRejected(
            application_id=state.id,
            person_id=state.person_id,
            kind=certificate.kind,
            number=certificate.number,
            report_id=report.id,
            reason=command.reason,
        )
    return Decision(facts=((stream_of("application", state.id), fact),))


def decide_record_visibility(
    world: States, command: RecordVisibility, context: Context
) -> Decision:
    """First the province shows it, some months later the nation; each is recorded once.

    Raises: NotFound, CertificateOutOfOrder, SeenAlready, InTheFuture, TooEarly.
    Source: source-document 5.3.
    """
    state = world.candidacy(command.application_id)
    certificate = find(state, CertificateKind.NATIONAL)
    if certificate.progress not in ("accepted", "visible"):
        raise out_of_order(certificate)
    if command.scope in certificate.seen:
        raise SeenAlready(scope=command.scope)
    seen_on = command.seen_on or context.today
    ensure_day(context, "seen_on", seen_on, certificate.issued_on or seen_on)
    fact = e.CertificateVisible(
        application_id=state.id,
        person_id=state.person_id,
        kind=certificate.kind,
        number=certificate.number,
        scope=command.scope,
        seen_on=seen_on,
    )
    return Decision(facts=((stream_of("application", state.id), fact),))


def _reads_of_report(cached: StateHint, command: FreezeReport, context: Context) -> ReadSet:
    report_id = command.report_id or context.new_id()
    rows = dict.fromkeys(command.application_ids)
    return ReadSet(with_persons(cached, rows), (stream_of("report", report_id),))


def _reads_of_answer(cached: StateHint, command: AnswerReportRow, context: Context) -> ReadSet:
    report = cached("report", command.report_id)
    found = None if report is None else report.rows.get(command.number)
    row = () if found is None else (found,)
    streams = (stream_of("application", each) for each in row)
    persons = () if command.reason is None else persons_of(cached, row)
    return ReadSet((stream_of("report", command.report_id), *streams), persons=persons)


FREEZE_REPORT = CommandSpec(
    FreezeReport, decide_freeze_report, _reads_of_report, roles=frozenset({Role.REGISTRAR})
)
ANSWER_REPORT_ROW = CommandSpec(
    AnswerReportRow,
    decide_answer_row,
    _reads_of_answer,
    roles=frozenset({Role.PROVINCE, Role.REGISTRAR}),
)
RECORD_VISIBILITY = CommandSpec(
    RecordVisibility,
    decide_record_visibility,
    reads_application,
    roles=frozenset({Role.PROVINCE, Role.REGISTRAR}),
)

SPECS = (FREEZE_REPORT, ANSWER_REPORT_ROW, RECORD_VISIBILITY)

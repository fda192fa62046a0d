"""What each command will look at, said before its ledger is locked.

While one command is decided nobody else writes, so all that a batch looks at is read in one
message, together with the lock. What is said here may be too much or too little: a decision
asks for the rest one by one, which takes a round trip each. Too little it is only when memory does
not hold, or not the newest, state of what a command names: whose application it is, which seat is
free next. Reading order: Look, Known, LOOKS, look_of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from domain.decision import Claim, Command, Context, stream_of
from domain.eligibility.rule_sets import rule_set_for
from domain.errors import LedgerError
from domain.events import CertificateKind, Provider
from domain.states.application import Candidacy
from domain.states.folds import Series
from domain.steps import authority_report as reporting
from domain.steps import certificate, enrolment, exam, payment, publication, refund
from domain.steps import ledger_setup as book
from domain.steps import number_allocation as numbering
from domain.steps import review as reviews
from domain.values.certificate_numbers import NationalNumber


class ReadSet(NamedTuple):
    """What a decision will look at.

    streams: whose state it folds. versions: of which it asks only whether they are there. claims:
    that it asks for, takes or lets go. persons: whose keys it seals or opens with.
    """

    streams: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    persons: tuple[str, ...] = ()


class StateHint(Protocol):
    """The state of one thing as memory holds it, perhaps an old one; None if it holds none."""

    def __call__(self, kind: str, key: str | None = None) -> Any: ...


def look_of(known: StateHint, command: Command, context: Context) -> ReadSet:
    """What the decision of a command will look at.

    context: as the decision gets it, with the same ids; its time may be an earlier one.
    """
    try:
        return READ_SETS[type(command)](known, command, context)
    except LedgerError:
        # The wish can't be granted, and its decision says why.
        return ReadSet()


# --- what many of them share ----------------------------------------------------------------------


def _stream(kind: str, field: str) -> Callable[[StateHint, Any, Context], ReadSet]:
    """One stream, whose id is a field of the command."""
    return lambda known, command, context: ReadSet((stream_of(kind, getattr(command, field)),))


def _application(known: StateHint, command: Any, context: Context) -> ReadSet:
    return ReadSet((stream_of("application", command.application_id),))


def _application_and_person(known: StateHint, command: Any, context: Context) -> ReadSet:
    return ReadSet(_with_persons(known, (command.application_id,)))


def _with_persons(known: StateHint, application_ids: Iterable[str]) -> tuple[str, ...]:
    """Applications, and the persons whose they are."""
    ids = tuple(application_ids)
    persons = {state.person_id: None for state in _applications(known, ids)}
    return (
        *(stream_of("application", each) for each in ids),
        *(stream_of("person", each) for each in persons),
    )


def _applications(known: StateHint, ids: Iterable[str]) -> list[Candidacy]:
    return [state for each in ids if (state := known("application", each)) is not None]


def _notices(states: Iterable[Candidacy]) -> tuple[str, ...]:
    """Every notice that results of these applications stood in."""
    return tuple({stream_of("notice", each): None for s in states for each in s.notices})


def _live_claim(state: Candidacy) -> Claim:
    return enrolment.live_claim(state.person_id, state.occupation, state.level)


# --- persons and applications ---------------------------------------------------------------------


def _register(known: StateHint, command: enrolment.RegisterPerson, context: Context) -> ReadSet:
    person_id = command.person_id or context.new_id()
    _, _, index, _ = enrolment.identify(
        context, command.document_type, command.document_number, command.name
    )
    claims = enrolment.person_claims(index, enrolment.login_of(command, context))
    return ReadSet((), (stream_of("person", person_id),), claims, (person_id,))


def _correct_person(
    known: StateHint, command: enrolment.CorrectPerson, context: Context
) -> ReadSet:
    _, _, index, _ = enrolment.identify(
        context, command.document_type, command.document_number, command.name
    )
    person = known("person", command.person_id)
    indexes = {index: None} | ({} if person is None else {person.document_index: None})
    return ReadSet(
        streams=(stream_of("person", command.person_id),),
        claims=(
            enrolment.reviewed_claim(command.person_id),
            *(claim for each in indexes for claim in enrolment.person_claims(each, None)),
        ),
        persons=(command.person_id,),
    )


def _erase(known: StateHint, command: enrolment.ErasePersonalData, context: Context) -> ReadSet:
    claims = enrolment.live_claims(command.person_id)
    person = known("person", command.person_id)
    if person is not None:
        claims += enrolment.person_claims(person.document_index, person.subject)
    return ReadSet((stream_of("person", command.person_id),), (), claims)


def _open_application(
    known: StateHint, command: enrolment.OpenApplication, context: Context
) -> ReadSet:
    application_id = command.application_id or context.new_id()
    rules = rule_set_for(command.occupation, command.edition)
    return ReadSet(
        streams=(stream_of("person", command.person_id),),
        versions=(stream_of("application", application_id),),
        claims=(enrolment.live_claim(command.person_id, rules.occupation, command.level),),
        persons=(command.person_id,),
    )


def _withdraw(
    known: StateHint, command: enrolment.WithdrawApplication, context: Context
) -> ReadSet:
    claims = tuple(map(_live_claim, _applications(known, (command.application_id,))))
    return ReadSet(_with_persons(known, (command.application_id,)), (), claims)


# --- money, documents, reviews --------------------------------------------------------------------


def _record_payment(known: StateHint, command: payment.RecordPayment, context: Context) -> ReadSet:
    claims = payment.payment_claims(command, command.payment_id or context.new_id())
    return ReadSet((stream_of("application", command.application_id), "ledger"), (), claims)


def _submit_document(
    known: StateHint, command: reviews.SubmitDocument, context: Context
) -> ReadSet:
    """A photo's name is compared with the person's, which is opened for that."""
    ids = (command.application_id,)
    persons = tuple(state.person_id for state in _applications(known, ids))
    with_photo = command.material.photo is not None
    return ReadSet(_with_persons(known, ids), persons=persons if with_photo else ())


def _review(known: StateHint, command: reviews.Review, context: Context) -> ReadSet:
    ids = (command.application_id,)
    states = _applications(known, ids)
    if command.verdict == "reject":
        claims = tuple(map(_live_claim, states))
    else:
        claims = tuple(enrolment.reviewed_claim(state.person_id) for state in states)
    return ReadSet(_with_persons(known, ids), (), claims)


def _order_refund(known: StateHint, command: refund.OrderRefund, context: Context) -> ReadSet:
    ids = (command.application_id,)
    claims = tuple(
        ("refund", refund.next_refund_no(state, command.payment_id))
        for state in _applications(known, ids)
    )
    return ReadSet(_with_persons(known, ids), (), claims)


def _refund_outcome(
    known: StateHint, command: refund.RecordRefundOutcome, context: Context
) -> ReadSet:
    claims: tuple[Claim, ...] = ()
    state = known("application", command.application_id)
    found = None if state is None else state.refund(command.refund_no)
    if found is not None and command.provider_refund_id is not None:
        providers = {refund.paid_by(state, found).provider: None, Provider.BANK: None}
        claims = tuple(refund.provider_refund_claim(each, command) for each in providers)
    return ReadSet((stream_of("application", command.application_id),), (), claims)


# --- the exam and its results ---------------------------------------------------------------------


def _schedule(known: StateHint, command: exam.ScheduleSession, context: Context) -> ReadSet:
    session_id = command.session_id or context.new_id()
    return ReadSet(versions=(stream_of("session", session_id),))


def _assign_seat(known: StateHint, command: exam.AssignSeat, context: Context) -> ReadSet:
    claims: tuple[Claim, ...] = ()
    state = known("application", command.application_id)
    session = known("session", command.session_id)
    if session is not None and state is not None:
        ticket = exam.ticket_number(session, *exam.seat_for(session, command))
        claims = exam.session_claim(session.id, state.person_id), ("ticket", ticket)
    return ReadSet(
        streams=(
            stream_of("application", command.application_id),
            stream_of("session", command.session_id),
        ),
        claims=claims,
    )


def _record_score(known: StateHint, command: exam.RecordScore, context: Context) -> ReadSet:
    session = known("session", command.session_id)
    found = None if session is None else session.tickets.get(command.ticket_number)
    seated = () if found is None else (found,)
    return ReadSet((stream_of("session", command.session_id), *_with_persons(known, seated)))


def _correct_score(known: StateHint, command: exam.CorrectScore, context: Context) -> ReadSet:
    ids = (command.application_id,)
    objected = command.objection_id is not None
    notices = _notices(_applications(known, ids)) if objected else ()
    return ReadSet((*_with_persons(known, ids), *notices))


def _open_notice(known: StateHint, command: publication.OpenNotice, context: Context) -> ReadSet:
    notice_id = command.notice_id or context.new_id()
    session = known("session", command.session_id)
    seated = () if session is None else session.seats.values()
    return ReadSet(
        streams=(
            stream_of("session", command.session_id),
            *(stream_of("application", each) for each in seated),
        ),
        versions=(stream_of("notice", notice_id),),
    )


def _file_objection(
    known: StateHint, command: publication.FileObjection, context: Context
) -> ReadSet:
    return ReadSet(
        streams=(stream_of("notice", command.notice_id), stream_of("person", command.person_id)),
        persons=(command.person_id,),
    )


def _resolve_objection(
    known: StateHint, command: publication.ResolveObjection, context: Context
) -> ReadSet:
    notice = known("notice", command.notice_id)
    found = None if notice is None else notice.open_objections.get(command.objection_id)
    row = () if found is None else (found,)
    return ReadSet((stream_of("notice", command.notice_id), *_with_persons(known, row)))


def _close_notice(known: StateHint, command: publication.CloseNotice, context: Context) -> ReadSet:
    """Every row, the earlier notices it stood in, and the claim that ends with it."""
    notice = known("notice", command.notice_id)
    rows = () if notice is None else notice.opened.application_ids
    states = _applications(known, rows)
    streams = (
        stream_of("notice", command.notice_id),
        *(stream_of("application", each) for each in rows),
        *_notices(states),
    )
    return ReadSet(tuple(dict.fromkeys(streams)), (), tuple(map(_live_claim, states)))


# --- certificates ---------------------------------------------------------------------------------


def _number(known: StateHint, command: numbering.NumberCertificates, context: Context) -> ReadSet:
    year = command.year or context.today.year
    return _numbers(known, command.application_id, dict.fromkeys(CertificateKind, year))


def _import_number(known: StateHint, command: numbering.ImportNumber, context: Context) -> ReadSet:
    number = NationalNumber.parse(command.number)
    allocated = _numbers(known, command.application_id, {CertificateKind.OMC: number.year})
    streams = allocated.streams
    if number.grade is not None:
        series = numbering.series_id(CertificateKind.NATIONAL, number.year, number.grade)
        streams += (stream_of("series", series),)
    return ReadSet(streams, (), (*allocated.claims, numbering.number_claim(str(number))))


def _numbers(known: StateHint, application_id: str, due: dict[CertificateKind, int]) -> ReadSet:
    """An application that gets the next number of each kind, of the given year."""
    streams = [stream_of("application", application_id), "ledger"]
    claims: list[Claim] = []
    opened = known("ledger")
    for state in _applications(known, (application_id,)):
        streams += _notices((state,))[-1:]
        for kind, year in due.items():
            series_id = numbering.series_id(kind, year, state.level)
            streams.append(stream_of("series", series_id))
            if opened is not None:
                series = known("series", series_id) or Series(series_id)
                serial = series.last_serial + 1
                number = numbering.number_of(kind, opened, year, state.level, serial)
                claims.append(numbering.number_claim(number))
    return ReadSet(tuple(streams), (), tuple(claims))


def _issue(known: StateHint, command: certificate.IssueCertificates, context: Context) -> ReadSet:
    ids = (command.application_id,)
    return ReadSet((*_with_persons(known, ids), *_notices(_applications(known, ids))[-1:]))


def _freeze_report(known: StateHint, command: reporting.FreezeReport, context: Context) -> ReadSet:
    report_id = command.report_id or context.new_id()
    rows = dict.fromkeys(command.application_ids)
    return ReadSet(_with_persons(known, rows), (stream_of("report", report_id),))


def _answer_row(known: StateHint, command: reporting.AnswerReportRow, context: Context) -> ReadSet:
    report = known("report", command.report_id)
    found = None if report is None else report.rows.get(command.number)
    row = () if found is None else (stream_of("application", found),)
    return ReadSet((stream_of("report", command.report_id), *row))


READ_SETS: dict[type[Command], Callable[[StateHint, Any, Context], ReadSet]] = {
    book.OpenLedger: lambda known, command, context: ReadSet(versions=("ledger",)),
    book.SetFeeSchedule: lambda known, command, context: ReadSet(("ledger",)),
    enrolment.RegisterPerson: _register,
    enrolment.CorrectPerson: _correct_person,
    enrolment.ErasePersonalData: _erase,
    enrolment.OpenApplication: _open_application,
    enrolment.WithdrawApplication: _withdraw,
    payment.RecordPayment: _record_payment,
    payment.UseItem: _application_and_person,
    reviews.SubmitDocument: _submit_document,
    reviews.SubmitDocuments: _application_and_person,
    reviews.Review: _review,
    refund.OrderRefund: _order_refund,
    refund.ApproveRefund: _application_and_person,
    refund.DeclineRefund: _application,
    refund.RecordRefundOutcome: _refund_outcome,
    exam.ScheduleSession: _schedule,
    exam.AssignSeat: _assign_seat,
    exam.CloseSession: _stream("session", "session_id"),
    exam.RecordScore: _record_score,
    exam.VerifyScores: _application_and_person,
    exam.CorrectScore: _correct_score,
    publication.OpenNotice: _open_notice,
    publication.ExtendNotice: _stream("notice", "notice_id"),
    publication.FileObjection: _file_objection,
    publication.ResolveObjection: _resolve_objection,
    publication.CloseNotice: _close_notice,
    numbering.NumberCertificates: _number,
    numbering.ImportNumber: _import_number,
    certificate.IssueCertificates: _issue,
    certificate.CorrectCertificate: _application,
    certificate.ReissueCertificate: _application_and_person,
    certificate.SuspendCertificate: _application,
    certificate.ReinstateCertificate: _application,
    certificate.RevokeCertificate: _application,
    reporting.FreezeReport: _freeze_report,
    reporting.AnswerReportRow: _answer_row,
    reporting.RecordVisibility: _application,
}
"""Every command and what it will look at. A test holds that none is left out and that, where
memory holds what it names, its decision asks for nothing else."""

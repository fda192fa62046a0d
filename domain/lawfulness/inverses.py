"""From facts back to the command that could have led to them, in the order of a journey.

A command that is rebuilt names what the facts name: their ids, days and amounts, as a client may
name them. What a decision used but no fact holds is filled in so that it refuses nothing: the name
of a photo's file and its measures, and names and numbers as people typed them. Every spec has an
inverse; a test compares the two lists. One file because it is one table.
Reading order: Inverse, one function a command, INVERSES, BY_FIRST.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from domain import events as e
from domain.command_spec import CommandSpec
from domain.decision import Command, States
from domain.documents.materials import Background, MaterialFact, MaterialKind, PhotoFact
from domain.eligibility.qualifications import Qualifications
from domain.events import Subject
from domain.lawfulness.history import PHOTO_IDENTITY
from domain.steps import authority_report as reports
from domain.steps import certificate as certificates
from domain.steps import (
    contested_registration,
    edition_adoption,
    enrolment,
    erasure,
    exam,
    ledger_setup,
    log_recovery,
    payment,
    public_notice,
    refund,
    review,
    service_keys,
)
from domain.steps import number_allocation as numbering

Facts = Sequence[Any]
"""The facts of one command, in order; personal fields opened."""


class Inverse(NamedTuple):
    """How to find the command of one spec again.

    first: the facts that one of its decisions can begin with.
    reconstruct: the command; None if its facts do not begin like this. States: before the facts.
        Raises: ValidationError for a value that no such command can hold, IndexError and
        AttributeError where facts are missing, KeyError and NotFound for an unknown thing.
    """

    spec: CommandSpec[Any]
    first: tuple[type[e.Fact], ...]
    reconstruct: Callable[[Facts, States], Command | None]


# --- the ledger, persons, applications ------------------------------------------------------------


def _open_ledger(facts: Facts, states: States) -> Command:
    opened: e.LedgerOpened = facts[0]
    return ledger_setup.OpenLedger(
        organisation_name=opened.organisation_name,
        issuer_name=opened.issuer_name,
        unified_social_credit_code=opened.unified_social_credit_code,
        site_code=opened.site_code,
        log_origin=opened.log_origin,
    )


def _open_service(facts: Facts, states: States) -> Command:
    opened: e.ServiceOpened = facts[0]
    return ledger_setup.OpenService(
        organisation_name=opened.organisation_name,
        log_origin=opened.log_origin,
        second=opened.second,
    )


def _propose_edition(facts: Facts, states: States) -> Command:
    proposed: e.EditionProposed = facts[0]
    return edition_adoption.ProposeEdition(
        kind=proposed.kind,
        edition=proposed.edition,
        valid_from=proposed.valid_from,
        content=proposed.content,
    )


def _adopt_edition(facts: Facts, states: States) -> Command:
    adopted: e.EditionAdopted = facts[0]
    return edition_adoption.AdoptEdition(kind=adopted.kind, sha256=adopted.sha256)


def _copy_edition(facts: Facts, states: States) -> Command:
    copied: e.EditionCopied = facts[0]
    return edition_adoption.CopyEdition(
        kind=copied.kind,
        edition=copied.edition,
        valid_from=copied.valid_from,
        content=copied.content,
        service_position=copied.service_position,
    )


def _set_issuer_url(facts: Facts, states: States) -> Command:
    issuer: e.IssuerUrlSet = facts[0]
    return ledger_setup.SetIssuerUrl(url=issuer.url, valid_from=issuer.valid_from)


def _introduce_key(facts: Facts, states: States) -> Command:
    key: e.KeyIntroduced = facts[0]
    return service_keys.IntroduceKey(
        purpose=key.purpose,
        key_id=key.key_id,
        algorithm=key.algorithm,
        public_key=key.public_key,
        signature_old=key.signature_old,
        signature_new=key.signature_new,
    )


def _retire_key(facts: Facts, states: States) -> Command:
    key: e.KeyRetired = facts[0]
    return service_keys.RetireKey(purpose=key.purpose, key_id=key.key_id, reason=key.reason or "")


def _continue_log(facts: Facts, states: States) -> Command:
    fact: e.LogContinuedElsewhere = facts[0]
    return log_recovery.ContinueLog(
        old_origin=fact.old_origin,
        old_head_size=fact.old_head_size,
        old_head_root=fact.old_head_root,
        old_head_note=fact.old_head_note,
        first_position=fact.first_position,
        positions_gone=fact.positions_gone,
        proposed_by=fact.proposed_by,
        confirmed_by=fact.confirmed_by,
        log_key=facts[1],
        journal_key=facts[2],
    )


def _register_person(facts: Facts, states: States) -> Command:
    person: e.PersonRegistered | e.RegistrationContested | e.PersonRecognised = facts[0]
    is_known = isinstance(person, e.PersonRecognised)  # then the command named no id of theirs
    # Not validated: in its normal form a name may be longer than the command takes it.
    return enrolment.RegisterPerson.model_construct(
        person_id=_ANOTHER_ID if is_known else person.person_id,
        document_type=person.document_type,
        document_country=person.document_country,
        document_number=person.document_number,
        name=person.name,
        phone=getattr(person, "phone", None),
        subject=getattr(person, "subject", None),
    )


_ANOTHER_ID = "0" * 32
"""Of nobody: ids are random."""


def _join_registration(facts: Facts, states: States) -> Command:
    joined: e.RegistrationJoined = facts[0]
    return contested_registration.JoinRegistration(person_id=joined.person_id)


def _reject_registration(facts: Facts, states: States) -> Command:
    rejected: e.RegistrationRejected = facts[0]
    return contested_registration.RejectRegistration.model_construct(
        person_id=rejected.person_id, reason=rejected.reason or ""
    )


def _correct_person(facts: Facts, states: States) -> Command:
    person: e.PersonCorrected = facts[0]
    return enrolment.CorrectPerson.model_construct(
        person_id=person.person_id,
        document_type=person.document_type,
        document_country=person.document_country,
        document_number=person.document_number,
        name=person.name,
        reason=person.reason or "",
    )


def _propose_erasure(facts: Facts, states: States) -> Command:
    proposed: e.ErasureProposed = facts[0]
    return erasure.ProposeErasure(
        person_id=proposed.person_id, proposal=proposed.proposal, reason=proposed.reason
    )


def _confirm_erasure(facts: Facts, states: States) -> Command:
    erased: e.ErasureConfirmed = facts[0]
    return erasure.ConfirmErasure(
        person_id=erased.person_id,
        proposal=erased.proposal,
        findings_sha256=erased.findings_sha256,
    )


def _continue_erasure(facts: Facts, states: States) -> Command:
    return erasure.ContinueErasure(person_id=facts[0].person_id)


def _repeat_erasure(facts: Facts, states: States) -> Command:
    named = erasure.RepeatErasure.model_fields
    return erasure.RepeatErasure(**{name: getattr(facts[0], name) for name in named})


def _open_application(facts: Facts, states: States) -> Command:
    opened: e.ApplicationOpened = facts[0]
    assessed: e.EligibilityConfirmed | e.EligibilityRefused = facts[1]
    return enrolment.OpenApplication(
        application_id=opened.application_id,
        person_id=opened.person_id,
        occupation=opened.occupation,
        edition=opened.edition,
        level=opened.level,
        job_type=opened.job_type,
        agency=opened.agency,
        qualifications=Qualifications.model_validate_json(assessed.qualifications or ""),
        as_of=assessed.as_of,
    )


def _withdraw_application(facts: Facts, states: States) -> Command:
    withdrawn: e.ApplicationWithdrawn = facts[0]
    return enrolment.WithdrawApplication(
        application_id=withdrawn.application_id, reason=withdrawn.reason or ""
    )


# --- fees, documents, reviews ---------------------------------------------------------------------


def _record_payment(facts: Facts, states: States) -> Command:
    paid: e.FeePaid | e.ExcessPaymentReceived = facts[0]
    return payment.RecordPayment(
        application_id=paid.application_id,
        payment_id=paid.payment_id,
        provider=paid.provider,
        channel_id=paid.channel_id,
        provider_transaction_id=paid.provider_transaction_id,
        merchant_order_no=paid.merchant_order_no,
        paid_at=paid.paid_at,
        lines=paid.lines,
        source=paid.source,
        evidence_sha256=paid.evidence_sha256,
    )


def _use_item(facts: Facts, states: States) -> Command:
    used: e.FeeItemUsed = facts[0]
    return payment.UseItem(application_id=used.application_id, item=used.item, used_at=used.used_at)


PHOTO_WIDTH_PX = 413
PHOTO_HEIGHT_PX = 579
"""35 x 49 mm at 300 dots per inch: measures that are always accepted, pixels."""


def _submit_document(facts: Facts, states: States) -> Command:
    document: e.DocumentSubmitted = facts[0]
    photo = None
    if document.kind is MaterialKind.PHOTO:
        photo = PhotoFact(
            width_px=PHOTO_WIDTH_PX,
            height_px=PHOTO_HEIGHT_PX,
            background=Background.WHITE,
            in_colour=True,
            taken_on=document.taken_on,
        )
    return review.SubmitDocument(
        application_id=document.application_id,
        material=MaterialFact(
            kind=document.kind,
            sha256=document.plain_sha256 or document.photo_sha256 or "",
            size_bytes=document.size_bytes,
            media_type=document.media_type,
            photo=photo,
        ),
        sealed_sha256=document.sha256,
        file_name=f"{PHOTO_IDENTITY.name}_{PHOTO_IDENTITY.document_number}.jpg",
    )


def _submit_documents(facts: Facts, states: States) -> Command:
    return review.SubmitDocuments(application_id=facts[0].application_id)


_REVIEWS: dict[type[e.Fact], dict[str, Any]] = {
    fact: {"stage": stage, "verdict": verdict}
    for verdict, by_stage in (
        ("pass", review.PASSED),
        ("return", review.RETURNED),
        ("reject", review.REJECTED),
    )
    for stage, fact in by_stage.items()
}


def _review(facts: Facts, states: States) -> Command:
    given: Any = facts[0]
    return review.Review(
        **_REVIEWS[type(given)],
        application_id=given.application_id,
        round=given.round,
        reason=getattr(given, "reason", None),
        missing=getattr(given, "missing", ()),
    )


# --- refunds --------------------------------------------------------------------------------------


def _order_refund(facts: Facts, states: States) -> Command:
    ordered: e.RefundOrdered | e.RefundRefused = facts[0]
    return refund.OrderRefund(
        application_id=ordered.application_id,
        payment_id=ordered.payment_id,
        component=ordered.component,
    )


def _approve_refund(facts: Facts, states: States) -> Command:
    approved: e.RefundApproved = facts[0]
    return refund.ApproveRefund(
        application_id=approved.application_id, refund_no=approved.refund_no
    )


def _decline_refund(facts: Facts, states: States) -> Command:
    declined: e.RefundDeclined = facts[0]
    return refund.DeclineRefund(
        application_id=declined.application_id,
        refund_no=declined.refund_no,
        reason=declined.reason or "",
    )


_OUTCOMES: dict[type[e.Fact], Any] = {
    e.RefundAccepted: "accepted",
    e.RefundSettled: "settled",
    e.RefundClosed: "closed",
    e.RefundAbnormal: "abnormal",
}


def _record_refund_outcome(facts: Facts, states: States) -> Command:
    said: Any = facts[0]
    given = {name: value for name, value in said if name != "person_id"}
    return refund.RecordRefundOutcome(**given, outcome=_OUTCOMES[type(said)])


# --- the exam -------------------------------------------------------------------------------------


def _schedule_session(facts: Facts, states: States) -> Command:
    scheduled: e.ExamSessionScheduled = facts[0]
    return exam.ScheduleSession(
        session_id=scheduled.session_id,
        name=scheduled.name,
        occupation=scheduled.occupation,
        level=scheduled.level,
        place=scheduled.place,
        address=scheduled.address,
        theory_starts_at=scheduled.theory_starts_at,
        practical_starts_at=scheduled.practical_starts_at,
        rooms=scheduled.rooms,
    )


def _assign_seat(facts: Facts, states: States) -> Command:
    seat: e.SeatAssigned = facts[0]
    return exam.AssignSeat(
        application_id=seat.application_id,
        session_id=seat.session_id,
        room=seat.room,
        seat=seat.seat,
    )


def _close_session(facts: Facts, states: States) -> Command:
    held: e.ExamSessionHeld = facts[0]
    return exam.CloseSession(session_id=held.session_id, ended_at=held.ended_at)


def _record_score(facts: Facts, states: States) -> Command:
    """The ticket is that of the seat; without one, a ticket that no session has."""
    score: e.TheoryScoreRecorded | e.PracticalScoreRecorded = facts[0]
    ticket = states.candidacy(score.application_id).ticket_number
    theory = isinstance(score, e.TheoryScoreRecorded)
    return exam.RecordScore(
        session_id=score.session_id,
        ticket_number=ticket or "none",
        subject=Subject.THEORY if theory else Subject.PRACTICAL,
        marks=score.marks,
    )


def _verify_scores(facts: Facts, states: States) -> Command:
    verified: e.ScoresVerified = facts[0]
    return exam.VerifyScores(
        application_id=verified.application_id,
        theory=verified.theory,
        practical=verified.practical,
    )


def _correct_score(facts: Facts, states: States) -> Command:
    corrected: e.ScoreCorrected = facts[0]
    return exam.CorrectScore(
        application_id=corrected.application_id,
        subject=corrected.subject,
        marks=corrected.marks,
        reason=corrected.reason or "",
        objection_id=corrected.objection_id,
    )


# --- the public notice ----------------------------------------------------------------------------


def _open_notice(facts: Facts, states: States) -> Command:
    notice: e.PublicNoticeOpened = facts[0]
    return public_notice.OpenNotice(
        notice_id=notice.notice_id, session_id=notice.session_id, late_reason=notice.late_reason
    )


def _extend_notice(facts: Facts, states: States) -> Command:
    return public_notice.ExtendNotice(notice_id=facts[0].notice_id)


def _file_objection(facts: Facts, states: States) -> Command:
    objection: e.ObjectionFiled = facts[0]
    named: e.ObjectorNamed | None = facts[1] if len(facts) > 1 else None
    return public_notice.FileObjection(
        notice_id=objection.notice_id,
        application_id=objection.application_id,
        objection_id=objection.objection_id,
        objector_id=objection.objector_id,
        objector_name=None if named is None else named.name or "",
        objector_contact=None if named is None else named.contact,
        text=objection.text or "",
    )


def _resolve_objection(facts: Facts, states: States) -> Command:
    resolved: e.ObjectionDismissed | e.ObjectionUpheld = facts[0]
    upheld = isinstance(resolved, e.ObjectionUpheld)
    return public_notice.ResolveObjection(
        notice_id=resolved.notice_id,
        objection_id=resolved.objection_id,
        outcome="upheld" if upheld else "dismissed",
        reason=resolved.reason or "",
    )


def _close_notice(facts: Facts, states: States) -> Command:
    return public_notice.CloseNotice(notice_id=facts[0].notice_id)


# --- certificates ---------------------------------------------------------------------------------


def _number_certificates(facts: Facts, states: States) -> Command | None:
    taken: e.SerialTaken = facts[0]
    if taken.source != "allocated":
        return None
    _, year, _ = taken.series_id.split("-")
    return numbering.NumberCertificates(application_id=taken.application_id, year=int(year))


def _import_number(facts: Facts, states: States) -> Command | None:
    taken: e.SerialTaken = facts[0]
    if taken.source != "imported":
        return None
    return numbering.ImportNumber(application_id=taken.application_id, number=taken.number)


def _issue_certificates(facts: Facts, states: States) -> Command:
    issued: e.CertificateIssued = facts[0]
    return certificates.IssueCertificates(
        application_id=issued.application_id, issued_on=issued.issued_on
    )


def _changed(command: type[Command], *fields: str) -> Callable[[Facts, States], Command]:
    """A command on one certificate. fields: those that it has besides the certificate's."""

    def reconstruct(facts: Facts, states: States) -> Command:
        given = {name: getattr(facts[0], name) for name in ("application_id", "kind", *fields)}
        return command(**given)

    return reconstruct


# --- the report to the authority ------------------------------------------------------------------


def _freeze_report(facts: Facts, states: States) -> Command:
    frozen: e.ReportFrozen = facts[0]
    return reports.FreezeReport(
        report_id=frozen.report_id,
        batch_type=frozen.batch_type,
        file_sha256=frozen.file_sha256,
        application_ids=tuple(row.application_id for row in frozen.rows),
    )


def _answer_report_row(facts: Facts, states: States) -> Command:
    answer: e.CertificateAccepted | e.CertificateRejected = facts[0]
    return reports.AnswerReportRow(
        report_id=answer.report_id,
        number=answer.number,
        accepted=isinstance(answer, e.CertificateAccepted),
        reason=getattr(answer, "reason", None),
    )


def _record_visibility(facts: Facts, states: States) -> Command:
    seen: e.CertificateVisible = facts[0]
    return reports.RecordVisibility(
        application_id=seen.application_id, scope=seen.scope, seen_on=seen.seen_on
    )


# --- the table ------------------------------------------------------------------------------------

INVERSES: tuple[Inverse, ...] = (
    Inverse(ledger_setup.OPEN_LEDGER, (e.LedgerOpened,), _open_ledger),
    Inverse(ledger_setup.OPEN_SERVICE, (e.ServiceOpened,), _open_service),
    Inverse(edition_adoption.PROPOSE_EDITION, (e.EditionProposed,), _propose_edition),
    Inverse(edition_adoption.ADOPT_EDITION, (e.EditionAdopted,), _adopt_edition),
    Inverse(edition_adoption.COPY_EDITION, (e.EditionCopied,), _copy_edition),
    Inverse(ledger_setup.SET_ISSUER_URL, (e.IssuerUrlSet,), _set_issuer_url),
    Inverse(service_keys.INTRODUCE_KEY, (e.KeyIntroduced,), _introduce_key),
    Inverse(service_keys.RETIRE_KEY, (e.KeyRetired,), _retire_key),
    Inverse(log_recovery.CONTINUE_LOG, (e.LogContinuedElsewhere,), _continue_log),
    Inverse(enrolment.REGISTER_PERSON, (*e.REGISTRATION, e.PersonRecognised), _register_person),
    Inverse(contested_registration.JOIN_REGISTRATION, (e.RegistrationJoined,), _join_registration),
    Inverse(
        contested_registration.REJECT_REGISTRATION, (e.RegistrationRejected,), _reject_registration
    ),
    Inverse(enrolment.CORRECT_PERSON, (e.PersonCorrected,), _correct_person),
    Inverse(erasure.PROPOSE_ERASURE, (e.ErasureProposed,), _propose_erasure),
    Inverse(erasure.CONFIRM_ERASURE, (e.ErasureConfirmed,), _confirm_erasure),
    Inverse(erasure.CONTINUE_ERASURE, (e.ErasureContinued,), _continue_erasure),
    Inverse(erasure.REPEAT_ERASURE, (e.ErasureRepeated,), _repeat_erasure),
    Inverse(enrolment.OPEN_APPLICATION, (e.ApplicationOpened,), _open_application),
    Inverse(enrolment.WITHDRAW_APPLICATION, (e.ApplicationWithdrawn,), _withdraw_application),
    Inverse(payment.RECORD_PAYMENT, (e.FeePaid, e.ExcessPaymentReceived), _record_payment),
    Inverse(payment.USE_ITEM, (e.FeeItemUsed,), _use_item),
    Inverse(review.SUBMIT_DOCUMENT, (e.DocumentSubmitted,), _submit_document),
    Inverse(review.SUBMIT_DOCUMENTS, (e.DocumentsSubmitted,), _submit_documents),
    Inverse(review.REVIEW, (*_REVIEWS,), _review),
    Inverse(refund.ORDER_REFUND, (e.RefundOrdered, e.RefundRefused), _order_refund),
    Inverse(refund.APPROVE_REFUND, (e.RefundApproved,), _approve_refund),
    Inverse(refund.DECLINE_REFUND, (e.RefundDeclined,), _decline_refund),
    Inverse(refund.RECORD_REFUND_OUTCOME, (*_OUTCOMES,), _record_refund_outcome),
    Inverse(exam.SCHEDULE_SESSION, (e.ExamSessionScheduled,), _schedule_session),
    Inverse(exam.ASSIGN_SEAT, (e.SeatAssigned,), _assign_seat),
    Inverse(exam.CLOSE_SESSION, (e.ExamSessionHeld,), _close_session),
    Inverse(exam.RECORD_SCORE, (e.TheoryScoreRecorded, e.PracticalScoreRecorded), _record_score),
    Inverse(exam.VERIFY_SCORES, (e.ScoresVerified,), _verify_scores),
    Inverse(exam.CORRECT_SCORE, (e.ScoreCorrected,), _correct_score),
    Inverse(public_notice.OPEN_NOTICE, (e.PublicNoticeOpened,), _open_notice),
    Inverse(public_notice.EXTEND_NOTICE, (e.PublicNoticeExtended,), _extend_notice),
    Inverse(public_notice.FILE_OBJECTION, (e.ObjectionFiled,), _file_objection),
    Inverse(
        public_notice.RESOLVE_OBJECTION,
        (e.ObjectionDismissed, e.ObjectionUpheld),
        _resolve_objection,
    ),
    Inverse(public_notice.CLOSE_NOTICE, (e.PublicNoticeClosed,), _close_notice),
    Inverse(numbering.NUMBER_CERTIFICATES, (e.SerialTaken,), _number_certificates),
    Inverse(numbering.IMPORT_NUMBER, (e.SerialTaken,), _import_number),
    Inverse(certificates.ISSUE_CERTIFICATES, (e.CertificateIssued,), _issue_certificates),
    Inverse(
        certificates.CORRECT_CERTIFICATE,
        (e.CertificateCorrected,),
        _changed(certificates.CorrectCertificate, "reason"),
    ),
    Inverse(
        certificates.REISSUE_CERTIFICATE,
        (e.CertificateReissued,),
        _changed(certificates.ReissueCertificate, "reason", "reissued_on"),
    ),
    Inverse(
        certificates.SUSPEND_CERTIFICATE,
        (e.CertificateSuspended,),
        _changed(certificates.SuspendCertificate, "reason"),
    ),
    Inverse(
        certificates.REINSTATE_CERTIFICATE,
        (e.CertificateReinstated,),
        _changed(certificates.ReinstateCertificate, "reason"),
    ),
    Inverse(
        certificates.REVOKE_CERTIFICATE,
        (e.CertificateRevoked,),
        _changed(certificates.RevokeCertificate, "reason", "reason_class"),
    ),
    Inverse(reports.FREEZE_REPORT, (e.ReportFrozen,), _freeze_report),
    Inverse(
        reports.ANSWER_REPORT_ROW,
        (e.CertificateAccepted, e.CertificateRejected),
        _answer_report_row,
    ),
    Inverse(reports.RECORD_VISIBILITY, (e.CertificateVisible,), _record_visibility),
)
"""The inverse of every spec of `domain.commands`."""

BY_FIRST: dict[type[e.Fact], tuple[Inverse, ...]] = {
    first: tuple(each for each in INVERSES if first in each.first)
    for inverse in INVERSES
    for first in inverse.first
}
"""The fact that comes first -> the inverses that it may belong to."""

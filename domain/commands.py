"""The table of contents of what can be asked: every command and the decision it leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain.decision import Command, Context, Decision, States
from domain.steps import authority_report as reporting
from domain.steps import certificate, enrolment, exam, payment, publication, refund
from domain.steps import ledger_setup as book
from domain.steps import number_allocation as numbering
from domain.steps import review as reviews

DECISIONS: dict[type[Command], Callable[[States, Any, Context], Decision]] = {
    book.OpenLedger: book.decide_open_ledger,
    book.SetFeeSchedule: book.decide_set_fee_schedule,
    enrolment.RegisterPerson: enrolment.decide_register_person,
    enrolment.CorrectPerson: enrolment.decide_correct_person,
    enrolment.ErasePersonalData: enrolment.decide_erase,
    enrolment.OpenApplication: enrolment.decide_open_application,
    enrolment.WithdrawApplication: enrolment.decide_withdraw,
    payment.RecordPayment: payment.decide_record_payment,
    payment.UseItem: payment.decide_use_item,
    reviews.SubmitDocument: reviews.decide_submit_document,
    reviews.SubmitDocuments: reviews.decide_submit_documents,
    reviews.Review: reviews.decide_review,
    refund.OrderRefund: refund.decide_order_refund,
    refund.ApproveRefund: refund.decide_approve_refund,
    refund.DeclineRefund: refund.decide_decline_refund,
    refund.RecordRefundOutcome: refund.decide_refund_outcome,
    exam.ScheduleSession: exam.decide_schedule_session,
    exam.AssignSeat: exam.decide_assign_seat,
    exam.CloseSession: exam.decide_close_session,
    exam.RecordScore: exam.decide_record_score,
    exam.VerifyScores: exam.decide_verify_scores,
    exam.CorrectScore: exam.decide_correct_score,
    publication.OpenNotice: publication.decide_open_notice,
    publication.ExtendNotice: publication.decide_extend_notice,
    publication.FileObjection: publication.decide_file_objection,
    publication.ResolveObjection: publication.decide_resolve_objection,
    publication.CloseNotice: publication.decide_close_notice,
    numbering.NumberCertificates: numbering.decide_number_certificates,
    numbering.ImportNumber: numbering.decide_import_number,
    certificate.IssueCertificates: certificate.decide_issue_certificates,
    certificate.CorrectCertificate: certificate.decide_correct,
    certificate.ReissueCertificate: certificate.decide_reissue,
    certificate.SuspendCertificate: certificate.decide_suspend,
    certificate.ReinstateCertificate: certificate.decide_reinstate,
    certificate.RevokeCertificate: certificate.decide_revoke,
    reporting.FreezeReport: reporting.decide_freeze_report,
    reporting.AnswerReportRow: reporting.decide_answer_row,
    reporting.RecordVisibility: reporting.decide_record_visibility,
}
"""Every command there is. A test holds that no command class is left out."""


def decide(world: States, command: Command, context: Context) -> Decision:
    """The decision of a command. Raises: the `LedgerError` that says why not."""
    return DECISIONS[type(command)](world, command, context)

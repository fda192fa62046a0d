"""The report upward (上报): a frozen file, its answer row by row, and what lookups show."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any, Literal, Protocol

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.files.authority_report_xlsx import (
    BatchKind,
    FrozenRow,
    ReportBatch,
    SheetRow,
    build_report,
    frozen_row,
    in_report_order,
    read_answer,
)
from api.http.batch import make_row, new_outcome, record_all
from api.http.body_models import BULK
from api.http.command_route import CommandRequest, CommandRoute
from api.http.dependencies import (
    CommandContext,
    QueryContext,
    Read,
    ThingId,
    etag,
    receipt_response,
)
from api.http.multipart import form_schema, read_form
from api.http.routing import READING, XLSX, file_response, router
from api.routes.admission_tickets import document_rules_today
from domain import events as e
from domain.decision import AlreadyExists, NotFound, stream_of
from domain.documents.document_rules import DocumentRules
from domain.events import CertificateKind
from domain.steps.authority_report import (
    ANSWER_REPORT_ROW,
    FREEZE_REPORT,
    RECORD_VISIBILITY,
    REPORTABLE,
    AnswerReportRow,
    FreezeReport,
    RowTwice,
)
from domain.steps.certificate import find, out_of_order
from domain.steps.enrolment import PersonErased
from domain.values.identity_documents import DocumentType
from domain.values.working_days import shanghai_date

TAG = "上报 · Reports"
routes = router(TAG)


BATCH_KINDS = {
    "new": BatchKind.NEW,
    "correction": BatchKind.CORRECTION,
    "addendum": BatchKind.LATE,
}


class ReportRowShown(BaseModel):
    """One certificate of a report, and its present progress."""

    application_id: str
    number: str
    progress: str = Field(description="of the certificate at present")


class ReportShown(BaseModel):
    """One report."""

    report_id: str
    batch_type: str
    file_sha256: str = Field(description="of the stored rows, each sealed, in order of number")
    rows: list[ReportRowShown]


class _ReportRequest(Protocol):
    """The body of `freeze_report`: its command without the hash of the file that is built here."""

    report_id: str | None
    batch_type: Literal["new", "correction", "addendum"]
    application_ids: tuple[str, ...]


async def freeze_report(
    context: CommandContext, request: CommandRequest, body: _ReportRequest
) -> Response:
    """Store the rows, each sealed, then record the hash. A repeated request stores nothing."""
    receipt = await context.replayed_receipt()
    if receipt is None:
        # The file names the report, so its id is made before the command. It is random: the id
        # stays for ever, and one made from the caller's login could be tried out.
        report_id = body.report_id or token_hex(16)
        rows = await context.service.read(_rows, context, body, report_id)
        receipt = await context.record_with_file(
            lambda files: files.store_rows(stream_of("report", report_id), rows),
            lambda sha256: FreezeReport(
                report_id=report_id,
                batch_type=body.batch_type,
                file_sha256=sha256,
                application_ids=body.application_ids,
            ),
        )
    return receipt_response(receipt, context.path(f"/reports/{receipt.outcome['report_id']}"))


routes.routes += [
    CommandRoute(
        FREEZE_REPORT,
        "POST /reports",
        "freeze_report",
        tag=TAG,
        summary="生成并冻结上报文件 · Build and freeze a report",
        docs="""
      固定国家11列格式的各行,加密存档并记录哈希。· Freezes the rows of the 11-column workbook of
      issued national certificates: stores each sealed, and records their hash. Source: 5.3.""",
        example={"batch_type": "new", "application_ids": ["A1", "A2"]},
        left_out=("file_sha256",),
        handler=freeze_report,
    ),
]


def _rows(
    context: CommandContext, body: _ReportRequest, report_id: str
) -> list[tuple[str, Sequence[str] | None]]:
    """The rows of the report in its order, each with the person it is about; blocking.

    They are made before the decision, so what the decision would refuse is refused here in the same
    order: otherwise the answer would name a later fault.
    Raises: AlreadyExists, RowTwice, NotFound, CertificateOutOfOrder, PersonErased,
        ReportCodeUnknown, ReportRowRepeated.
    """
    if _is_known(context, report_id):
        raise AlreadyExists(what="report", id=report_id)
    opened = context.ledger.state("ledger").organisation
    rules = document_rules_today(context.ledger)
    rows: dict[str, SheetRow] = {}
    persons: dict[str, str] = {}
    for application_id in body.application_ids:
        if application_id in rows:
            raise RowTwice(application_id=application_id)
        person_id, row = _report_row(context, opened, application_id, rules)
        rows[application_id], persons[row.certificate_number] = row, person_id
    ordered = in_report_order(rows.values())
    return [(persons[row.certificate_number], row.cells) for row in map(frozen_row, ordered)]


def _is_known(context: CommandContext, report_id: str) -> bool:
    try:
        context.ledger.state("report", report_id)
    except NotFound:
        return False
    return True


def _report_row(
    context: CommandContext, opened: e.LedgerOpened, application_id: str, rules: DocumentRules
) -> tuple[str, SheetRow]:
    """The person and one certificate as it is reported; blocking."""
    state = context.ledger.state("application", application_id)
    certificate = find(state, CertificateKind.NATIONAL)
    reportable = certificate.progress in REPORTABLE and certificate.standing == "valid"
    if not reportable or certificate.issued_on is None:
        raise out_of_order(certificate)
    if context.ledger.state("person", state.person_id).is_unknown:
        raise PersonErased()
    identity = context.ledger.identity(state.person_id)
    row = SheetRow(
        name=identity.name,
        document_type_code=rules.report_code(DocumentType(identity.document_type)),
        document_number=identity.document_number,
        occupation=state.occupation_name,
        job=state.job_type or "",
        level=state.level,
        certificate_number=certificate.number,
        issued_on=certificate.issued_on,
        evaluator=opened.organisation_name,
        issuer=opened.issuer_name,
    )
    return state.person_id, row


@routes.get(
    "/reports/{report_id}",
    operation_id="get_report",
    summary="查看上报批次 · Show a report",
    responses={200: {"model": ReportShown}, **READING},
)
async def get_report(read: Read, report_id: ThingId) -> Response:
    """批次内每张证书的当前进度。· Each certificate of the report and its present progress."""
    state = await read.state("report", report_id)
    shown = await read.run(_shown, read, state)
    # The rows change with their certificates, without a new version of the report.
    return read.conditional_response(etag(f"{state.version}-{hash_of(shown)}"), lambda: shown)


def hash_of(shown: dict[str, Any]) -> str:
    """A short tag of what is shown."""
    progress = "|".join(f"{row['number']}={row['progress']}" for row in shown["rows"])
    return hashlib.sha256(progress.encode()).hexdigest()[:16]


def _shown(read: QueryContext, state: Any) -> dict[str, Any]:
    rows = []
    for number, application_id in sorted(state.rows.items()):
        candidacy = read.ledger.state("application", application_id)
        certificate = find(candidacy, CertificateKind.NATIONAL)
        rows.append(
            {
                "application_id": application_id,
                "number": number,
                "progress": certificate.progress,
            }
        )
    frozen, _ = _frozen(read, state.id)
    return {
        "report_id": state.id,
        "batch_type": state.batch_type,
        "file_sha256": frozen.file_sha256,
        "rows": rows,
    }


def _frozen(read: QueryContext, report_id: str) -> tuple[e.ReportFrozen, datetime]:
    """The fact that made a report, and when it happened; blocking. Raises: NotFound."""
    for entry in read.ledger.history(f"report-{report_id}"):
        if isinstance(entry.fact, e.ReportFrozen):
            return entry.fact, entry.occurred_at
    raise NotFound(what="report", id=report_id)


@routes.get(
    "/reports/{report_id}/file",
    operation_id="get_report_file",
    summary="下载上报文件 · Download the report",
    responses={**file_response([XLSX], "上报表格 · the frozen workbook"), **READING},
)
async def get_report_file(read: Read, report_id: ThingId) -> Response:
    """由冻结的行重新生成;已删除个人信息者仅留证书编号。· Put together from the frozen rows, always
    with the same bytes; of a person who was erased since only the certificate's number is left."""
    data = await read.run(_file, read, report_id)
    headers = {
        "Content-Disposition": f'attachment; filename="report-{report_id}.xlsx"',
        "Cache-Control": "private, no-store",
        "Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:",
    }
    return Response(data, media_type=XLSX, headers=headers)


def _file(read: QueryContext, report_id: str) -> bytes:
    """The workbook of a report; blocking.

    Raises: NotFound; PersonErased if nobody of it is left; UnknownBlob, BlobDamaged, WrongKey.
    """
    stream = stream_of("report", report_id)
    fact, occurred_at = _frozen(read, report_id)
    stored = read.service.files(read.ledger).rows(fact.file_sha256, stream)
    if not any(stored):
        raise PersonErased()
    # Both are in order of number, so that the row of somebody who was erased has its number.
    numbers = sorted(row.number for row in fact.rows)
    rows = [FrozenRow(number, row) for number, row in zip(numbers, stored, strict=True)]
    batch = ReportBatch(
        number=report_id,
        kind=BATCH_KINDS[fact.batch_type],
        prepared_on=shanghai_date(occurred_at),
    )
    return build_report(batch, rows).content


async def answer_report(
    context: CommandContext, request: CommandRequest, report_id: str
) -> Response:
    """Record each answer by itself. Raises: NotFound for an unknown report; faults of the table."""
    await context.service.read(context.ledger.state, "report", report_id)
    form = await read_form(request)
    file = form.file("file")
    context = context.for_form(request.method, request.path, form.canonical)
    table = await context.service.read(read_answer, file.data, file.name)
    outcome = new_outcome(request)
    for problem in table.problems:
        outcome.add_cell(problem)
    rows = [
        make_row(
            row.line,
            row.certificate_number,
            f"{row.line}/answer",
            AnswerReportRow,
            report_id=report_id,
            number=row.certificate_number,
            accepted=row.accepted,
            reason=row.reason,
        )
        for row in table.rows
    ]
    await record_all(context, rows, outcome)
    return outcome.response()


routes.routes += [
    CommandRoute(
        ANSWER_REPORT_ROW,
        "POST /reports/{report_id}/answers",
        "answer_report",
        tag=TAG,
        summary="登记上级受理结果 · Record the authority's answer",
        docs="""
    回执表格列:证书编号、受理结果(接受/退回)、原因。· A table with 证书编号, 受理结果 and 原因; a
    row that is sent back can be reported again. Source: 5.3.""",
        handler=answer_report,
        openapi_extra=form_schema({}, [], "CSV, XLSX: 证书编号, 受理结果, 原因"),
        responses=BULK,
    ),
    CommandRoute(
        RECORD_VISIBILITY,
        "POST /applications/{application_id}/visibility",
        "record_visibility",
        tag=TAG,
        summary="登记网上可查 · Record that the lookup shows it",
        docs="""
      先省网、后全国网,各登记一次。· First the province, months later the nation. Source: 5.3.""",
        example={"scope": "province", "seen_on": "2027-01-05"},
        location="/applications/{application_id}",
    ),
]

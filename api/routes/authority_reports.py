"""The report upward (上报): a frozen file, its answer row by row, and what lookups show."""

from __future__ import annotations

import base64
from typing import Any
from uuid import uuid5

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.files.authority_report_xlsx import (
    BatchKind,
    ReportBatch,
    ReportRow,
    build_report,
    read_answer,
)
from api.http.batch import make_row, new_outcome, record_all
from api.http.body_models import BULK, RECORDED, body_of, command_of
from api.http.dependencies import CommandContext, QueryContext, Read, ThingId, Write, etag, recorded
from api.http.multipart import form_schema, read_form
from api.http.routing import READING, XLSX, file_response, router
from api.routes.score_board import today_in_china
from domain import events as e
from domain.decision import AlreadyExists, NotFound
from domain.events import CertificateKind
from domain.service.ledger import NAMESPACE
from domain.steps.authority_report import (
    REPORTABLE,
    AnswerReportRow,
    FreezeReport,
    RecordVisibility,
    RowTwice,
)
from domain.steps.certificate import CertificateOutOfOrder, find
from domain.steps.enrolment import PersonErased
from domain.values.identity_documents import DocumentType, report_code

routes = router("上报 · Reports")

ReportBody = body_of(
    FreezeReport,
    "file_sha256",
    example={"batch_type": "new", "application_ids": ["a1", "a2"]},
)
VisibilityBody = body_of(
    RecordVisibility, "application_id", example={"scope": "province", "seen_on": "2027-01-05"}
)

BATCH_KINDS = {
    "new": BatchKind.NEW,
    "correction": BatchKind.CORRECTION,
    "addendum": BatchKind.LATE,
}


class ReportRowShown(BaseModel):
    """One certificate of a report, and how it stands now."""

    application_id: str
    number: str
    progress: str = Field(description="of the certificate at present")


class ReportShown(BaseModel):
    """One report."""

    report_id: str
    batch_type: str
    file_sha256: str
    rows: list[ReportRowShown]


@routes.post(
    "/reports",
    operation_id="freeze_report",
    summary="生成并冻结上报文件 · Build and freeze a report",
    status_code=201,
    responses=RECORDED,
)
async def freeze_report(write: Write, body: ReportBody) -> Response:  # type: ignore[valid-type]
    """按国家11列格式生成表格,存档并固定其哈希。· Builds the 11-column workbook of issued national
    certificates, keeps it, and records its hash. Source: 5.3."""
    known = await write.before()
    if known is None:
        # The id goes into the file, so it is made before the command, the same on every retry.
        made = uuid5(NAMESPACE, f"report|{write.ledger.name}|{write.principal.subject}|{write.key}")
        report_id = body.report_id or made.hex  # type: ignore[attr-defined]
        file = await write.service.read(_build, write, body, report_id)
        given = {"file_sha256": file.sha256}
        if body.report_id is None:  # type: ignore[attr-defined]
            given["report_id"] = report_id
        known = await write.record(command_of(FreezeReport, body, **given))
    return recorded(known, location=write.path(f"/reports/{known.outcome['report_id']}"))


def _build(write: CommandContext, body: Any, report_id: str) -> Any:
    """The workbook, kept in the attachment store; blocking.

    It is built before the decision, so what the decision would refuse is refused here in the same
    order: else the caller would be told of a later fault first.
    Raises: AlreadyExists, RowTwice, NotFound, CertificateOutOfOrder, PersonErased,
        ReportCodeUnknown, ReportRowRepeated.
    """
    if _is_known(write, report_id):
        raise AlreadyExists(what="report", id=report_id)
    opened = write.ledger.state("ledger").opened
    batch = ReportBatch(
        number=report_id, kind=BATCH_KINDS[body.batch_type], prepared_on=today_in_china()
    )
    rows: dict[str, ReportRow] = {}
    for application_id in body.application_ids:
        if application_id in rows:
            raise RowTwice(application_id=application_id)
        rows[application_id] = _report_row(write, opened, application_id)
    file = build_report(batch, rows.values())
    write.service.blobs.put(file.content)
    return file


def _is_known(write: CommandContext, report_id: str) -> bool:
    try:
        write.ledger.state("report", report_id)
    except NotFound:
        return False
    return True


def _report_row(write: CommandContext, opened: e.LedgerOpened, application_id: str) -> ReportRow:
    """One certificate as it is reported; blocking."""
    state = write.ledger.state("application", application_id)
    certificate = find(state, CertificateKind.NATIONAL)
    reportable = certificate.progress in REPORTABLE and certificate.standing == "valid"
    if not reportable or certificate.issued_on is None:
        raise CertificateOutOfOrder(
            kind=certificate.kind.value,
            progress=certificate.progress,
            standing=certificate.standing,
        )
    if write.ledger.state("person", state.person_id).erased:
        raise PersonErased()
    identity = write.ledger.identity(state.person_id)
    return ReportRow(
        name=identity.name,
        document_type_code=report_code(DocumentType(identity.document_type)),
        document_number=identity.document_number,
        occupation=state.occupation_name,
        job=state.job_type or "",
        level=state.level,
        certificate_number=certificate.number,
        issued_on=certificate.issued_on,
        evaluator=opened.organisation_name,
        issuer=opened.issuer_name,
    )


@routes.get(
    "/reports/{report_id}",
    operation_id="get_report",
    summary="查看上报批次 · Show a report",
    responses={200: {"model": ReportShown}, **READING},
)
async def get_report(read: Read, report_id: ThingId) -> Response:
    """批次内每张证书的当前进度。· Each certificate of the report and how it stands now."""
    state = await read.state("report", report_id)
    shown = await read.run(_shown, read, state)
    # The rows move on with their certificates, so the report's own version would not tell.
    return read.tagged(etag(f"{state.version}-{hash_of(shown)}"), lambda: shown)


def hash_of(shown: dict[str, Any]) -> str:
    """A short tag of what is shown."""
    progress = "|".join(f"{row['number']}={row['progress']}" for row in shown["rows"])
    return uuid5(NAMESPACE, progress).hex[:16]


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
    frozen = _frozen(read, state.id)
    return {
        "report_id": state.id,
        "batch_type": state.batch_type,
        "file_sha256": frozen.file_sha256,
        "rows": rows,
    }


def _frozen(read: QueryContext, report_id: str) -> e.ReportFrozen:
    """The fact that made a report; blocking. Raises: NotFound."""
    for entry in read.ledger.history(f"report-{report_id}"):
        if isinstance(entry.fact, e.ReportFrozen):
            return entry.fact
    raise NotFound(what="report", id=report_id)


@routes.get(
    "/reports/{report_id}/file",
    operation_id="get_report_file",
    summary="下载上报文件 · Download the report",
    responses={**file_response([XLSX], "上报表格 · the frozen workbook"), **READING},
)
async def get_report_file(read: Read, report_id: ThingId) -> Response:
    """与冻结时逐字节相同。· The very bytes whose hash was frozen."""
    frozen = await read.run(_frozen, read, report_id)
    data = await read.run(read.service.blobs.get, frozen.file_sha256)
    headers = {
        "Content-Disposition": f'attachment; filename="report-{report_id}.xlsx"',
        "Cache-Control": "private, no-store",
        "Repr-Digest": f"sha-256=:{_base64(frozen.file_sha256)}:",
    }
    return Response(data, media_type=XLSX, headers=headers)


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()


@routes.post(
    "/reports/{report_id}/answers",
    operation_id="answer_report",
    summary="登记上级受理结果 · Record the authority's answer",
    responses=BULK,
    openapi_extra=form_schema({}, [], "CSV, XLSX: 证书编号, 受理结果, 原因"),
)
async def answer_report(request: Request, write: Write, report_id: ThingId) -> Response:
    """回执表格列:证书编号、受理结果(接受/退回)、原因。· A table with 证书编号, 受理结果 and 原因; a
    row that is sent back can be reported again. Source: 5.3."""
    await write.service.read(write.ledger.state, "report", report_id)
    form = await read_form(request)
    file = form.file("file")
    write = write.of_form(f"{request.method} {request.url.path}", form.canonical)
    table = await write.service.read(read_answer, file.data, file.name)
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
    await record_all(write, rows, outcome)
    return outcome.response()


@routes.post(
    "/applications/{application_id}/visibility",
    operation_id="record_visibility",
    summary="登记网上可查 · Record that the lookup shows it",
    status_code=201,
    responses=RECORDED,
)
async def record_visibility(
    write: Write,
    application_id: ThingId,
    body: VisibilityBody,  # type: ignore[valid-type]
) -> Response:
    """先省网、后全国网,各登记一次。· First the province, months later the nation. Source: 5.3."""
    command = command_of(RecordVisibility, body, application_id=application_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))

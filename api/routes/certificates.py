"""Certificates (证书): numbered, issued, corrected, reissued, suspended, reinstated, revoked."""

from __future__ import annotations

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.files.tables import Column
from api.http.batch import (
    Row,
    either_body,
    is_form,
    json_body,
    make_row,
    new_outcome,
    record_all,
    table_of,
)
from api.http.body_models import BULK, RECORDED, body_of, command_of
from api.http.dependencies import CommandContext, ThingId, Write, recorded
from api.http.routing import router
from domain.decision import NotFound
from domain.events import CertificateKind
from domain.service.ledger import Ledger
from domain.steps.certificate import (
    CorrectCertificate,
    IssueCertificates,
    ReinstateCertificate,
    ReissueCertificate,
    RevokeCertificate,
    SuspendCertificate,
)
from domain.steps.number_allocation import ImportNumber, NumberCertificates

routes = router("证书 · Certificates")

NumberingBody = body_of(NumberCertificates, "application_id", example={"year": 2026})
ImportBody = body_of(ImportNumber, "application_id", example={"number": "S000033000123264000001"})
IssueBody = body_of(IssueCertificates, "application_id", example={"issued_on": "2026-12-28"})
_IN_PATH = ("application_id", "kind")
CertificateCorrectionBody = body_of(CorrectCertificate, *_IN_PATH, example={"reason": "姓名更正"})
ReissueBody = body_of(ReissueCertificate, *_IN_PATH, example={"reason": "遗失补发"})
SuspensionBody = body_of(SuspendCertificate, *_IN_PATH, example={"reason": "举报核查中"})
ReinstatementBody = body_of(ReinstateCertificate, *_IN_PATH, example={"reason": "核查无误"})
RevocationBody = body_of(
    RevokeCertificate,
    *_IN_PATH,
    example={"reason_class": "false_documents", "reason": "工作证明经查不实"},
)

ROWS_MAX = 5000


class NumberRow(BaseModel):
    """A number that the province handed out, and whose it is: by application or by ticket."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    application_id: str | None = Field(default=None, max_length=64)
    ticket_number: str | None = Field(default=None, max_length=64)
    number: str = Field(min_length=1, max_length=40)


class NumbersBody(BaseModel):
    """Numbers to take over."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {"rows": [{"application_id": "a1", "number": "S000033000123264000001"}]}
        },
    )
    rows: tuple[NumberRow, ...] = Field(min_length=1, max_length=ROWS_MAX)


COLUMNS = [
    Column("application_id"),
    Column("ticket_number"),
    Column("certificate_number", required=True),
]


@routes.post(
    "/applications/{application_id}/certificates/numbers",
    operation_id="number_certificates",
    summary="分配证书编号 · Give the next numbers",
    status_code=201,
    responses=RECORDED,
)
async def number_certificates(
    write: Write,
    application_id: ThingId,
    body: NumberingBody,  # type: ignore[valid-type]
) -> Response:
    """成绩终定且两科合格后,按序分配两个证书编号。· The next national and OMC numbers, for a result
    that is final and passed. Serials have no gaps. Source: 5.2, 5.3."""
    command = command_of(NumberCertificates, body, application_id=application_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/certificates/import",
    operation_id="import_number",
    summary="录入省里下发的编号 · Take over a number from the province",
    status_code=201,
    responses=RECORDED,
)
async def import_number(
    write: Write,
    application_id: ThingId,
    body: ImportBody,  # type: ignore[valid-type]
) -> Response:
    """须属本机构、本等级且未发给他人。· Of our site and the level, and given to nobody else.
    Source: 5.3."""
    command = command_of(ImportNumber, body, application_id=application_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/certificates/import",
    operation_id="import_numbers",
    summary="批量录入编号 · Take over numbers in bulk",
    responses=BULK,
    openapi_extra=either_body(NumbersBody),
)
async def import_numbers(request: Request, write: Write) -> Response:
    """表格列:报考编号或准考证号、证书编号。· A table with 报考编号 or 准考证号, and 证书编号;
    each row is taken or refused by itself. Source: 5.3."""
    outcome = new_outcome(request)
    if is_form(request):
        table, _, write = await table_of(request, write, COLUMNS)
        for problem in table.problems:
            outcome.add_cell(problem)
        given = [
            (line, v.get("application_id"), v.get("ticket_number"), v["certificate_number"])
            for line, v in table.rows
        ]
    else:
        body: NumbersBody = await json_body(request, NumbersBody)
        given = [
            (line, row.application_id, row.ticket_number, row.number)
            for line, row in enumerate(body.rows, 1)
        ]
    rows = await write.service.read(_number_rows, write, given)
    await record_all(write, rows, outcome)
    return outcome.response()


def _number_rows(
    write: CommandContext, given: list[tuple[int, str | None, str | None, str]]
) -> list[Row]:
    """Rows of a table of numbers; blocking, for tickets have to be looked up."""
    rows = []
    for line, application_id, ticket, number in given:
        whose = application_id or (ticket and application_of_ticket(write.ledger, ticket))
        key, part = application_id or ticket, f"{line}/number"
        if not whose:
            refusal = NotFound(what="ticket", id=ticket or "")
            rows.append(Row(line, key, part, refusal=refusal))
        else:
            rows.append(
                make_row(line, key, part, ImportNumber, application_id=whose, number=number)
            )
    return rows


def application_of_ticket(ledger: Ledger, ticket: str) -> str | None:
    """Whose ticket it is; blocking. A ticket number begins with its session's id."""
    session_id = ticket.rsplit("-", 2)[0]
    try:
        found: str | None = ledger.state("session", session_id).tickets.get(ticket)
    except NotFound:
        return None
    return found


@routes.post(
    "/applications/{application_id}/certificates/issue",
    operation_id="issue_certificates",
    summary="颁发双证 · Issue the certificates",
    status_code=201,
    responses=RECORDED,
)
async def issue_certificates(
    write: Write,
    application_id: ThingId,
    body: IssueBody,  # type: ignore[valid-type]
) -> Response:
    """职业技能等级证书与巨量认证证书一并颁发。· Both certificates together, on a day of the year
    their numbers bear. Source: 5.2."""
    command = command_of(IssueCertificates, body, application_id=application_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/certificates/{kind}/correction",
    operation_id="correct_certificate",
    summary="更正证书 · Correct a certificate",
    status_code=201,
    responses=RECORDED,
)
async def correct_certificate(
    write: Write,
    application_id: ThingId,
    kind: CertificateKind,
    body: CertificateCorrectionBody,  # type: ignore[valid-type]
) -> Response:
    """编号不变、版本加一,须重新上报。· Same number, next version; to be reported again."""
    command = command_of(CorrectCertificate, body, application_id=application_id, kind=kind)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/certificates/{kind}/reissue",
    operation_id="reissue_certificate",
    summary="补发证书 · Reissue a certificate",
    status_code=201,
    responses=RECORDED,
)
async def reissue_certificate(
    write: Write,
    application_id: ThingId,
    kind: CertificateKind,
    body: ReissueBody,  # type: ignore[valid-type]
) -> Response:
    """遗失或损坏补发:编号不变、版本加一。· Lost or damaged: same number, next version."""
    command = command_of(ReissueCertificate, body, application_id=application_id, kind=kind)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/certificates/{kind}/suspension",
    operation_id="suspend_certificate",
    summary="暂停证书效力 · Suspend a certificate",
    status_code=201,
    responses=RECORDED,
)
async def suspend_certificate(
    write: Write,
    application_id: ThingId,
    kind: CertificateKind,
    body: SuspensionBody,  # type: ignore[valid-type]
) -> Response:
    """公众查询即时可见。· It does not count for the time being; the public sees it at once."""
    command = command_of(SuspendCertificate, body, application_id=application_id, kind=kind)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/certificates/{kind}/reinstatement",
    operation_id="reinstate_certificate",
    summary="恢复证书效力 · Reinstate a certificate",
    status_code=201,
    responses=RECORDED,
)
async def reinstate_certificate(
    write: Write,
    application_id: ThingId,
    kind: CertificateKind,
    body: ReinstatementBody,  # type: ignore[valid-type]
) -> Response:
    """仅限暂停的证书。· A suspended one counts again; a revoked one never does."""
    command = command_of(ReinstateCertificate, body, application_id=application_id, kind=kind)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))


@routes.post(
    "/applications/{application_id}/certificates/{kind}/revocation",
    operation_id="revoke_certificate",
    summary="撤销证书 · Revoke a certificate",
    status_code=201,
    responses=RECORDED,
)
async def revoke_certificate(
    write: Write,
    application_id: ThingId,
    kind: CertificateKind,
    body: RevocationBody,  # type: ignore[valid-type]
) -> Response:
    """永久撤销,公众可见撤销类别,编号不再使用。· Void for good; the public sees the class of the
    reason. Source: 3.2(3)."""
    command = command_of(RevokeCertificate, body, application_id=application_id, kind=kind)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/applications/{application_id}"))

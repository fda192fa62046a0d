"""Certificates (证书): numbered, issued, corrected, reissued, suspended, reinstated, revoked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.files.tables import Column
from api.http.batch import (
    Row,
    body_of,
    either_body,
    is_form,
    make_row,
    new_outcome,
    parse_table_upload,
    record_all,
)
from api.http.body_models import BULK
from api.http.command_route import CommandRequest, CommandRoute
from api.http.dependencies import CommandContext
from api.http.routing import router
from domain.decision import NotFound
from domain.service.ledger import Ledger
from domain.steps.certificate import (
    CORRECT_CERTIFICATE,
    ISSUE_CERTIFICATES,
    REINSTATE_CERTIFICATE,
    REISSUE_CERTIFICATE,
    REVOKE_CERTIFICATE,
    SUSPEND_CERTIFICATE,
)
from domain.steps.number_allocation import IMPORT_NUMBER, NUMBER_CERTIFICATES, ImportNumber

TAG = "证书 · Certificates"
routes = router(TAG)


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
            "example": {"rows": [{"application_id": "A1", "number": "S000033000123264000001"}]}
        },
    )
    rows: tuple[NumberRow, ...] = Field(min_length=1, max_length=ROWS_MAX)


COLUMNS = [
    Column("application_id"),
    Column("ticket_number"),
    Column("certificate_number", required=True),
]


async def import_numbers(context: CommandContext, request: CommandRequest) -> Response:
    """Import each number by itself. Raises: faults of the table or body as a whole."""
    outcome = new_outcome(request)
    if is_form(request):
        table, context = await parse_table_upload(request, context, COLUMNS)
        for problem in table.problems:
            outcome.add_cell(problem)
        given = [
            (line, v.get("application_id"), v.get("ticket_number"), v["certificate_number"])
            for line, v in table.rows
        ]
    else:
        body = body_of(request, NumbersBody)
        given = [
            (line, row.application_id, row.ticket_number, row.number)
            for line, row in enumerate(body.rows, 1)
        ]
    rows = await context.service.read(_number_rows, context, given)
    await record_all(context, rows, outcome)
    return outcome.response()


def _number_rows(
    context: CommandContext, given: list[tuple[int, str | None, str | None, str]]
) -> list[Row]:
    """Rows of a table of numbers; blocking, for tickets have to be looked up."""
    rows = []
    for line, application_id, ticket, number in given:
        whose = application_id or (ticket and application_of_ticket(context.ledger, ticket))
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


routes.routes += [
    CommandRoute(
        NUMBER_CERTIFICATES,
        "POST /applications/{application_id}/certificates/numbers",
        "number_certificates",
        tag=TAG,
        summary="分配证书编号 · Give the next numbers",
        docs="""
        成绩终定且两科合格后,按序分配两个证书编号。· The next national and OMC numbers, for a result
        that is final and passed. Serials have no gaps. Source: 5.2, 5.3.""",
        example={"year": 2026},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        IMPORT_NUMBER,
        "POST /applications/{application_id}/certificates/import",
        "import_number",
        tag=TAG,
        summary="录入省里下发的编号 · Take over a number from the province",
        docs="""
        须属本机构、本等级且未发给他人。· Of our site and the level, and given to nobody else.
        Source: 5.3.""",
        example={"number": "S000033000123264000001"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        IMPORT_NUMBER,
        "POST /certificates/import",
        "import_numbers",
        tag=TAG,
        summary="批量录入编号 · Take over numbers in bulk",
        docs="""
        表格列:报考编号或准考证号、证书编号。· A table with 报考编号 or 准考证号, and 证书编号;
        each row is taken or refused by itself. Source: 5.3.""",
        handler=import_numbers,
        openapi_extra=either_body(NumbersBody),
        responses=BULK,
    ),
    CommandRoute(
        ISSUE_CERTIFICATES,
        "POST /applications/{application_id}/certificates/issue",
        "issue_certificates",
        tag=TAG,
        summary="颁发双证 · Issue the certificates",
        docs="""
        职业技能等级证书与巨量认证证书一并颁发。· Both certificates together, on a day of the year
        their numbers bear. Source: 5.2.""",
        example={"issued_on": "2026-12-28"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        CORRECT_CERTIFICATE,
        "POST /applications/{application_id}/certificates/{kind}/correction",
        "correct_certificate",
        tag=TAG,
        summary="更正证书 · Correct a certificate",
        docs="""
        编号不变、版本加一,须重新上报。· Same number, next version; to be reported again.""",
        example={"reason": "姓名更正"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        REISSUE_CERTIFICATE,
        "POST /applications/{application_id}/certificates/{kind}/reissue",
        "reissue_certificate",
        tag=TAG,
        summary="补发证书 · Reissue a certificate",
        docs="""
        遗失或损坏补发:编号不变、版本加一。· Lost or damaged: same number, next version.""",
        example={"reason": "遗失补发"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        SUSPEND_CERTIFICATE,
        "POST /applications/{application_id}/certificates/{kind}/suspension",
        "suspend_certificate",
        tag=TAG,
        summary="暂停证书效力 · Suspend a certificate",
        docs="""
        公众查询即时可见。· It does not count for the time being; the public sees it at once.""",
        example={"reason": "举报核查中"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        REINSTATE_CERTIFICATE,
        "POST /applications/{application_id}/certificates/{kind}/reinstatement",
        "reinstate_certificate",
        tag=TAG,
        summary="恢复证书效力 · Reinstate a certificate",
        docs="""
        仅限暂停的证书。· A suspended one counts again; a revoked one never does.""",
        example={"reason": "核查无误"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        REVOKE_CERTIFICATE,
        "POST /applications/{application_id}/certificates/{kind}/revocation",
        "revoke_certificate",
        tag=TAG,
        summary="撤销证书 · Revoke a certificate",
        docs="""
        永久撤销,公众可见撤销类别,编号不再使用。· Void for good; the public sees the class of the
        reason. Source: 3.2(3).""",
        example={"reason_class": "false_documents", "reason": "工作证明经查不实"},
        location="/applications/{application_id}",
    ),
]

"""Talent statistics (人才统计): valid certificates, and their holders. Source: 5.4."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.auth.permissions import SEES_IDENTITY
from api.errors.request import TooManyRows
from api.files.authority_report_xlsx import COUNTS_HEADER, TalentRow, build_talent_export, write_csv
from api.http.dependencies import MinPosition, QueryContext, Read, json_response
from api.http.read_models import REGISTRY
from api.http.routing import CSV, READING, XLSX, router
from api.routes.admission_tickets import document_rules_today
from api.routes.score_board import today_in_china
from domain.decision import Identity, NotFound
from domain.documents.document_rules import DocumentRules
from domain.values.identity_documents import (
    DocumentType,
    InvalidIdentityDocument,
    Sex,
    validate_document,
)
from domain.values.primitives import Level
from projections.certificate_registry import queries as registry

routes = router("监管 · Oversight")

PEOPLE_MAX = 10_000
"""People in one workbook; a request for more must be split by time."""
PAGE = 500

SEX_NAMES = {Sex.MALE: "男", Sex.FEMALE: "女", None: ""}


class TalentCount(BaseModel):
    """Certificates of one month, occupation and level."""

    month: str = Field(description="of issue, YYYY-MM")
    occupation: str
    occupation_name: str
    level: int
    level_name: str
    certificates: int


class TalentBody(BaseModel):
    """Counts, and their sum."""

    data: list[TalentCount]
    total: int


@routes.get(
    "/statistics/talent",
    operation_id="get_talent_statistics",
    summary="人才统计 · Talent statistics",
    responses={
        200: {
            "model": TalentBody,
            "description": "汇总;xlsx 另含人员名单 · counts; the workbook also lists the people",
            "content": {
                CSV: {"schema": {"type": "string"}},
                XLSX: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **READING,
    },
)
async def get_talent_statistics(
    read: Read,
    format: Annotated[Literal["json", "csv", "xlsx"], Query()] = "json",
    issued_from: Annotated[date | None, Query(description="发证日期起(含)· from, included")] = None,
    issued_before: Annotated[
        date | None, Query(description="发证日期止(不含)· before, excluded")
    ] = None,
    min_position: MinPosition = None,
) -> Response:
    """有效证书按月份、职业、等级汇总。· Valid national certificates by month, occupation and level.
    Names in the workbook are masked for roles whose work does not need them."""
    await read.wait_for_position(REGISTRY, min_position)
    issued = (issued_from, issued_before)
    if format == "xlsx":
        people = await _people(read, issued)
        workbook = await read.run(lambda: build_talent_export(people).xlsx)
        return _download(workbook, XLSX, "talent.xlsx")
    rows = await read.ask(registry.statistics, issued=issued)
    counts = [row | {"level_name": Level(row["level"]).chinese_name} for row in rows]
    if format == "csv":
        cells = [
            (row["month"], row["occupation_name"], row["level_name"], row["certificates"])
            for row in counts
        ]
        cells.append(("合计", "", "", sum(row["certificates"] for row in counts)))
        return _download(write_csv(COUNTS_HEADER, cells), CSV, "talent.csv")
    return json_response({"data": counts, "total": sum(row["certificates"] for row in counts)})


def _download(data: bytes, media_type: str, name: str) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-store",
    }
    return Response(data, media_type=media_type, headers=headers)


async def _people(read: QueryContext, issued: tuple[date | None, date | None]) -> list[TalentRow]:
    """Holders of valid certificates, read page by page, so that no reader thread is blocked long.

    Raises: TooManyRows.
    """
    opened = (await read.state("ledger")).organisation
    people: list[TalentRow] = []
    after: str | None = None
    while True:
        page = await read.ask(
            registry.listed,
            "national",
            read.service.registry.checks,
            standing="valid",
            after=after,
            limit=PAGE,
        )
        wanted = [row for row in page if row["issued"] and _within(row["issued_on"], issued)]
        people += await read.run(_talent, read, wanted, opened.organisation_name)
        if len(people) > PEOPLE_MAX:
            raise TooManyRows(rows_max=PEOPLE_MAX)
        if len(page) < PAGE:
            return people
        after = page[-1]["number"]


def _within(day: date, issued: tuple[date | None, date | None]) -> bool:
    first, end = issued
    return (first is None or first <= day) and (end is None or day < end)


def _talent(read: QueryContext, rows: list[dict[str, Any]], organisation: str) -> list[TalentRow]:
    """Rows of the list of people; blocking."""
    full = read.principal is not None and read.principal.role in SEES_IDENTITY
    rules = document_rules_today(read.ledger)
    return [_talent_row(read, row, organisation, rules, full) for row in rows]


def _talent_row(
    read: QueryContext,
    row: dict[str, Any],
    organisation: str,
    rules: DocumentRules,
    full: bool,
) -> TalentRow:
    identity = _identity(read, row["person_id"]) if full else None
    kind = DocumentType(row["document_type"])
    return TalentRow(
        name=identity.name if identity else row["masked_name"],
        sex=_sex(identity),
        document_type=rules.identity_document(kind).name,
        document_number=identity.document_number if identity else row["masked_number"],
        occupation=row["occupation_name"],
        job=row["job_type"] or "",
        level=Level(row["level"]),
        certificate_number=row["number"],
        issued_on=row["issued_on"],
        evaluator=organisation,
    )


def _identity(read: QueryContext, person_id: str) -> Identity | None:
    try:
        return read.ledger.identity(person_id)
    except NotFound:  # erased
        return None


def _sex(identity: Identity | None) -> str:
    """The sex encoded in the document number; blank if it encodes none."""
    if identity is None:
        return ""
    try:
        document = validate_document(
            identity.document_type, identity.document_number, today_in_china()
        )
    except InvalidIdentityDocument:  # registered under rules that have changed since
        return ""
    return SEX_NAMES[document.sex]

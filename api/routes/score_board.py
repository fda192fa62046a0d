"""Read routes of public notices: for everybody within the period, for staff at any time.

Source: 5.1.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.dependencies import (
    AsOf,
    Cursor,
    Limit,
    MinPosition,
    QueryContext,
    Read,
    ThingId,
    as_of_moment,
    json_response,
)
from api.http.read_models import SCORE_BOARD
from api.http.routing import OPEN_READING, READING, router
from api.routes.masking import show_objector
from api.routes.rows import open_texts, pick
from domain import events as e
from domain.decision import NotFound, stream_of
from domain.values.working_days import shanghai_date
from projections.score_board import queries as board

routes = router("公示 · Public notices")


class TotalsShown(BaseModel):
    """What stays public for ever: how many, never who."""

    rows: int
    passed: int
    failed: int
    absent: int
    withheld: int
    under_objection: int
    final: int


class NoticeShown(BaseModel):
    """One notice."""

    notice_id: str
    session_id: str
    session_name: str | None
    place: str | None
    occupation: str | None
    level: int | None
    kind: str = Field(description="main, supplementary")
    status: str = Field(description="open, closed")
    published_on: date
    ends_on: date
    ends_on_is_provisional: bool
    working_days: int
    calendar_edition: str
    deadline_on: date
    late_reason: str | None
    final_count: int | None
    withheld_count: int | None


class NoticeListBody(BaseModel):
    """A page of notices, the latest published first."""

    data: list[NoticeShown]
    next: str | None


class PublicRow(BaseModel):
    """One result as everybody may see it; marks null: absent (缺考)."""

    notice_id: str
    ticket_number: str
    masked_name: str | None
    masked_number: str | None
    occupation: str
    occupation_name: str
    level: int
    job_type: str | None
    theory: str | None
    practical: str | None
    passed: bool
    state: str = Field(description="published, under_objection, withheld, final")
    corrected: bool
    superseded: bool


class BoardBody(BaseModel):
    """A notice with its totals, and its rows while it is public."""

    notice: NoticeShown | None
    totals: TotalsShown | None
    rows_shown: bool = Field(description="whether the period is running")
    rows: list[PublicRow]
    next: str | None


class StaffRow(PublicRow):
    """The same for those who work with it."""

    application_id: str
    person_id: str
    position: int


class NoticeRowsBody(BaseModel):
    """Rows of a notice."""

    data: list[StaffRow]
    next: str | None


class ObjectionShown(BaseModel):
    """One objection. text: null once the data of who objects were erased."""

    objection_id: str
    application_id: str
    state: str = Field(description="open, dismissed, upheld")
    reason: str | None
    objector_id: str | None = Field(description="who objects")
    objector_name: str | None = Field(
        description="in full, or masked: 张*; null once their data were erased"
    )
    objector_contact: str | None = Field(
        description="of who is not registered; null for roles that see masked names"
    )
    text: str | None
    filed_at: datetime
    settled_at: datetime | None


class ObjectionsBody(BaseModel):
    """Objections to rows of a notice."""

    data: list[ObjectionShown]


def today_in_china() -> date:
    """The current day in Asia/Shanghai."""
    return shanghai_date(datetime.now(UTC))


@routes.get(
    "/notices",
    operation_id="list_notices",
    summary="公示列表 · List public notices",
    responses={200: {"model": NoticeListBody}, **OPEN_READING},
)
async def list_notices(
    read: Read,
    status: Annotated[Literal["open", "closed"] | None, Query()] = None,
    session_id: Annotated[str | None, Query(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    as_of: AsOf = None,
) -> Response:
    """最新发布在前。· The latest published first."""
    moment = as_of_moment(as_of)
    await read.wait_for_position(SCORE_BOARD, min_position)
    list_name = f"notices|{read.ledger.name}|{status}|{session_id}|{as_of}"
    page = read.service.page(list_name, cursor, limit)
    after = page.after
    found = await read.ask(
        board.notices,
        status=status,
        session_id=session_id,
        after=(date.fromisoformat(after[0]), after[1]) if after else None,
        limit=page.limit,
        as_of=moment,
    )
    rows, following = page.split(
        found, lambda row: [row["published_on"].isoformat(), row["notice_id"]]
    )
    await open_texts(read, rows, "late_reason")
    return json_response({"data": [pick(row, NoticeShown) for row in rows], "next": following})


@routes.get(
    "/notices/{notice_id}",
    operation_id="get_notice",
    summary="查看公示 · Show a public notice",
    responses={200: {"model": BoardBody}, **OPEN_READING},
)
async def get_notice(
    read: Read,
    notice_id: ThingId,
    limit: Limit = 200,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Response:
    """公示期内可见各行(脱敏),期满后仅余汇总。· Its rows, masked, while the period runs; only its
    totals afterwards."""
    await read.wait_for_position(SCORE_BOARD, min_position)
    shown = await _board(read, notice_id, limit, cursor)
    if shown is None:
        raise NotFound(what="notice", id=notice_id)
    return json_response(shown)


async def _board(
    read: QueryContext, notice_id: str, limit: int, cursor: str | None
) -> dict[str, Any] | None:
    page = read.service.page(f"board|{read.ledger.name}|{notice_id}", cursor, limit)
    found = await read.ask(
        board.public_board,
        notice_id,
        today_in_china(),
        after=page.after[0] if page.after else None,
        limit=page.limit,
    )
    if found is None:
        return None
    rows, following = page.split(found["rows"], _ticket_number)
    await open_texts(read, [found], "late_reason")
    return {
        "notice": pick(found, NoticeShown),
        "totals": found["totals"],
        "rows_shown": found["rows_shown"],
        "rows": [pick(row, PublicRow) for row in rows],
        "next": following,
    }


def _ticket_number(row: dict[str, Any]) -> list[Any]:
    """The sort key of the rows of a notice."""
    return [row["ticket_number"]]


@routes.get(
    "/scores",
    operation_id="list_scores",
    summary="成绩公示板 · The public score board",
    responses={200: {"model": BoardBody}, **OPEN_READING},
)
async def list_scores(
    read: Read,
    notice_id: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$",
            description="默认为最新一期公示 · the latest open notice by default",
        ),
    ] = None,
    limit: Limit = 200,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Response:
    """公示期内的成绩,姓名与证件号脱敏。· Published results, names and numbers masked."""
    await read.wait_for_position(SCORE_BOARD, min_position)
    if notice_id is None:
        latest = await read.ask(board.notices, status="open", limit=1)
        notice_id = latest[0]["notice_id"] if latest else None
    empty: dict[str, Any] = {
        "notice": None,
        "totals": None,
        "rows_shown": False,
        "rows": [],
        "next": None,
    }
    if notice_id is None:
        return json_response(empty)
    shown = await _board(read, notice_id, limit, cursor)
    if shown is None:
        raise NotFound(what="notice", id=notice_id)
    return json_response(shown)


@routes.get(
    "/notices/{notice_id}/rows",
    operation_id="list_notice_rows",
    summary="公示各行(工作人员)· Rows of a notice for staff",
    responses={200: {"model": NoticeRowsBody}, **READING},
)
async def list_notice_rows(
    read: Read,
    notice_id: ThingId,
    limit: Limit = 200,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    as_of: AsOf = None,
) -> Response:
    """任何时候可见,含报考编号与时点查询。· At any time, with application ids, and as of any
    time."""
    moment = as_of_moment(as_of)
    await read.wait_for_position(SCORE_BOARD, min_position)
    page = read.service.page(f"rows|{read.ledger.name}|{notice_id}|{as_of}", cursor, limit)
    found = await read.ask(
        board.rows,
        notice_id,
        after=page.after[0] if page.after else None,
        limit=page.limit,
        as_of=moment,
    )
    rows, following = page.split(found, _ticket_number)
    return json_response({"data": [pick(row, StaffRow) for row in rows], "next": following})


@routes.get(
    "/notices/{notice_id}/objections",
    operation_id="list_objections",
    summary="异议列表 · Objections to a notice",
    responses={200: {"model": ObjectionsBody}, **READING},
)
async def list_objections(
    read: Read, notice_id: ThingId, min_position: MinPosition = None
) -> Response:
    """供复核人员查看异议内容。· For those who check them, with their texts."""
    await read.wait_for_position(SCORE_BOARD, min_position)
    found = await read.ask(board.objections, notice_id)
    await open_texts(read, found, "reason")
    filed = await read.run(_filed, read, notice_id)
    shown = [
        pick({**row, **filed.get(row["objection_id"], _UNKNOWN)}, ObjectionShown) for row in found
    ]
    return json_response({"data": shown})


_UNKNOWN = dict.fromkeys(("objector_id", "objector_name", "objector_contact", "text"))


def _filed(read: QueryContext, notice_id: str) -> dict[str, dict[str, str | None]]:
    """Text and objector of the objections by id; blocking."""
    facts = [entry.fact for entry in read.ledger.history(stream_of("notice", notice_id))]
    return {
        fact.objection_id: {"text": fact.text, **show_objector(read, fact.objector_id)}
        for fact in facts
        if isinstance(fact, e.ObjectionFiled)
    }

"""Exam sessions (考试场次), seats and admission tickets (准考证)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.command_route import CommandRoute
from api.http.dependencies import Cursor, Limit, QueryContext, Read, ThingId, etag, json_response
from api.http.routing import READING, file_response, router
from api.routes.admission_tickets import TicketBody, ticket_of, ticket_pdf_of
from api.routes.stream_listing import newest_page, newest_sessions
from domain.actors import Role
from domain.states.folds import ExamSession
from domain.steps.exam import ASSIGN_SEAT, CLOSE_SESSION, SCHEDULE_SESSION
from domain.values.primitives import format_instant

TAG = "考试 · Exams"
routes = router(TAG)


class SeatShown(BaseModel):
    """A seat that is taken."""

    seat: str = Field(description="room#number")
    application_id: str | None = Field(description="null: another agency's application")


class SessionShown(BaseModel):
    """One exam session. seats: only for staff."""

    session_id: str
    name: str
    occupation: str
    level: int
    place: str
    address: str
    theory_starts_at: str
    practical_starts_at: str
    subject_minutes: int
    rooms: list[dict[str, Any]]
    seats_total: int
    seats_taken: int
    ended_at: str | None
    seats: list[SeatShown] | None
    version: int


class SessionListBody(BaseModel):
    """A page of sessions."""

    data: list[SessionShown]
    next: str | None


routes.routes += [
    CommandRoute(
        SCHEDULE_SESSION,
        "POST /sessions",
        "schedule_session",
        tag=TAG,
        summary="安排考试场次 · Schedule an exam session",
        docs="""
        理论与技能各90分钟,不得重叠。· Each subject lasts 90 minutes and they do not overlap.
        Source: 4.2, 4.3.""",
        example={
            "session_id": "s20261212",
            "name": "2026年12月第一场",
            "occupation": "4-01-02-07",
            "level": 4,
            "place": "杭州考点",
            "address": "杭州市西湖区示例路1号",
            "theory_starts_at": "2026-12-12T09:00:00+08:00",
            "practical_starts_at": "2026-12-12T13:30:00+08:00",
            "rooms": [{"room": "101", "seats": 30}],
        },
        location="/sessions/{session_id}",
    ),
]


@routes.get(
    "/sessions",
    operation_id="list_sessions",
    summary="考试场次列表 · List exam sessions",
    responses={200: {"model": SessionListBody}, **READING},
)
async def list_sessions(read: Read, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """最新在前。· The newest first."""
    listed, following = await newest_page(read, "sessions", cursor, limit, newest_sessions)
    return json_response(
        {"data": [_shown(s, seats=False) for s in listed.states], "next": following}
    )


@routes.get(
    "/sessions/{session_id}",
    operation_id="get_session",
    summary="查看考试场次 · Show an exam session",
    responses={200: {"model": SessionShown}, **READING},
)
async def get_session(read: Read, session_id: ThingId) -> Response:
    """时间、地点、考场;工作人员可见座位。· Time, place, rooms; staff also see who sits where, an
    agency its own applications."""
    state = await read.state("session", session_id)
    staff = read.principal is not None and read.principal.role is not Role.CANDIDATE
    hidden = await read.run(_of_others, read, state)
    # An application that named no agency becomes some agency's without a fact of the session.
    tag = etag(f"{state.version}.{len(hidden)}" if hidden else state.version)
    return read.conditional_response(tag, lambda: _shown(state, seats=staff, hidden=hidden))


def _of_others(read: QueryContext, state: ExamSession) -> frozenset[str]:
    """The seated applications that are not the caller's to see; blocking."""
    if read.agency is None:
        return frozenset()
    seated = [read.ledger.state("application", each) for each in state.seats.values()]
    return frozenset(each.id for each in seated if not read.may_see(each))


def _shown(
    state: ExamSession, *, seats: bool, hidden: frozenset[str] = frozenset()
) -> dict[str, Any]:
    plan = state.scheduled
    taken = [
        {"seat": seat, "application_id": None if each in hidden else each}
        for seat, each in sorted(state.seats.items())
    ]
    return {
        "session_id": state.id,
        "name": plan.name,
        "occupation": plan.occupation,
        "level": int(plan.level),
        "place": plan.place,
        "address": plan.address,
        "theory_starts_at": format_instant(plan.theory_starts_at),
        "practical_starts_at": format_instant(plan.practical_starts_at),
        "subject_minutes": plan.subject_minutes,
        "rooms": [room.model_dump() for room in plan.rooms],
        "seats_total": sum(room.seats for room in plan.rooms),
        "seats_taken": len(taken),
        "ended_at": None if state.ended_at is None else format_instant(state.ended_at),
        "seats": taken if seats else None,
        "version": state.version,
    }


routes.routes += [
    CommandRoute(
        ASSIGN_SEAT,
        "POST /sessions/{session_id}/seats",
        "assign_seat",
        tag=TAG,
        summary="分配座位并生成准考证 · Assign a seat and issue the ticket",
        docs="""
        仅限报考成功者;未指定时取第一个空位。· For who is enrolled (报考成功); the first free seat
        unless one is named. Source: 4.1, 4.2.""",
        example={"application_id": "A1"},
        location="/applications/{application_id}/ticket",
    ),
    CommandRoute(
        CLOSE_SESSION,
        "POST /sessions/{session_id}/end",
        "end_session",
        tag=TAG,
        summary="登记考试结束 · Record the end of a session",
        docs="""
        考试结束后一个月内须公示成绩。· Its end starts the month for the public notice.
        Source: 5.1.""",
        example={"ended_at": "2026-12-12T15:00:00+08:00"},
        location="/sessions/{session_id}",
    ),
]


@routes.get(
    "/applications/{application_id}/ticket",
    operation_id="get_ticket",
    summary="查看准考证 · Show the admission ticket",
    responses={200: {"model": TicketBody}, **READING},
)
async def get_ticket(read: Read, application_id: ThingId) -> Response:
    """时间、地点、考场、座位。· When, where, which room and seat. Source: 4.1, 4.2."""
    state = await read.candidacy(application_id)
    ticket = await read.run(ticket_of, read, state)
    tag = etag(f"{state.version}.{ticket['person']['version']}")
    return read.conditional_response(tag, lambda: ticket)


@routes.get(
    "/applications/{application_id}/ticket.pdf",
    operation_id="get_ticket_pdf",
    summary="下载准考证 · Download the admission ticket",
    responses={**file_response(["application/pdf"], "准考证 · the ticket"), **READING},
)
async def get_ticket_pdf(read: Read, application_id: ThingId) -> Response:
    """可打印的一页准考证。· One page to print. Source: 4.1."""
    state = await read.candidacy(application_id)
    pdf = await read.run(ticket_pdf_of, read, state)
    headers = {
        "Content-Disposition": 'attachment; filename="ticket.pdf"',
        "Cache-Control": "private, no-store",
    }
    return Response(pdf, media_type="application/pdf", headers=headers)

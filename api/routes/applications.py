"""Applications (报考): opened and assessed, shown, withdrawn."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.command_route import CommandRoute
from api.http.dependencies import (
    Cursor,
    Limit,
    QueryContext,
    Read,
    ThingId,
    etag,
    json_response,
)
from api.http.routing import READING, router
from api.routes.application_detail import (
    ApplicationShown,
    next_step,
    show_application,
    summary_of,
)
from api.routes.history import HistoryBody, show_history
from api.routes.masking import show_person
from api.routes.stream_listing import applications_of, newest_applications, newest_page
from domain.actors import Role
from domain.decision import NotYourOwn
from domain.states.application import Candidacy, Status
from domain.steps.enrolment import OPEN_APPLICATION, WITHDRAW_APPLICATION

TAG = "报考 · Applications"
routes = router(TAG)


class ApplicationRow(BaseModel):
    """One application in a list, without personal data."""

    application_id: str
    person_id: str
    occupation: str
    occupation_name: str
    edition: str
    level: int
    level_name: str
    job_type: str | None
    status: str
    due: dict[str, Any] = Field(description="the next step, and whose it is")
    version: int


class ApplicationListBody(BaseModel):
    """A page. It may be shorter than asked for, even empty, while `next` says there is more."""

    data: list[ApplicationRow]
    next: str | None = Field(description="cursor of the next page")


routes.routes += [
    CommandRoute(
        OPEN_APPLICATION,
        "POST /applications",
        "open_application",
        tag=TAG,
        summary="开立报考并评估资格 · Open an application and assess eligibility",
        docs="""
        按职业标准当场评估;不符合也会记录并说明所缺。· Assessed at once by the rules of the
        occupation. Not eligible is recorded too, with what is missing: it can be appealed.
        Source: 1.1, 1.2.""",
        example={
            "person_id": "P1",
            "occupation": "4-01-02-07",
            "edition": "2021",
            "level": 4,
            "job_type": "直播销售员",
            "qualifications": {
                "work_periods": [
                    {
                        "started_on": "2020-03-01",
                        "ended_on": None,
                        "relation": "own",
                        "employer": "",
                    }
                ]
            },
        },
        location="/applications/{application_id}",
    ),
]


@routes.get(
    "/applications",
    operation_id="list_applications",
    summary="报考列表 · List applications",
    responses={200: {"model": ApplicationListBody}, **READING},
)
async def list_applications(
    read: Read,
    person_id: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$",
            description="某人的报考(考生必填)· one person's; a candidate must name themselves",
        ),
    ] = None,
    status: Annotated[Status | None, Query(description="状态 · only in this state")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """最新在前。某人的列表只含曾符合条件的报考;报名机构只见本机构的。· The newest first. The list
    of one person holds the applications that were found eligible; the whole list holds all of them.
    An agency sees its own, and those that name no agency."""
    if person_id is None and read.principal is not None and read.principal.role is Role.CANDIDATE:
        raise NotYourOwn(what="list")
    if person_id is not None:
        if read.agency is None:
            await read.ensure_own_person(person_id)
        states = await read.run(applications_of, read.ledger, person_id)
        return json_response({"data": _rows(read, states, status), "next": None})
    name = f"applications {status}"
    listed, following = await newest_page(read, name, cursor, limit, newest_applications)
    return json_response({"data": _rows(read, listed.states, status), "next": following})


def _rows(
    read: QueryContext, states: list[Candidacy], status: Status | None
) -> list[dict[str, Any]]:
    return [
        {
            "application_id": state.id,
            "person_id": state.person_id,
            **summary_of(state),
            "due": next_step(state),
            "version": state.version,
        }
        for state in states
        if read.may_see(state) and (status is None or state.status is status)
    ]


@routes.get(
    "/applications/{application_id}",
    operation_id="get_application",
    summary="查看报考 · Show an application",
    responses={200: {"model": ApplicationShown}, **READING},
)
async def get_application(read: Read, application_id: ThingId) -> Response:
    """状态、下一步、缺少的材料、退费选项。· Its status, what is due next and by whom, which
    documents are missing, and what a refund request would lead to. The ETag is its version and
    its person's."""
    state = await read.candidacy(application_id)
    person = await read.run(show_person, read, state.person_id)
    # Their name may be put right, or erased, without a fact of the application.
    tag = etag(f"{state.version}.{person['version']}")
    return read.conditional_response(tag, lambda: show_application(state, person))


@routes.get(
    "/applications/{application_id}/history",
    operation_id="get_application_history",
    summary="报考的全部事实 · Every fact of an application",
    responses={200: {"model": HistoryBody}, **READING},
)
async def get_application_history(read: Read, application_id: ThingId) -> Response:
    """按发生顺序的每一条记录:何时、何人、何事。· Every fact in order: what, when, by whom.
    Personal fields are shown to those whose work needs them."""
    state = await read.candidacy(application_id)
    entries = await read.run(_history, read, state)
    person = await read.state("person", state.person_id)
    tag = etag(f"{state.version}.{person.version}")
    return read.conditional_response(tag, lambda: {"data": entries})


def _history(read: QueryContext, state: Candidacy) -> list[dict[str, Any]]:
    return show_history(read, f"application-{state.id}", state.person_id)


routes.routes += [
    CommandRoute(
        WITHDRAW_APPLICATION,
        "POST /applications/{application_id}/withdrawal",
        "withdraw_application",
        tag=TAG,
        summary="撤回报考 · Withdraw an application",
        docs="""
        报考成功前可撤回,应退费用随即确认。· Before 报考成功; what may go back is owed at once.
        Source: 2.4(1).""",
        example={"reason": "个人原因放弃报考"},
        location="/applications/{application_id}",
    ),
]

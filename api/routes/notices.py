"""Public notices (成绩公示): opened, looked at by everybody, objected to, closed."""

from __future__ import annotations

from starlette.responses import Response

from api.http.body_models import RECORDED, body_of, command_of
from api.http.dependencies import ThingId, Write, recorded
from api.http.routing import router
from domain.steps.publication import (
    CloseNotice,
    ExtendNotice,
    FileObjection,
    OpenNotice,
    ResolveObjection,
)

routes = router("公示 · Public notices")

NoticeBody = body_of(OpenNotice, example={"session_id": "s20261212"})
ObjectionBody = body_of(
    FileObjection,
    "notice_id",
    example={"application_id": "a1", "person_id": "p1", "text": "理论成绩疑似漏判一题"},
)
ResolutionBody = body_of(
    ResolveObjection,
    "notice_id",
    "objection_id",
    example={"outcome": "dismissed", "reason": "经复核成绩无误"},
)


@routes.post(
    "/notices",
    operation_id="open_notice",
    summary="发布成绩公示 · Open a public notice",
    status_code=201,
    responses=RECORDED,
)
async def open_notice(write: Write, body: NoticeBody) -> Response:  # type: ignore[valid-type]
    """考试结束一个月内,公示五个工作日;起止日期随即固定。· Within a month of the exam's end, for
    five working days; both dates are fixed now. Source: 5.1."""
    receipt = await write.record(command_of(OpenNotice, body))
    return recorded(receipt, location=write.path(f"/notices/{receipt.outcome['notice_id']}"))


@routes.post(
    "/notices/{notice_id}/extension",
    operation_id="extend_notice",
    summary="重算暂定截止日 · Work a provisional end out again",
    status_code=201,
    responses=RECORDED,
)
async def extend_notice(write: Write, notice_id: ThingId) -> Response:
    """节假日安排公布后确定截止日。· Once the calendar of the year is known. Source: 5.1."""
    receipt = await write.record(ExtendNotice(notice_id=notice_id))
    return recorded(receipt, location=write.path(f"/notices/{notice_id}"))


@routes.post(
    "/notices/{notice_id}/close",
    operation_id="close_notice",
    summary="结束公示 · Close a notice",
    status_code=201,
    responses=RECORDED,
)
async def close_notice(write: Write, notice_id: ThingId) -> Response:
    """期满且无未决异议方可结束,其余成绩终定。· When its period is over and no objection is open;
    the remaining rows are final. Source: 5.1."""
    receipt = await write.record(CloseNotice(notice_id=notice_id))
    return recorded(receipt, location=write.path(f"/notices/{notice_id}"))


@routes.post(
    "/notices/{notice_id}/objections",
    operation_id="file_objection",
    summary="提出异议 · File an objection",
    status_code=201,
    responses=RECORDED,
)
async def file_objection(
    write: Write,
    notice_id: ThingId,
    body: ObjectionBody,  # type: ignore[valid-type]
) -> Response:
    """公示期内实名提出;该行暂缓终定。· Within the period, by a known person; the row is held
    until it is settled. The text is sealed. Source: 5.1."""
    command = command_of(FileObjection, body, notice_id=notice_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/notices/{notice_id}"))


@routes.post(
    "/notices/{notice_id}/objections/{objection_id}/resolution",
    operation_id="resolve_objection",
    summary="处理异议 · Resolve an objection",
    status_code=201,
    responses=RECORDED,
)
async def resolve_objection(
    write: Write,
    notice_id: ThingId,
    objection_id: ThingId,
    body: ResolutionBody,  # type: ignore[valid-type]
) -> Response:
    """不成立则照旧;成立则撤出本次公示待更正。· Dismissed: the row stays; upheld: it leaves the
    notice and waits for its correction. Source: 5.1."""
    command = command_of(ResolveObjection, body, notice_id=notice_id, objection_id=objection_id)
    receipt = await write.record(command)
    return recorded(receipt, location=write.path(f"/notices/{notice_id}"))

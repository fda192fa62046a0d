"""Public notices (成绩公示): opened, extended, objected to, closed."""

from __future__ import annotations

from api.http.command_route import CommandRoute
from api.http.routing import router
from domain.steps.public_notice import (
    CLOSE_NOTICE,
    EXTEND_NOTICE,
    FILE_OBJECTION,
    OPEN_NOTICE,
    RESOLVE_OBJECTION,
)

TAG = "公示 · Public notices"
routes = router(TAG)


routes.routes += [
    CommandRoute(
        OPEN_NOTICE,
        "POST /notices",
        "open_notice",
        tag=TAG,
        summary="发布成绩公示 · Open a public notice",
        docs="""
        考试结束一个月内,公示五个工作日;起止日期随即固定。· Within a month of the exam's end, for
        five working days; both dates are fixed now. Source: 5.1.""",
        example={"session_id": "s20261212"},
        location="/notices/{notice_id}",
    ),
    CommandRoute(
        EXTEND_NOTICE,
        "POST /notices/{notice_id}/extension",
        "extend_notice",
        tag=TAG,
        summary="重算暂定截止日 · Work a provisional end out again",
        docs="""
        节假日安排公布后确定截止日。· Once the calendar of the year is known. Source: 5.1.""",
        location="/notices/{notice_id}",
    ),
    CommandRoute(
        CLOSE_NOTICE,
        "POST /notices/{notice_id}/close",
        "close_notice",
        tag=TAG,
        summary="结束公示 · Close a notice",
        docs="""
        期满且无未决异议方可结束,其余成绩终定。· When its period is over and no objection is open;
        the remaining rows are final. Source: 5.1.""",
        location="/notices/{notice_id}",
    ),
    CommandRoute(
        FILE_OBJECTION,
        "POST /notices/{notice_id}/objections",
        "file_objection",
        tag=TAG,
        summary="提出异议 · File an objection",
        docs="""
        公示期内实名提出;该行暂缓终定。异议人未登记的,须填姓名。· Within the period, by a known
        person, or by somebody who is not registered and gives their name; the row is held until it
        is settled. Name, contact and text are sealed under keys of who objects, and neither the
        applicant nor an agency reads them. Source: 5.1.""",
        example={"application_id": "A1", "objector_id": "P1", "text": "理论成绩疑似漏判一题"},
        location="/notices/{notice_id}",
    ),
    CommandRoute(
        RESOLVE_OBJECTION,
        "POST /notices/{notice_id}/objections/{objection_id}/resolution",
        "resolve_objection",
        tag=TAG,
        summary="处理异议 · Resolve an objection",
        docs="""
        不成立则照旧;成立则撤出本次公示待更正。· Dismissed: the row stays; upheld: it leaves the
        notice and waits for its correction. Source: 5.1.""",
        example={"outcome": "dismissed", "reason": "经复核成绩无误"},
        location="/notices/{notice_id}",
    ),
]

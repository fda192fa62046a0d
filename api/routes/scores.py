"""Scores (成绩): recorded in bulk, verified by a second person, corrected.

Scores come as JSON or as a table (CSV, XLSX) with the columns 准考证号 and either 科目 and 成绩, or
理论成绩 and 技能成绩. An absence (缺考) is written as such; it is not a zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.files.tables import Column, UploadTable
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
from domain.events import Subject
from domain.states.folds import ExamSession
from domain.steps.exam import CORRECT_SCORE, RECORD_SCORE, VERIFY_SCORES, RecordScore, VerifyScores
from domain.values.primitives import Marks

TAG = "成绩 · Scores"
routes = router(TAG)

ROWS_MAX = 5000


class ScoreRow(BaseModel):
    """One subject of one ticket."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ticket_number: str = Field(min_length=1, max_length=64)
    subject: Subject
    marks: Marks | None = Field(description="0..100 in halves as text; null: absent (缺考)")


class ScoresBody(BaseModel):
    """Scores of a session."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "rows": [
                    {"ticket_number": "s1-01-001", "subject": "theory", "marks": "78"},
                    {"ticket_number": "s1-01-001", "subject": "practical", "marks": None},
                ]
            }
        },
    )
    rows: tuple[ScoreRow, ...] = Field(min_length=1, max_length=ROWS_MAX)


class VerifiedRow(BaseModel):
    """Both marks of one ticket, as the second person reads them from the papers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ticket_number: str = Field(min_length=1, max_length=64)
    theory: Marks | None
    practical: Marks | None


class VerificationsBody(BaseModel):
    """Verified marks of a session."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "rows": [{"ticket_number": "s1-01-001", "theory": "78", "practical": "81.5"}]
            }
        },
    )
    rows: tuple[VerifiedRow, ...] = Field(min_length=1, max_length=ROWS_MAX)


def _marks(text: str) -> Marks | None:
    """A parser of marks; 缺考 is None. Raises: ValueError."""
    if text.strip().lower() in ("缺考", "absent"):
        return None
    # A spreadsheet writes 78 as 78.0 and 81.5 as 81.50.
    plain = re.sub(r"(\.\d*?)0+$", r"\1", text.strip()).removesuffix(".")
    try:
        return Marks(plain)
    except ValueError:
        raise ValueError("成绩应为0至100、最小0.5分,或写“缺考”") from None


_SUBJECTS = {
    "理论": Subject.THEORY, "理论知识考试": Subject.THEORY, "theory": Subject.THEORY,
    "技能": Subject.PRACTICAL, "实操": Subject.PRACTICAL, "技能考核": Subject.PRACTICAL,
    "practical": Subject.PRACTICAL,
}  # fmt: skip


def _subject(text: str) -> Subject:
    if text.lower() not in _SUBJECTS:
        raise ValueError("科目应为理论或技能")
    return _SUBJECTS[text.lower()]


COLUMNS = [
    Column("ticket_number", required=True),
    Column("subject", parse=_subject),
    Column("marks", parse=lambda text: (_marks(text),)),
    Column("theory_marks", parse=lambda text: (_marks(text),)),
    Column("practical_marks", parse=lambda text: (_marks(text),)),
]
BOTH_COLUMNS = [
    Column("ticket_number", required=True),
    Column("theory_marks", parse=lambda text: (_marks(text),), required=True),
    Column("practical_marks", parse=lambda text: (_marks(text),), required=True),
]
"""Marks are wrapped, so that 缺考, which is None, differs from an empty cell."""


async def record_scores(
    context: CommandContext, request: CommandRequest, session_id: str
) -> Response:
    """Record each row by itself. Raises: NotFound for an unknown session; faults of the whole."""
    await context.service.read(context.ledger.state, "session", session_id)
    outcome = new_outcome(request)
    if is_form(request):
        table, context = await parse_table_upload(request, context, COLUMNS)
        for problem in table.problems:
            outcome.add_cell(problem)
        rows = list(_score_rows(session_id, table))
    else:
        body = body_of(request, ScoresBody)
        rows = [
            _score_row(session_id, line, row.ticket_number, row.subject, row.marks)
            for line, row in enumerate(body.rows, 1)
        ]
    await record_all(context, rows, outcome)
    return outcome.response()


routes.routes += [
    CommandRoute(
        RECORD_SCORE,
        "POST /sessions/{session_id}/scores",
        "record_scores",
        tag=TAG,
        summary="批量登记成绩 · Record scores in bulk",
        docs="""
        逐行登记;每行单独受理或拒绝并说明行、列、原因。· Each row is taken or refused by itself and
        answered with its line, column and reason; sending the same request again tries the refused
        ones again. An absence is written 缺考 or null. Source: 4.3.""",
        handler=record_scores,
        openapi_extra=either_body(ScoresBody),
        responses=BULK,
    ),
]


def _score_rows(session_id: str, table: UploadTable) -> Iterator[Row]:
    """Rows of either layout of the table; a line with both marks is two rows."""
    for line, values in table.rows:
        ticket = values["ticket_number"]
        found = [
            (Subject.THEORY, values.get("theory_marks")),
            (Subject.PRACTICAL, values.get("practical_marks")),
        ]
        if values.get("subject") is not None:
            found.append((values["subject"], values.get("marks")))
        for subject, marks in found:
            if marks is not None:
                yield _score_row(session_id, line, ticket, subject, marks[0])


def _score_row(
    session_id: str, line: int, ticket: str, subject: Subject, marks: Marks | None
) -> Row:
    return make_row(
        line,
        ticket,
        f"{line}/{subject.value}",
        RecordScore,
        session_id=session_id,
        ticket_number=ticket,
        subject=subject,
        marks=marks,
    )


async def verify_session_scores(
    context: CommandContext, request: CommandRequest, session_id: str
) -> Response:
    """Verify each row by itself. Raises: NotFound for an unknown session; faults of the whole."""
    session = await context.service.read(context.ledger.state, "session", session_id)
    outcome = new_outcome(request)
    if is_form(request):
        table, context = await parse_table_upload(request, context, BOTH_COLUMNS)
        for problem in table.problems:
            outcome.add_cell(problem)
        given = [
            (line, v["ticket_number"], v["theory_marks"][0], v["practical_marks"][0])
            for line, v in table.rows
        ]
    else:
        body = body_of(request, VerificationsBody)
        given = [
            (line, row.ticket_number, row.theory, row.practical)
            for line, row in enumerate(body.rows, 1)
        ]
    rows = [_verified_row(session, *each) for each in given]
    await record_all(context, rows, outcome)
    return outcome.response()


routes.routes += [
    CommandRoute(
        VERIFY_SCORES,
        "POST /sessions/{session_id}/score-verification",
        "verify_session_scores",
        tag=TAG,
        summary="批量复核成绩 · Verify a session's scores",
        docs="""
        第二人对照试卷逐行录入两科成绩,一致方为复核通过。· The second person names both marks of
        each ticket again; only equal ones are verified. Source: 4.3(3).""",
        handler=verify_session_scores,
        openapi_extra=either_body(VerificationsBody),
        responses=BULK,
    ),
]


def _verified_row(
    session: ExamSession, line: int, ticket: str, theory: Marks | None, practical: Marks | None
) -> Row:
    application_id = session.tickets.get(ticket)
    part = f"{line}/verify"
    if application_id is None:
        return Row(line, ticket, part, refusal=NotFound(what="ticket", id=ticket))
    command = VerifyScores(application_id=application_id, theory=theory, practical=practical)
    return Row(line, ticket, part, command)


routes.routes += [
    CommandRoute(
        VERIFY_SCORES,
        "POST /applications/{application_id}/score-verification",
        "verify_scores",
        tag=TAG,
        summary="复核一人成绩 · Verify one candidate's scores",
        docs="""
        须由登记人以外的人复核。· By somebody other than who recorded them. Source: 4.3(3).""",
        example={"theory": "78", "practical": "81.5"},
        location="/applications/{application_id}",
    ),
    CommandRoute(
        CORRECT_SCORE,
        "POST /applications/{application_id}/score-corrections",
        "correct_score",
        tag=TAG,
        summary="更正成绩 · Correct a score",
        docs="""
        更正后须重新复核并补充公示。· It has to be verified and published again. Source: 5.1.""",
        example={"subject": "theory", "marks": "82", "reason": "漏判一题,复核后更正"},
        location="/applications/{application_id}",
    ),
]

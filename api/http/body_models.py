"""Request bodies, made from the commands they become, and the answers most routes give.

A body is its command without the ids of the path, so that a limit or a description is written once,
with the rule. Reading order: request_model, then the answers.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from api.http.routing import WRITING
from domain.decision import Command


def request_model(
    command: type[Command], *left_out: str, example: dict[str, Any]
) -> type[BaseModel]:
    """The body of a command's route.

    left_out: fields that path or handler fill. example: shown in OpenAPI; a test holds it valid.
    """
    fields: dict[str, Any] = {
        name: (info.annotation, info)
        for name, info in command.model_fields.items()
        if name not in left_out
    }
    return create_model(
        f"{command.__name__}Body",
        __config__=ConfigDict(
            frozen=True,
            extra="forbid",
            hide_input_in_errors=True,
            json_schema_extra={"example": example},
        ),
        __doc__=command.__doc__,
        **fields,
    )


class ReceiptBody(BaseModel):
    """回执 · what was recorded, and where; the same for every repetition of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "command_id": "0d3c2a64-1f9d-5b36-8f0e-2f2a5f6a9e10",
                "ledger": "omc",
                "stream": "application-A1",
                "version": 3,
                "first_position": 128,
                "last_position": 128,
                "topics": ["fee_paid.v1"],
                "recorded_at": "2026-11-23T02:00:00.000000Z",
                "outcome": {"payment_id": "PAY1", "excess": False},
            }
        }
    )
    command_id: str = Field(description="random id of the command, the same on every retry")
    ledger: str
    stream: str = Field(description="the stream written to first")
    version: int = Field(ge=1, description="that stream's new version; also the ETag")
    first_position: int = Field(ge=1)
    last_position: int = Field(ge=1, description="give it to a read as `min_position`")
    topics: list[str] = Field(description="the facts that were recorded, by topic")
    recorded_at: str = Field(description="RFC 3339, UTC")
    outcome: dict[str, Any] = Field(description="what came of it: new ids, numbers, amounts")


RECEIPT: dict[int | str, dict[str, Any]] = {
    201: {
        "model": ReceiptBody,
        "description": "已记录 · recorded",
        "headers": {
            "ETag": {"schema": {"type": "string"}, "description": "version of the stream"},
            "Location": {"schema": {"type": "string"}, "description": "where the new thing is"},
            "Idempotency-Replayed": {
                "schema": {"type": "string", "enum": ["true"]},
                "description": "the request had been carried out before",
            },
        },
    }
}
"""OpenAPI response of every route that records one command."""


class RowResult(BaseModel):
    """What became of one row of a bulk request."""

    line: int = Field(ge=1, description="line of the file, or the row's number from 1")
    status: str = Field(pattern="^(recorded|replayed|refused)$")
    key: str | None = Field(default=None, description="ticket, application or number of the row")
    column: str | None = Field(default=None, description="the column at fault, if it is one")
    code: str | None = Field(default=None, description="why the row was refused")
    reason: str | None = Field(default=None, description="the same in words")
    retryable: bool | None = None
    outcome: dict[str, Any] | None = None
    position: int | None = Field(default=None, description="last position of what was recorded")


class BulkBody(BaseModel):
    """逐行结果 · row by row; sending the same request again tries the refused rows again."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "recorded": 1,
                "replayed": 0,
                "refused": 1,
                "last_position": 240,
                "rows": [
                    {"line": 2, "status": "recorded", "key": "s1-01-001", "position": 240},
                    {
                        "line": 3,
                        "status": "refused",
                        "key": "s1-01-002",
                        "column": "marks",
                        "code": "score_already_recorded",
                        "reason": "理论成绩已登记,更正请走成绩更正。",
                        "retryable": False,
                    },
                ],
            }
        }
    )
    recorded: int = Field(ge=0)
    replayed: int = Field(ge=0)
    refused: int = Field(ge=0)
    last_position: int | None = Field(default=None, description="give it to a read")
    rows: list[RowResult]


RECORDED: dict[int | str, dict[str, Any]] = {**RECEIPT, **WRITING}
"""All responses of a route that records one command."""

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {**RECEIPT[201], "description": "已受理 · accepted: recorded, and to be settled"},
    **WRITING,
}
"""All responses of a route that records one command, on which somebody else decides later."""

BULK: dict[int | str, dict[str, Any]] = {
    200: {"model": BulkBody, "description": "逐行结果 · row by row"},
    **WRITING,
}
"""All responses of a route that records many commands, row by row."""

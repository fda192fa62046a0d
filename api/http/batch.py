"""Many commands in one request: row by row, each under a key derived from the request's key.

A refused row does not affect the others. Sending the same request again replays the recorded rows
and tries the refused ones again, so repeating a half-done upload finishes it. Rows go to the ledger
in batches, so that they share commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from api.errors.problem_details import is_retryable, title_and_detail
from api.errors.request import FieldInvalid, MalformedJson
from api.errors.validation import invalid_request
from api.files.tables import CellProblem, Column, UploadTable, read_table
from api.http.command_route import NO_VALUE, CommandRequest
from api.http.dependencies import CommandContext, json_response
from api.http.multipart import read_form
from api.http.negotiation import preferred_language
from api.http.routing import JSON, MULTIPART
from domain.decision import Command
from domain.errors import LedgerError
from domain.service.receipt import Receipt
from domain.store.errors import IdempotencyKeyExpired, IdempotencyKeyReused

B = TypeVar("B", bound=BaseModel)

BATCH_SIZE = 256
"""Rows submitted at the same time; less than the ledger's queue takes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its command, or the refusal of its values.

    part: distinguishes it from the other rows of the request, the same on every repetition.
    column: the column at fault when its values make no command.
    """

    line: int
    key: str | None
    part: str
    command: Command | None = None
    refusal: LedgerError | None = None
    column: str | None = None


@dataclass
class RowOutcome:
    """The outcome of every row."""

    language: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    last_position: int | None = None

    def add(self, row: Row, result: Receipt | LedgerError) -> None:
        """Add the outcome of a row."""
        shown: dict[str, Any] = {"line": row.line, "key": row.key}
        if isinstance(result, LedgerError):
            shown |= {
                "status": "refused",
                "column": row.column,
                "code": result.code,
                "reason": title_and_detail(result, self.language)[1],
                "retryable": is_retryable(result),
            }
        else:
            shown |= {
                "status": "replayed" if result.replayed else "recorded",
                "outcome": result.outcome,
                "position": result.last_position,
            }
            self.last_position = max(self.last_position or 0, result.last_position)
        self.rows.append({name: value for name, value in shown.items() if value is not None})

    def add_cell(self, problem: CellProblem) -> None:
        """Add a cell that could not be read."""
        self.rows.append(
            {
                "line": problem.line,
                "status": "refused",
                "column": problem.column,
                "code": "bad_cell",
                "reason": problem.reason,
                "retryable": False,
            }
        )

    def response(self) -> Response:
        """All rows in the order of the table, with their counts."""
        rows = sorted(self.rows, key=lambda row: row["line"])
        counts = {
            status: sum(row["status"] == status for row in rows)
            for status in ("recorded", "replayed", "refused")
        }
        whole = bool(counts["replayed"]) and not counts["recorded"]
        headers = {"Idempotency-Replayed": "true"} if whole else {}
        body = counts | {"last_position": self.last_position, "rows": rows}
        return json_response(body, headers=headers)


def make_row(line: int, key: str | None, part: str, command: type[Command], **values: Any) -> Row:
    """A row with its command, or with the fault of its values."""
    try:
        return Row(line, key, part, command(**values))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        column = str(first["loc"][0]) if first["loc"] else None
        return Row(line, key, part, refusal=invalid_request([first], "body"), column=column)


async def record_all(context: CommandContext, rows: Iterable[Row], outcome: RowOutcome) -> None:
    """Record every row and add its outcome.

    Raises: IdempotencyKeyReused when the key was used for another request, IdempotencyKeyExpired
        when nobody can tell any more: that concerns all.
    """
    listed = list(rows)
    for start in range(0, len(listed), BATCH_SIZE):
        batch = listed[start : start + BATCH_SIZE]
        results = await asyncio.gather(*(_one(context, row) for row in batch))
        for row, result in zip(batch, results, strict=True):
            if isinstance(result, IdempotencyKeyReused | IdempotencyKeyExpired):
                raise result
            outcome.add(row, result)


async def _one(context: CommandContext, row: Row) -> Receipt | LedgerError:
    if row.command is None:
        assert row.refusal is not None
        return row.refusal
    try:
        return await context.record(row.command, part=row.part)
    except LedgerError as refusal:
        return refusal


async def parse_table_upload(
    request: CommandRequest, context: CommandContext, columns: Sequence[Column]
) -> tuple[UploadTable, CommandContext]:
    """The table that a form carries, and the write with that form as its request.

    Raises: FieldInvalid, and what `read_table` raises for the table as a whole.
    """
    form = await read_form(request)
    file = form.file("file")
    if not file.name:
        raise FieldInvalid(field="file")
    table = await context.service.read(read_table, file.data, file.name, columns)
    return table, context.for_form(request.method, request.path, form.canonical)


def new_outcome(request: CommandRequest) -> RowOutcome:
    """An empty outcome in the caller's language."""
    return RowOutcome(preferred_language(request.headers.get("accept-language")))


def either_body(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI of a body that is JSON or a table in a form."""
    file = {"type": "string", "format": "binary", "description": "CSV, XLSX"}
    form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    return {
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}},
                MULTIPART: {"schema": form},
            },
        }
    }


def body_of(request: CommandRequest, model: type[B]) -> B:
    """The JSON body of a route that also takes a form. Raises: InvalidRequest, MalformedJson."""
    if request.value is NO_VALUE:
        raise MalformedJson()
    try:
        return model.model_validate(request.value)
    except ValidationError as wrong:
        raise invalid_request(wrong.errors(), where="body") from None


def is_form(request: CommandRequest) -> bool:
    """Whether the body is a form with a table in it."""
    return request.media_type == MULTIPART

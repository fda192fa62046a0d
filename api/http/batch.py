"""Many commands in one request: row by row, each under a key derived from the request's key.

A row that is refused costs its neighbours nothing. Sending the same request again replays the rows
that were recorded and tries the refused ones again, so a half-done upload is finished by repeating
it. Rows go to the ledger together, so that they share commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from api.errors.problem_details import is_retryable, preferred_language, title_and_detail
from api.errors.request import FieldInvalid, MalformedJson
from api.errors.validation import invalid_request
from api.files.tables import CellProblem, Column, Table, read_table
from api.http.dependencies import CommandContext, answer
from api.http.multipart import read_form
from api.http.routing import JSON, MULTIPART
from domain.decision import Command
from domain.errors import LedgerError
from domain.service.receipt import Receipt
from domain.store.errors import IdempotencyKeyReused

WAVE = 256
"""Rows that wait for the ledger at the same time; below what its queue holds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the command it asks for, or why it can't be one.

    part: tells it from the other rows of the request, the same on every repetition.
    column: the column at fault when its values make no command.
    """

    line: int
    key: str | None
    part: str
    command: Command | None = None
    refusal: LedgerError | None = None
    column: str | None = None


@dataclass
class Outcome:
    """What became of the rows."""

    language: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    last_position: int | None = None

    def add(self, row: Row, result: Receipt | LedgerError) -> None:
        """Note what became of a row."""
        told: dict[str, Any] = {"line": row.line, "key": row.key}
        if isinstance(result, LedgerError):
            told |= {
                "status": "refused",
                "column": row.column,
                "code": result.code,
                "reason": title_and_detail(result, self.language)[1],
                "retryable": is_retryable(result),
            }
        else:
            told |= {
                "status": "replayed" if result.replayed else "recorded",
                "outcome": result.outcome,
                "position": result.last_position,
            }
            self.last_position = max(self.last_position or 0, result.last_position)
        self.rows.append({name: value for name, value in told.items() if value is not None})

    def add_cell(self, problem: CellProblem) -> None:
        """Note a cell that could not be read."""
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
        return answer(body, headers=headers)


def make_row(line: int, key: str | None, part: str, command: type[Command], **values: Any) -> Row:
    """A row of a command, or of the fault that keeps its values from being one."""
    try:
        return Row(line, key, part, command(**values))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        column = str(first["loc"][0]) if first["loc"] else None
        return Row(line, key, part, refusal=invalid_request([first], "body"), column=column)


async def record_all(write: CommandContext, rows: Iterable[Row], outcome: Outcome) -> None:
    """Carry every row out and note what became of it.

    Raises: IdempotencyKeyReused when the key was used for another request: that concerns all.
    """
    listed = list(rows)
    for start in range(0, len(listed), WAVE):
        wave = listed[start : start + WAVE]
        results = await asyncio.gather(*(_one(write, row) for row in wave))
        for row, result in zip(wave, results, strict=True):
            if isinstance(result, IdempotencyKeyReused):
                raise result
            outcome.add(row, result)


async def _one(write: CommandContext, row: Row) -> Receipt | LedgerError:
    if row.command is None:
        assert row.refusal is not None
        return row.refusal
    try:
        return await write.record(row.command, part=row.part)
    except LedgerError as refusal:
        return refusal


async def table_of(
    request: Request, write: CommandContext, columns: list[Column]
) -> tuple[Table, dict[str, str], CommandContext]:
    """The table that a form carries, its other fields, and the write told apart by them.

    Raises: FieldInvalid, and what `read_table` raises for the table as a whole.
    """
    form = await read_form(request)
    file = form.file("file")
    if not file.name:
        raise FieldInvalid(field="file")
    table = await write.service.read(read_table, file.data, file.name, columns)
    known = write.of_form(f"{request.method} {request.url.path}", form.canonical)
    return table, form.texts, known


def new_outcome(request: Request) -> Outcome:
    """An empty outcome in the caller's language."""
    return Outcome(preferred_language(request.headers.get("accept-language")))


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


async def json_body(request: Request, model: type[BaseModel]) -> Any:
    """A JSON body read by hand, where a route takes more than one type.

    Raises: MalformedJson, InvalidRequest.
    """
    try:
        given = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise MalformedJson() from None
    try:
        return model.model_validate(given)
    except ValidationError as wrong:
        raise invalid_request(wrong.errors(), where="body") from None


def is_form(request: Request) -> bool:
    """Whether the body is a form with a table in it."""
    return request.headers.get("content-type", "").lower().startswith(MULTIPART)

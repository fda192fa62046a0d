"""Cuts the rows of a read model to the fields of a response model, and opens their sealed texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from api.http.dependencies import QueryContext


def pick(row: Mapping[str, Any], model: type[BaseModel], *, without: str = "") -> dict[str, Any]:
    """The fields of a model out of a row. without: one field that the row does not have."""
    return {name: row[name] for name in model.model_fields if name != without}


async def open_texts(read: QueryContext, rows: Sequence[dict[str, Any]], column: str) -> None:
    """Open a sealed column of rows in place; None where the key was destroyed."""
    texts = [row[column] for row in rows]
    if any(texts):
        opened = await read.run(read.ledger.open_texts, texts)
        for row, text in zip(rows, opened, strict=True):
            row[column] = text

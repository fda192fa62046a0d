"""Array literals are read by PostgreSQL as the values they were made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain.store.postgres.literals import array
from tests.support.postgres import Database


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", []),
        ("text", ["plain", "two words"]),
        ("text", ["", "NULL", "null", None, "{}", "a,b"]),
        ("text", ['a"b', "a\\b", '"', "\\", "'", "%s", "编号\n"]),
        ("bigint", [1, None, -(2**62)]),
        ("uuid", [UUID(int=7)]),
        ("timestamptz", [datetime(2026, 3, 1, 8, tzinfo=UTC)]),
    ],
)
def test_values_survive_the_round_trip(database: Database, kind: str, values: list[Any]) -> None:
    rows = database.execute(f"SELECT value FROM unnest(%s::{kind}[]) AS value", array(values))
    found = [str(row[0]) if kind == "uuid" else row[0] for row in rows]
    assert found == ([str(value) for value in values] if kind == "uuid" else values)

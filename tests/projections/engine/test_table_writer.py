"""Whatever a row holds, it is written and read back as it was, by whichever way it is written.

Covers: projections/engine/table_writer.py, projections/engine/generation_writer.py,
projections/engine/rows.py
"""

from typing import Any

import orjson
import psycopg2.errors
import pytest

from projections.engine.generation_writer import GenerationWriter
from projections.engine.tables import Row, Table
from projections.engine.view import View
from tests.projections.grammar import ProjectedLedger

TABLE = Table(
    "odd_rows",
    {
        "name": "id",
        "text": "text?",
        "words": "ids",
        "number": "bigint?",
        "flag": "bool",
        "day": "day?",
        "time": "time?",
        "said": "text?",
    },
    key=("name",),
    derived={"said": lambda ledger, row: orjson.dumps([ledger, row["text"]]).decode()},
)
VIEW = View("odd", 1, (TABLE,), {}, frozenset())
PLAIN: Row = {
    "name": "plain", "text": "张三, 4 级", "words": ["one", "two"], "number": -7, "flag": True,
    "day": "2026-06-16", "time": "2026-06-14T02:53:58.000001Z",
}  # fmt: skip
TEXTS = [
    "null",
    "NULL",
    "a],[b",
    '"',
    'a""b',
    "a\\b",
    "\\N",
    "\\.",
    "\n",
    "\r",
    "\t",
    "\x7f",
    " ",
    "'",
]


@pytest.fixture
def target(open_ledger: Any) -> tuple[ProjectedLedger, GenerationWriter]:
    """A ledger whose one view is the table of odd rows."""
    ledger = open_ledger(views=(VIEW,))
    return ledger, ledger.targets()[0]


def written(ledger: ProjectedLedger, target: GenerationWriter, rows: list[Row]) -> list[Row]:
    """What is read back of rows that are copied in together."""
    writer = target.writers["odd_rows"]
    with ledger.cursor() as cursor:
        writer.copy(cursor, "omc", rows)
        found = {row["name"]: row for row in writer.load(cursor, "omc", [r["name"] for r in rows])}
    return [found[row["name"]] for row in rows]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("neighbours", [[], [PLAIN]])
def test_a_text_with_special_characters_is_copied_unchanged(
    target: tuple[ProjectedLedger, GenerationWriter], text: str, neighbours: list[Row]
) -> None:
    rows = [*neighbours, {**PLAIN, "name": "odd", "text": text}]
    assert written(*target, rows) == rows


def test_none_and_empty_text_are_stored_as_null(
    target: tuple[ProjectedLedger, GenerationWriter],
) -> None:
    nothing = {"text": None, "words": [], "number": None, "flag": False, "day": None, "time": None}
    rows = [PLAIN, {"name": "nothing", **nothing}]
    assert written(*target, rows) == rows
    assert written(*target, [{**PLAIN, "name": "empty", "text": ""}])[0]["text"] is None


def test_a_zero_character_is_replaced(target: tuple[ProjectedLedger, GenerationWriter]) -> None:
    rows = [{**PLAIN, "name": "zero", "text": "a\0b"}]
    assert written(*target, rows)[0]["text"] == "a\N{REPLACEMENT CHARACTER}b"


def test_a_list_with_special_characters_is_copied_unchanged(
    target: tuple[ProjectedLedger, GenerationWriter],
) -> None:
    words = [*TEXTS, "", "Null", "a b", "{", "}", ",", "é", "9", "理论"]
    rows = [PLAIN, {**PLAIN, "name": "odd", "words": words}]
    assert written(*target, rows) == rows


@pytest.mark.parametrize("text", [*TEXTS, "", "a\0b"])
def test_an_upsert_stores_the_same_text_as_a_copy(
    target: tuple[ProjectedLedger, GenerationWriter], text: str
) -> None:
    ledger, views = target
    copied = written(ledger, views, [{**PLAIN, "name": "odd", "text": text}])
    writer = views.writers["odd_rows"]
    said = ledger.row("odd_rows")["said"]
    with ledger.cursor() as cursor:
        writer.upsert(cursor, "omc", [{**PLAIN, "name": "odd", "text": text, "words": "{one,two}"}])
        assert writer.load(cursor, "omc", ["odd"]) == copied
    stored = ledger.row("odd_rows")
    assert said == stored["said"] == orjson.dumps(["omc", stored["text"]]).decode()


def names(writer: Any, cursor: Any) -> list[str]:
    return sorted(row["name"] for row in writer.load(cursor, "omc", ["plain", "odd", "last"]))


def test_buffered_rows_are_written_with_a_full_buffer_or_a_flush(
    target: tuple[ProjectedLedger, GenerationWriter],
) -> None:
    """Those that are written in another form make the ones before them go first."""
    ledger, views = target
    writer = views.writers["odd_rows"]
    with ledger.cursor() as cursor:
        writer.buffer(cursor, "omc", [PLAIN])
        assert names(writer, cursor) == []
        writer.buffer(cursor, "omc", [{**PLAIN, "name": "odd", "text": "a\tb"}])
        assert names(writer, cursor) == ["plain"]
        writer.buffer(cursor, "zju", [{**PLAIN, "text": "a\\b"}])
        writer.buffer(cursor, "omc", [{**PLAIN, "name": "last"}])
        assert names(writer, cursor) == ["odd", "plain"]
        writer.flush(cursor)
        assert names(writer, cursor) == ["last", "odd", "plain"]
        assert writer.load(cursor, "zju", ["plain"]) == [{**PLAIN, "text": "a\\b"}]


def test_rejected_rows_are_not_written_again_by_the_next_flush(
    target: tuple[ProjectedLedger, GenerationWriter],
) -> None:
    ledger, views = target
    writer = views.writers["odd_rows"]
    with ledger.cursor() as cursor:
        writer.copy(cursor, "omc", [PLAIN])
        with pytest.raises(psycopg2.errors.UniqueViolation):
            writer.copy(cursor, "omc", [{**PLAIN, "name": "odd"}, PLAIN])
        writer.copy(cursor, "omc", [{**PLAIN, "name": "last"}])
        assert names(writer, cursor) == ["last", "plain"]

"""Whatever a row holds, it is written and read back as it was, by whichever way it is written."""

from typing import Any

import orjson
import psycopg2.errors
import pytest

from projections.engine.generation_writer import GenerationWriter
from projections.engine.view import Row, Table, View
from tests.projections.grammar import Book

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
    made={"said": lambda ledger, row: orjson.dumps([ledger, row["text"]]).decode()},
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
def target(open_book: Any) -> tuple[Book, GenerationWriter]:
    """A book whose one view is the table of odd rows."""
    book = open_book(views=(VIEW,))
    return book, book.targets()[0]


def written(book: Book, target: GenerationWriter, rows: list[Row]) -> list[Row]:
    """What is read back of rows that are copied in together."""
    writer = target.writers["odd_rows"]
    with book.cursor() as cursor:
        writer.copy(cursor, "omc", rows)
        found = {row["name"]: row for row in writer.load(cursor, "omc", [r["name"] for r in rows])}
    return [found[row["name"]] for row in rows]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("beside", [[], [PLAIN]])
def test_an_odd_text_is_copied_as_it_is(
    target: tuple[Book, GenerationWriter], text: str, beside: list[Row]
) -> None:
    rows = [*beside, {**PLAIN, "name": "odd", "text": text}]
    assert written(*target, rows) == rows


def test_what_has_no_value_is_null_and_so_is_an_empty_text(
    target: tuple[Book, GenerationWriter],
) -> None:
    nothing = {"text": None, "words": [], "number": None, "flag": False, "day": None, "time": None}
    rows = [PLAIN, {"name": "nothing", **nothing}]
    assert written(*target, rows) == rows
    assert written(*target, [{**PLAIN, "name": "empty", "text": ""}])[0]["text"] is None


def test_a_zero_character_is_replaced(target: tuple[Book, GenerationWriter]) -> None:
    rows = [{**PLAIN, "name": "zero", "text": "a\0b"}]
    assert written(*target, rows)[0]["text"] == "a\N{REPLACEMENT CHARACTER}b"


def test_a_list_of_odd_words_is_copied_as_it_is(target: tuple[Book, GenerationWriter]) -> None:
    words = [*TEXTS, "", "Null", "a b", "{", "}", ",", "é", "9", "理论"]
    rows = [PLAIN, {**PLAIN, "name": "odd", "words": words}]
    assert written(*target, rows) == rows


@pytest.mark.parametrize("text", [*TEXTS, "", "a\0b"])
def test_a_row_is_replaced_by_the_same_text_as_is_copied(
    target: tuple[Book, GenerationWriter], text: str
) -> None:
    book, views = target
    copied = written(book, views, [{**PLAIN, "name": "odd", "text": text}])
    writer = views.writers["odd_rows"]
    said = book.row("odd_rows")["said"]
    with book.cursor() as cursor:
        writer.upsert(cursor, "omc", [{**PLAIN, "name": "odd", "text": text, "words": "{one,two}"}])
        assert writer.load(cursor, "omc", ["odd"]) == copied
    stored = book.row("odd_rows")
    assert said == stored["said"] == orjson.dumps(["omc", stored["text"]]).decode()


def names(writer: Any, cursor: Any) -> list[str]:
    return sorted(row["name"] for row in writer.load(cursor, "omc", ["plain", "odd", "last"]))


def test_rows_that_are_held_come_with_the_next_or_with_a_flush(
    target: tuple[Book, GenerationWriter],
) -> None:
    """Those that are written in another form make the ones before them go first."""
    book, views = target
    writer = views.writers["odd_rows"]
    with book.cursor() as cursor:
        writer.hold(cursor, "omc", [PLAIN])
        assert names(writer, cursor) == []
        writer.hold(cursor, "omc", [{**PLAIN, "name": "odd", "text": "a\tb"}])
        assert names(writer, cursor) == ["plain"]
        writer.hold(cursor, "zju", [{**PLAIN, "text": "a\\b"}])
        writer.hold(cursor, "omc", [{**PLAIN, "name": "last"}])
        assert names(writer, cursor) == ["odd", "plain"]
        writer.flush(cursor)
        assert names(writer, cursor) == ["last", "odd", "plain"]
        assert writer.load(cursor, "zju", ["plain"]) == [{**PLAIN, "text": "a\\b"}]


def test_rows_that_were_refused_are_not_written_by_what_comes_next(
    target: tuple[Book, GenerationWriter],
) -> None:
    book, views = target
    writer = views.writers["odd_rows"]
    with book.cursor() as cursor:
        writer.copy(cursor, "omc", [PLAIN])
        with pytest.raises(psycopg2.errors.UniqueViolation):
            writer.copy(cursor, "omc", [{**PLAIN, "name": "odd"}, PLAIN])
        writer.copy(cursor, "omc", [{**PLAIN, "name": "last"}])
        assert names(writer, cursor) == ["last", "plain"]

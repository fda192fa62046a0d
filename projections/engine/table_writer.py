"""Rows out of Python and into PostgreSQL: COPY for new rows, one upsert for replaced ones."""

import csv
import io
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import orjson
from psycopg2.extras import execute_values

from projections.engine.view import Row, Table

_UPSERT_PAGE = 500  # rows a statement
_BLOCK_BYTES = 1 << 20
_HELD_BYTES = 1 << 20
_JSON, _CSV = "NULL 'null', ESCAPE '\\'", "NULL ''"
"""How lines say that there is nothing, and that a quotation mark is part of a text."""
# JSON text may hold a zero character, a column cannot: it must not stop a view.
_ZERO = "\\u0000"
_NO_ZERO = "\N{REPLACEMENT CHARACTER}"

_UTC_TEXT = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def kind_of(declared: str) -> str:
    """The type of a declared column without its `?`."""
    return declared.rstrip("?")


def array(values: Sequence[str]) -> str:
    """A PostgreSQL array literal of texts."""
    return "{" + ",".join([v if _is_plain(v) else _quoted(v) for v in values]) + "}"


def _is_plain(value: str) -> bool:
    return value.isidentifier() and value.lower() != "null"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _storable(value: Any) -> Any:
    """The value as COPY would have written it."""
    return value.replace("\0", _NO_ZERO) or None if type(value) is str else value


class TableWriter:
    """Writes rows of one table; `physical` is the table's name in its generation."""

    def __init__(self, table: Table, physical: str) -> None:
        self.table = table
        self.physical = physical
        self._names = [name for name in table.columns if name not in table.made]
        names = [*self._names, *table.made]
        self._values = itemgetter(*self._names)
        listed = ", ".join(("ledger", *names))
        self._copy = f"COPY {physical} ({listed}) FROM STDIN (FORMAT csv, {{said}})"
        self._made = tuple(table.made.values())
        self._lists = [n for n, kind in table.columns.items() if kind_of(kind) == "ids"]
        key = ", ".join(("ledger", *table.key))
        replaced = ", ".join(f"{n} = excluded.{n}" for n in names if n not in table.key)
        self._upsert = (
            f"INSERT INTO {physical} AS t ({listed}) VALUES %s "
            f"ON CONFLICT ({key}) DO UPDATE SET {replaced}"
        )
        self._load = load_statement(table, physical)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._held_said = _CSV

    def copy(self, cursor: Any, ledger: str, rows: Sequence[Row]) -> None:
        """Add rows that are not there yet. Raises: psycopg2.Error, KeyError for a lacking column.

        One statement, so that a check over all rows of the statement sees whole entries.
        """
        self.hold(cursor, ledger, rows)
        self.flush(cursor)

    def hold(self, cursor: Any, ledger: str, rows: Sequence[Row]) -> None:
        """The same, but at the latest with `flush`: a statement costs as much as a hundred rows.

        Rows that are held are in no statement but a whole one.
        """
        if not rows:
            return
        if self._lists:
            rows = [row | {name: array(row[name]) for name in self._lists} for row in rows]
        values = self._whole(ledger, rows)
        text = _json_lines(ledger, values)
        said = _JSON if text is not None else _CSV
        if text is None:
            text = _csv_lines(ledger, values)
        if said != self._held_said:
            self.flush(cursor)
            self._held_said = said
        self._held.append(text)
        self._held_bytes += len(text)
        if self._held_bytes > _HELD_BYTES:
            self.flush(cursor)

    def flush(self, cursor: Any) -> None:
        """Write what is held. Raises: psycopg2.Error; then it is held no more."""
        if self._held:
            file = io.BytesIO(b"".join(self._held))
            self._held, self._held_bytes = [], 0
            cursor.copy_expert(self._copy.format(said=self._held_said), file, _BLOCK_BYTES)

    def upsert(self, cursor: Any, ledger: str, rows: Sequence[Row]) -> None:
        """Replace rows that are there. Raises: psycopg2.Error."""
        if rows:
            whole = self._whole(ledger, rows)
            values = [(ledger, *map(_storable, row)) for row in whole]
            execute_values(cursor, self._upsert, values, page_size=_UPSERT_PAGE)

    def _whole(self, ledger: str, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
        """The values of rows, and of the columns that follow from the others."""
        values = self._values
        if not self._made:
            return list(map(values, rows))
        return [(*values(row), *self._derived(ledger, row)) for row in rows]

    def _derived(self, ledger: str, row: Row) -> list[str | None]:
        derived = [make(ledger, row) for make in self._made]
        for value in derived:
            if value and (_ZERO in value or '""' in value):
                # From what is stored of the others, as it would be the next time.
                stored = {name: _storable(value) for name, value in row.items()}
                return [make(ledger, stored) for make in self._made]
        return derived

    def load(self, cursor: Any, ledger: str, groups: Iterable[str]) -> list[Row]:
        """The newest rows of the given groups, as the fold wrote them."""
        cursor.execute(self._load, (ledger, list(groups)))
        return [dict(zip(self._names, row, strict=True)) for row in cursor.fetchall()]


def _json_lines(ledger: str, rows: Sequence[tuple[Any, ...]]) -> bytes | None:
    """Rows as JSON values, which are CSV as well; None if they are not.

    Written by orjson in a quarter of the time that `csv` takes. They are not CSV where a character
    other than a quotation mark is escaped, and an empty text would not become NULL.
    """
    text = orjson.dumps(rows)
    if b'""' in text or text.count(b"],[") != len(rows) - 1:
        return None
    quoted = text.count(b"\\")
    if quoted and (b"\\\\" in text or text.count(b'\\"') != quoted):
        return None
    begin = orjson.dumps(ledger) + b","
    return begin + text[2:-2].replace(b"],[", b"\n" + begin) + b"\n"


def _csv_lines(ledger: str, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Rows as CSV, whatever they hold. An empty field is NULL: no fact holds an empty text."""
    file = io.StringIO()
    # The line's end has both characters, so that a text with either of them is quoted.
    csv.writer(file, lineterminator="\r\n").writerows((ledger, *row) for row in rows)
    return file.getvalue().replace("\0", _NO_ZERO).encode()


def load_statement(table: Table, physical: str) -> str:
    """SQL that reads rows back in the very form in which a fold writes them."""
    listed = ", ".join(
        _as_written(name, kind_of(kind))
        for name, kind in table.columns.items()
        if name not in table.made
    )
    key = ", ".join(table.key)
    newest = f"DISTINCT ON ({key}) " if table.kind == "history" else ""
    order = f" ORDER BY {key}, position DESC" if table.kind == "history" else ""
    return (
        f"SELECT {newest}{listed} FROM {physical} "
        f"WHERE ledger = %s AND {table.group} = ANY(%s){order}"
    )


def _as_written(name: str, kind: str) -> str:
    if kind == "time":
        return f"{_UTC_TEXT.format(name)} AS {name}"
    if kind == "day":
        return f"{name}::text AS {name}"
    return name

"""Writes the rows of one table: COPY for new rows, one upsert for replaced ones."""

import csv
import io
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import orjson
from psycopg2.extras import execute_values

from domain.store.keys.seals import row_seal
from domain.store.postgres.connection import Cursor
from domain.store.postgres.literals import array
from projections.engine.row_seals import check_seal
from projections.engine.tables import SEAL, Row, Table, kind_of

_UPSERT_PAGE = 500  # rows in a statement
_BLOCK_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 20
_JSON, _CSV = "NULL 'null', ESCAPE '\\'", "NULL ''"
"""COPY options of the two line formats: how they write NULL and quotation marks."""
# JSON text may contain a zero character and a column may not: replaced, it does not stop a view.
_ZERO = "\\u0000"
_NO_ZERO = "\N{REPLACEMENT CHARACTER}"
_ZERO_IN_JSON, _EMPTY, _EMPTY_IN_JSON = b"u0000", b'""', b'\\"\\"'
"""What JSON, or JSON in a JSON text, has of such a character or of an empty text, which is NULL."""

_UTC_TEXT = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _storable(value: Any) -> Any:
    """The value as COPY would store it."""
    return value.replace("\0", _NO_ZERO) or None if type(value) is str else value


def _stored(row: Row) -> Row:
    return {name: _storable(value) for name, value in row.items()}


class TableWriter:
    """Writes rows of one table."""

    def __init__(
        self, table: Table, physical: str, view: str, row_keys: Sequence[bytes] = ()
    ) -> None:
        """physical: the table's name in its generation.

        row_keys: seal and check the rows of a sealed table, the active one first; none: no seal.
        """
        self.table = table
        self.physical = physical
        self._view = view
        self._row_keys = tuple(row_keys)
        self._names = written_by_folds(table)
        names = [*self._names, *table.derived, *((SEAL,) if table.sealed else ())]
        self._values = itemgetter(*self._names)
        listed = ", ".join(("ledger", *names))
        self._copy = f"COPY {physical} ({listed}) FROM STDIN (FORMAT csv, {{options}})"
        self._derivations = tuple(table.derived.values())
        columns = table.columns
        self._lists = [n for n, each in enumerate(names) if kind_of(columns[each]) == "ids"]
        key = ", ".join(("ledger", *table.key))
        replaced = ", ".join(f"{n} = excluded.{n}" for n in names if n not in table.key)
        self._upsert = (
            f"INSERT INTO {physical} AS t ({listed}) VALUES %s "
            f"ON CONFLICT ({key}) DO UPDATE SET {replaced}"
        )
        self._load = load_statement(table, physical)
        self._buffered: list[bytes] = []
        self._buffered_bytes = 0
        self._buffered_format = _CSV

    def copy(self, cursor: Cursor, ledger: str, rows: Sequence[Row]) -> None:
        """Insert new rows. Raises: psycopg2.Error, KeyError for a missing column.

        One statement, so that a trigger over all rows of the statement sees whole entries.
        """
        self.buffer(cursor, ledger, rows)
        self.flush(cursor)

    def buffer(self, cursor: Cursor, ledger: str, rows: Sequence[Row]) -> None:
        """Insert new rows, at the latest with `flush`: a statement costs as much as 100 rows.

        Rows of one call are never split between statements.
        """
        if not rows:
            return
        values = self._complete(ledger, rows)
        if self._lists:
            values = [self._with_lists(row) for row in values]
        line_format, text = _JSON, _json_lines(ledger, values)
        if text is None:
            line_format, text = _CSV, _csv_lines(ledger, values)
        if line_format != self._buffered_format:
            self.flush(cursor)
            self._buffered_format = line_format
        self._buffered.append(text)
        self._buffered_bytes += len(text)
        if self._buffered_bytes > _BUFFER_BYTES:
            self.flush(cursor)

    def _with_lists(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Values with lists as COPY reads them."""
        written = list(values)
        for n in self._lists:
            written[n] = array(written[n])
        return tuple(written)

    def flush(self, cursor: Cursor) -> None:
        """Write the buffered rows. Raises: psycopg2.Error; the rows are then dropped."""
        if self._buffered:
            file = io.BytesIO(b"".join(self._buffered))
            self._buffered, self._buffered_bytes = [], 0
            cursor.copy_expert(self._copy.format(options=self._buffered_format), file, _BLOCK_BYTES)

    def upsert(self, cursor: Cursor, ledger: str, rows: Sequence[Row]) -> None:
        """Replace existing rows. Raises: psycopg2.Error."""
        if rows:
            complete = self._complete(ledger, rows)
            values = [(ledger, *map(_storable, row)) for row in complete]
            execute_values(cursor, self._upsert, values, page_size=_UPSERT_PAGE)

    def _complete(self, ledger: str, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
        """The values of rows, followed by their derived columns."""
        values = self._values
        if not self._derivations and self.table.sealed is None:
            return list(map(values, rows))
        if self.table.sealed is None:
            return [(*values(row), *self._derived(ledger, row)) for row in rows]
        complete = []
        for row in rows:
            derived = self._derived(ledger, row)
            complete.append((*values(row), *derived, self._seal(ledger, row, derived)))
        return complete

    def _seal(self, ledger: str, row: Row, derived: list[str | None]) -> str | None:
        """The seal of a row; None without the key."""
        if not self._row_keys or self.table.sealed is None:
            return None
        columns = dict(zip(self.table.derived, derived, strict=True)) if derived else {}
        key_text, payload = self.table.sealed(row, columns)
        if _ZERO_IN_JSON in payload or _EMPTY in payload or _EMPTY_IN_JSON in payload:
            # Over the values as stored, which are what is read again.
            key_text, payload = self.table.sealed(_stored(row), columns)
        return row_seal(self._row_keys[0], ledger, self._view, key_text, payload).hex()

    def _derived(self, ledger: str, row: Row) -> list[str | None]:
        derived = [derive(ledger, row) for derive in self._derivations]
        for value in derived:
            if value and (_ZERO in value or '""' in value):
                # Derived from the values as stored, so that a later write derives the same.
                stored = _stored(row)
                return [derive(ledger, stored) for derive in self._derivations]
        return derived

    def load(self, cursor: Cursor, ledger: str, groups: Iterable[str]) -> list[Row]:
        """The newest rows of the given groups, as the fold wrote them.

        Raises: ViewWrong for a row of a sealed table that no fold wrote: what is made of it would
            have a right seal.
        """
        cursor.execute(self._load, (ledger, list(groups)))
        found = cursor.fetchall()
        if self.table.sealed is None:
            return [dict(zip(self._names, row, strict=True)) for row in found]
        rows = []
        for *values, seal in found:
            row = dict(zip(self._names, values, strict=True))
            self._check(ledger, row, seal)
            rows.append(row)
        return rows

    def _check(self, ledger: str, row: Row, seal: str | None) -> None:
        """Check the seal of a row against its columns; what is derived of them is not read."""
        if not self._row_keys or self.table.sealed is None:
            return
        derived = dict(zip(self.table.derived, self._derived(ledger, row), strict=True))
        key_text, payload = self.table.sealed(row, derived)
        check_seal(self._row_keys, ledger, self._view, key_text, payload, seal or "")


def _json_lines(ledger: str, rows: Sequence[tuple[Any, ...]]) -> bytes | None:
    """Rows as JSON values that are valid CSV too; None if they are not.

    orjson writes them in a quarter of the time that `csv` takes. They are not valid CSV where a
    character other than a quotation mark is escaped; and an empty text would not become NULL.
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
    """Rows as CSV, whatever they contain. An empty field is NULL: no fact has an empty text."""
    file = io.StringIO()
    # A terminator of both characters makes the writer quote a text with either of them.
    csv.writer(file, lineterminator="\r\n").writerows((ledger, *row) for row in rows)
    return file.getvalue().replace("\0", _NO_ZERO).encode()


def written_by_folds(table: Table) -> list[str]:
    """The columns of a table that a fold writes: without derived ones and the seal."""
    return [name for name in table.columns if name not in table.derived and name != SEAL]


def load_statement(table: Table, physical: str) -> str:
    """SQL that reads rows in the form in which a fold writes them; the seal comes last."""
    listed = ", ".join(
        _as_written(name, kind_of(table.columns[name])) for name in written_by_folds(table)
    )
    key = ", ".join(table.key)
    if table.sealed is not None:
        listed += f", {SEAL}"
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

"""The tables of a view, declared as data: columns, keys and the kind of change they allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any, Literal

import orjson

Row = dict[str, Any]
"""Column -> value: text, int, bool, None, or a list of text. Times and days are text (ISO 8601)."""

TYPES = {
    "id": 'text COLLATE "C"',  # sorted by code point, so that a page's last key is a stable cursor
    "text": "text",
    "sealed": "text",  # a code, or a sealed value with its place: `Entry.sealed`
    "int": "integer",
    "bigint": "bigint",
    "bool": "boolean",
    "day": "date",
    "time": "timestamptz",
    "ids": 'text[] COLLATE "C"',
}
"""Column types a view may use; a `?` after the name lets the column be null."""


SEAL = "seal"
"""The column of a table that is `sealed`: 64 hex digits."""


def kind_of(declared: str) -> str:
    """The type of a declared column without its `?`."""
    return declared.rstrip("?")


@dataclass(frozen=True, slots=True)
class Follows:
    """The events of one stream that write the rows of a table.

    stream: its kind; column `id` has the id in it. position: the column that has the position of
        the last of them. topics: of these events. same: columns whose values they must have in
        their data, where the stream has events of several rows.
    """

    stream: str
    id: str
    position: str
    topics: frozenset[str]
    same: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a view; `ledger` is its first column and the first of its primary key.

    columns: name -> a key of TYPES. key: identifies a row within the ledger; its first column is
        the group in which rows are loaded.
    kind: `current` rows are replaced; `history` keeps every state of a row and the fold reads the
        newest; `log` is only appended to and never read by the fold. History and log rows carry the
        position that wrote them; a trigger refuses any change of them.
    indexes: `(column, …) …` after CREATE INDEX … ON table. triggers: DDL with {table}.
    derived: columns of JSON text that follow from the ledger and the other columns; they are
        computed when a row is written, and no fold sees them.
    sealed: (row, derived columns) -> the row's key as text, and what its seal is over. Such a table
        has a last column `seal`, written under a key that is not in the database; null without it.
    follows: which events write its rows; a row that is not of the last of them is not read.
    blind_indexes: columns with the stored index of a personal text.
    secret: columns whose values are never printed.
    """

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    kind: Literal["current", "history", "log"] = "current"
    indexes: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    derived: Mapping[str, Callable[[str, Row], str | None]] = field(default_factory=dict)
    sealed: Callable[[Row, Row], tuple[str, bytes]] | None = None
    follows: tuple[Follows, ...] = ()
    blind_indexes: frozenset[str] = frozenset()
    secret: frozenset[str] = frozenset()

    @property
    def group(self) -> str:
        """The column by whose value rows are loaded together."""
        return self.key[0]

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns of the primary key; rows of a history differ by position."""
        extra = ("position",) if self.kind == "history" else ()
        return ("ledger", *self.key, *extra)


def whole_row(kind: str, columns: Mapping[str, str]) -> Callable[[Row, Row], tuple[str, bytes]]:
    """`Table.sealed` over all columns of a row, the first of which is its key.

    kind: differs from those of the view's other tables.
    """
    names = [name for name in columns if name != SEAL]
    # No function within this one: rebuilds send tables to other processes.
    return partial(_seal_whole, kind, names[0], itemgetter(*names))


def _seal_whole(
    kind: str, key: str, values: Callable[[Row], Any], row: Row, derived: Row
) -> tuple[str, bytes]:
    return f"{kind}|{row[key]}", orjson.dumps(values(row))

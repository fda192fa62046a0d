"""The contract of a view: a name, tables, and one small function for every fact it handles.

A view is data, so that the runner, the rebuild and the tests all drive the same thing. HANDLES and
IGNORES together name every fact there is: a fact nobody thought about stops the view instead of
falling on the floor. Reading order: Entry, Table, View, fold, queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from domain.events import Fact

if TYPE_CHECKING:
    from projections.engine.rows import RowBuffer

Row = dict[str, Any]
"""Column -> value: text, int, bool, None, or a list of text. Times and days are text (ISO 8601)."""

ERASED = "已删除"
"""Stands where a person's masked name or number stood, once their data were erased."""

TYPES = {
    "id": 'text COLLATE "C"',  # sorted by code point, so that a page's last key is a stable cursor
    "text": "text",
    "int": "integer",
    "bigint": "bigint",
    "bool": "boolean",
    "day": "date",
    "time": "timestamptz",
    "ids": 'text[] COLLATE "C"',
}
"""Column types a view may use; a `?` after the name lets the column be null."""


class ViewError(Exception):
    """A view cannot be kept up to date."""


class UnknownTopic(ViewError):
    """A fact that the view neither handles nor ignores."""

    def __init__(self, topic: str, position: int) -> None:
        super().__init__(f"unknown topic {topic} at position {position}")
        self.topic = topic
        self.position = position

    def __reduce__(self) -> tuple[Any, ...]:
        # From one process to another: the text alone does not make it again.
        return type(self), (self.topic, self.position), self.__dict__


class Masks(NamedTuple):
    """What may be published of a person. erased: their data are gone."""

    name: str
    number: str
    erased: bool


class Entry:
    """One journal entry as a view sees it: decoded once for all views, never validated again.

    position: 1, 2, 3 … within the ledger. data: the fact, sealed fields still sealed.
    occurred_at, recorded_at: UTC text of fixed width. envelope: everything there is.
    """

    __slots__ = ("data", "envelope", "occurred_at", "position", "recorded_at", "topic")

    def __init__(self, position: int, envelope: dict[str, Any]) -> None:
        self.position = position
        self.envelope = envelope
        self.topic: str = envelope["topic"]
        self.data: dict[str, Any] = envelope["data"]
        self.occurred_at: str = envelope["occurred_at"]
        self.recorded_at: str = envelope["recorded_at"]

    @property
    def actor(self) -> dict[str, Any]:
        """Who did it: subject, role, organisation, on_behalf_of."""
        actor: dict[str, Any] = self.envelope["actor"]
        return actor


class PersonEntry(Entry):
    """An entry that says who somebody is. masks: see `masks.masks`."""

    __slots__ = ("_open", "_opened", "masks")

    def __init__(self, position: int, envelope: dict[str, Any], opener: Opener) -> None:
        super().__init__(position, envelope)
        self.masks: Masks | None = None
        self._open = opener
        self._opened: Mapping[str, str | None] | None = None

    @property
    def opened(self) -> Mapping[str, str | None]:
        """Name and document_number in clear, opened once; None once the person was erased.

        Raises: WrongKey of the store; so only a view that needs them fails on it.
        """
        if self._opened is None:
            self._opened = self._open(self.envelope)
        return self._opened


Opener = Callable[[Mapping[str, Any]], Mapping[str, str | None]]
"""Opens the personal fields of an envelope that views mask."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a view; `ledger` is its first column and begins its primary key.

    columns: name -> a key of TYPES. key: what identifies a row within the ledger; its first
    column is the group in which rows are loaded.
    kind: `current` rows are replaced; `history` keeps every state of a row and the fold sees the
    newest; `log` is only ever added to and never read by the fold. History and log rows carry the
    position that wrote them, and are refused any change by a trigger.
    indexes: `(column, …) …` after CREATE INDEX … ON table. triggers: DDL with {table}.
    made: columns of JSON text that follow from the ledger and the others of a row; they are made
    when it is written, and no fold sees them.
    """

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    kind: Literal["current", "history", "log"] = "current"
    indexes: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    made: Mapping[str, Callable[[str, Row], str | None]] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The column whose value brings rows into memory together."""
        return self.key[0]

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns of the primary key; a history row is told apart by its position."""
        extra = ("position",) if self.kind == "history" else ()
        return ("ledger", *self.key, *extra)


Handler = Callable[["RowBuffer", Entry], None]


@dataclass(frozen=True, slots=True)
class Handles:
    """How a view folds one kind of fact.

    reads: tables whose rows of the fact's group are worth loading beforehand; a table left out is
    still found, at the price of a query.
    """

    fold: Handler
    reads: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A view: what `runner` and `rebuild` need to know of it.

    version: raised with every change of the tables or of what the fold writes; the view is then
    made anew beside the old one.
    """

    name: str
    version: int
    tables: tuple[Table, ...]
    handles: Mapping[str, Handles]
    ignores: frozenset[str]

    def fold(self, entries: Iterable[Entry], rows: RowBuffer) -> None:
        """Fold entries into rows, in order.

        Raises: UnknownTopic, and whatever a fact that makes no sense here raises.
        """
        handles = self.handles
        for entry in entries:
            handler = handles.get(entry.topic)
            if handler is not None:
                handler.fold(rows, entry)
            elif entry.topic not in self.ignores:
                raise UnknownTopic(entry.topic, entry.position)

    def wanted(self, entries: Iterable[Entry]) -> dict[str, set[str]]:
        """Table name -> groups that folding these entries will look at."""
        wanted: dict[str, set[str]] = {}
        for entry in entries:
            handler = self.handles.get(entry.topic)
            if handler is not None:
                for table in handler.reads:
                    group = entry.data.get(table.group)
                    if group is not None:
                        wanted.setdefault(table.name, set()).add(group)
        return wanted


def topics(*facts: type[Fact]) -> frozenset[str]:
    """The topics of facts, for a view's list of what it ignores."""
    return frozenset(fact.TOPIC for fact in facts)


def as_of_filter(as_of: int | datetime | None) -> dict[str, Any]:
    """Arguments of the `as_of` condition that every query over history carries.

    as_of: a position of the ledger, an aware moment (as we knew it then), or None for now.
    Returns: at_position and at_time; None where there is no bound.
    """
    if as_of is None:
        return {"at_position": None, "at_time": None}
    if isinstance(as_of, datetime):
        if as_of.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return {"at_position": None, "at_time": as_of}
    return {"at_position": as_of, "at_time": None}


@cache
def queries(view: str) -> Mapping[str, str]:
    """The named statements of `sql/<view>.sql`: a line `-- name --`, then one statement.

    Raises: FileNotFoundError; ValueError for a name that stands twice.
    """
    text = (
        resources.files("projections").joinpath(f"{view}/queries.sql").read_text(encoding="utf-8")
    )
    found: dict[str, str] = {}
    name = ""
    lines: list[str] = []
    for line in [*text.splitlines(), "-- end --"]:
        if line.startswith("-- ") and line.endswith(" --"):
            if name:
                found[name] = "\n".join(lines).strip()
            name, lines = line[3:-3], []
            if name in found:
                raise ValueError(f"{view}.sql has two statements named {name}")
        else:
            lines.append(line)
    return found


def select(cursor: Any, sql: str, arguments: Mapping[str, Any]) -> list[Row]:
    """Rows of a query as dicts."""
    cursor.execute(sql, arguments)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

"""The contract of a view: a name, tables, and one small function for every fact it handles.

A view is data, so that the runner, the rebuild and the tests all drive the same value. Its handled
and ignored topics together are the whole catalogue of facts: a fact that a view does not know
pauses it instead of being lost. Reading order: Entry, Handles, View, View.fold, queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from domain.events import Fact
from domain.store.journal.envelope import leaf_hash
from domain.store.postgres.connection import Cursor as Cursor
from domain.values.sealed_fields import placed_text
from projections.engine.rows import RowBuffer
from projections.engine.tables import Row, Table

ERASED = "已删除"
"""Replaces a person's masked name and number once their data are erased."""


class ViewError(Exception):
    """A view cannot be brought or kept up to date."""


class UnhandledTopic(ViewError):
    """A fact that the view neither handles nor ignores."""

    def __init__(self, topic: str, position: int) -> None:
        super().__init__(f"unknown topic {topic} at position {position}")
        self.topic = topic
        self.position = position

    def __reduce__(self) -> tuple[Any, ...]:
        # For pickling between processes: the default would pass the text alone.
        return type(self), (self.topic, self.position), self.__dict__


class Masks(NamedTuple):
    """What may be published of a person. erased: their data are gone."""

    name: str
    number: str
    erased: bool


class Entry:
    """One journal entry as a view reads it: decoded once for all views, not validated again.

    position: 1, 2, 3 … within the ledger. data: the fact, with sealed fields still sealed.
    occurred_at, recorded_at: UTC text of fixed width. envelope: the whole event; stored: its bytes.
    """

    __slots__ = ("data", "envelope", "occurred_at", "position", "recorded_at", "stored", "topic")

    def __init__(self, position: int, envelope: dict[str, Any], stored: bytes = b"") -> None:
        self.position = position
        self.stored = stored
        self.envelope = envelope
        self.topic: str = envelope["topic"]
        self.data: dict[str, Any] = envelope["data"]
        self.occurred_at: str = envelope["occurred_at"]
        self.recorded_at: str = envelope["recorded_at"]

    def sealed(self, name: str) -> str | None:
        """A sealed field as a view stores it: still sealed, and with its place in the journal."""
        value = self.data[name]
        if value is None:
            return None
        envelope = self.envelope
        return placed_text(envelope["stream"], envelope["version"], f"/{name}", value)

    @property
    def leaf(self) -> bytes:
        """The leaf hash of the event, 32 bytes."""
        return leaf_hash(self.stored)

    @property
    def actor(self) -> dict[str, Any]:
        """Who acted: subject, role, organisation, on_behalf_of, authority."""
        actor: dict[str, Any] = self.envelope["actor"]
        return actor


class PersonEntry(Entry):
    """An entry with a person's identity. masks: cached by `masking.masks`."""

    __slots__ = ("_open", "_opened", "masks")

    def __init__(
        self, position: int, envelope: dict[str, Any], stored: bytes, opener: Opener
    ) -> None:
        super().__init__(position, envelope, stored)
        self.masks: Masks | None = None
        self._open = opener
        self._opened: Mapping[str, str | None] | None = None

    @property
    def opened(self) -> Mapping[str, str | None]:
        """Decrypted name and document_number, opened once; None once the person was erased.

        Raises: WrongKey of the store, so that only views that need the fields fail on it.
        """
        if self._opened is None:
            self._opened = self._open(self.envelope)
        return self._opened


Opener = Callable[[Mapping[str, Any]], Mapping[str, str | None]]
"""Decrypts the personal fields of an envelope that views mask."""


Handler = Callable[["RowBuffer", Entry], None]


@dataclass(frozen=True, slots=True)
class Handles:
    """How a view folds one kind of fact.

    reads: tables whose rows of the fact's group are prefetched for a batch; a table left out is
    loaded when the fold reads it, at the price of a query for each group.
    """

    fold: Handler
    reads: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A view as the runner and the rebuild use it.

    version: raised with every change of the tables or of what the folds write; the runner then
    rebuilds the view next to the old generation.
    """

    name: str
    version: int
    tables: tuple[Table, ...]
    handles: Mapping[str, Handles]
    ignores: frozenset[str]

    @property
    def has_blind_indexes(self) -> bool:
        """Whether its tables are under an epoch, and are rebuilt under the next one."""
        return any(table.blind_indexes for table in self.tables)

    def fold(self, entries: Iterable[Entry], rows: RowBuffer) -> None:
        """Fold entries into rows, in order.

        Raises: UnhandledTopic, and whatever a fold raises on an event that does not fit.
        """
        handles = self.handles
        for entry in entries:
            handler = handles.get(entry.topic)
            if handler is not None:
                handler.fold(rows, entry)
            elif entry.topic not in self.ignores:
                raise UnhandledTopic(entry.topic, entry.position)

    def wanted(self, entries: Iterable[Entry]) -> dict[str, set[str]]:
        """Table name -> groups that folding these entries will read."""
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
    """Arguments of the `as_of` condition of every query over history.

    as_of: a position of the ledger, an aware datetime (what was recorded by then), or None for now.
    Returns: at_position and at_time; None where there is no bound.
    """
    if as_of is None:
        return {"at_position": None, "at_time": None}
    if isinstance(as_of, datetime):
        if as_of.tzinfo is None:
            raise ValueError("as_of needs a time zone")
        return {"at_position": None, "at_time": as_of}
    return {"at_position": as_of, "at_time": None}


@cache
def queries(view: str) -> Mapping[str, str]:
    """The named statements of `<view>/queries.sql`: a line `-- name --`, then one statement.

    Raises: FileNotFoundError; ValueError for a name that occurs twice.
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
                raise ValueError(f"{view}/queries.sql has two statements named {name}")
        else:
            lines.append(line)
    return found


def select(cursor: Cursor, sql: str, arguments: Mapping[str, Any]) -> list[Row]:
    """Rows of a query as dicts."""
    cursor.execute(sql, arguments)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

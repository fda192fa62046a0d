"""The rows that a fold reads and changes: a buffer between a view's folds and its tables.

Rows come in by groups, from a loader, or stay in memory from the first entry on; they go out as a
list of new rows and a list of replaced ones. Rows are never changed in place: a fold upserts a new
dict, so that a row that was loaded stays what the database holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from projections.engine.tables import Row, Table


class BatchStart(NamedTuple):
    """Where events begin that are folded together: the tables are of those before them.

    after: the position before the first. versions: stream -> version of its first event in it.
    """

    after: int
    versions: Mapping[str, int]


Loader = Callable[[Table, Iterable[str], BatchStart], list[Row]]
"""Newest rows of a table whose group column is one of the given values, before a batch."""


class KeyedTexts(Protocol):
    """Makes texts from the service's keys, which folds have no other access to."""

    def stored_index(self, kind: str, value: str) -> str:
        """The blind index of a text as it is stored, under the epoch of the tables."""
        ...

    def links(self, kind: str, number: str, version: int) -> tuple[str, ...]:
        """Every link that opens a version of a certificate; the one to print first."""
        ...


Key = Any
"""The value of a table's key column; a tuple of them where the key has several."""


def no_rows(table: Table, groups: Iterable[str], batch: BatchStart) -> list[Row]:
    """The loader of a view that begins empty."""
    return []


class _TableRows:
    """The rows of one table. stored: keys that the database has. added: of history and log.

    groups: the keys of each loaded group, in the order in which they came; where all rows are in
    memory and each is a group of its own, it stays empty.
    """

    __slots__ = ("added", "groups", "is_history", "is_single", "key", "rows", "stored", "touched")

    def __init__(self, table: Table) -> None:
        self.key = itemgetter(*table.key)
        self.is_single = len(table.key) == 1
        self.is_history = table.kind == "history"
        self.rows: dict[Key, Row] = {}
        self.groups: dict[str, list[Key]] = {}
        self.stored: set[Key] = set()
        self.touched: dict[Key, Row] = {}
        self.added: list[Row] = []


class RowBuffer:
    """The rows of one view of one ledger, in memory.

    keyed: makes blind indexes and links.
    complete: the database has no row that is not in memory; then the loader is never called, and
    every row is yet to be written.
    """

    def __init__(
        self,
        ledger: str,
        tables: Iterable[Table],
        keyed: KeyedTexts,
        loader: Loader = no_rows,
        *,
        complete: bool = False,
    ) -> None:
        self.ledger = ledger
        self.keyed = keyed
        self.complete = complete
        self.batch = BatchStart(0, {})
        """What is being folded."""
        self._loader = loader
        self._tables = tuple(tables)
        self._buffers = {table.name: _TableRows(table) for table in self._tables}

    # --- what a fold does ------------------------------------------------------------------------

    def group(self, table: Table, group: str) -> list[Row]:
        """Rows of a group, in the order in which they came."""
        buffer = self._buffers[table.name]
        if not self.complete and group not in buffer.groups:
            self.prefetch(table, (group,))
        return [buffer.rows[key] for key in buffer.groups.get(group, ())]

    def get(self, table: Table, *key: str) -> Row | None:
        """The row of a key; None if there is none."""
        buffer = self._buffers[table.name]
        whole = key[0] if buffer.is_single else key
        found = buffer.rows.get(whole)
        if found is None and not self.complete and key[0] not in buffer.groups:
            self.prefetch(table, key[:1])
            found = buffer.rows.get(whole)
        return found

    def require(self, table: Table, *key: str) -> Row:
        """The row of a key. Raises: KeyError if an earlier event should have written it."""
        row = self.get(table, *key)
        if row is None:
            raise KeyError(f"{table.name} has no row {'/'.join(map(str, key))}")
        return row

    def upsert(self, table: Table, row: Row) -> None:
        """Write a row of a current or history table: the newest state of its key."""
        buffer = self._buffers[table.name]
        key = buffer.key(row)
        if not self.complete:
            group = key if buffer.is_single else key[0]
            if group not in buffer.groups:
                self.prefetch(table, (group,))
            if not buffer.is_history:
                buffer.touched[key] = row
        if key not in buffer.rows and not (buffer.is_single and self.complete):
            buffer.groups.setdefault(key if buffer.is_single else key[0], []).append(key)
        buffer.rows[key] = row
        if buffer.is_history:
            buffer.added.append(row)

    def add(self, table: Table, *rows: Row) -> None:
        """Write rows of a log table."""
        self._buffers[table.name].added.extend(rows)

    # --- in and out ------------------------------------------------------------------------------

    def prefetch(self, table: Table, groups: Iterable[str]) -> None:
        """Load groups that are not in memory yet, in one query."""
        if self.complete:
            return
        buffer = self._buffers[table.name]
        missing = [group for group in groups if group not in buffer.groups]
        if not missing:
            return
        for group in missing:
            buffer.groups[group] = []
        for row in self._loader(table, missing, self.batch):
            key = buffer.key(row)
            buffer.rows[key] = row
            buffer.groups[key if buffer.is_single else key[0]].append(key)
            buffer.stored.add(key)

    def take_added(self) -> Iterator[tuple[str, list[Row]]]:
        """Take the rows of history and log tables written since the last time, by table name."""
        for name, buffer in self._buffers.items():
            if buffer.added:
                added, buffer.added = buffer.added, []
                yield name, added

    def take_current(self) -> Iterator[tuple[str, list[Row], list[Row]]]:
        """Take what current tables need: (table name, new rows, replaced rows).

        Where everything is in memory, these are all rows; they may be taken once.
        """
        for table in self._tables:
            buffer = self._buffers[table.name]
            if table.kind != "current":
                continue
            if self.complete:
                yield table.name, list(buffer.rows.values()), []
            elif buffer.touched:
                new: list[Row] = []
                replaced: list[Row] = []
                for key, row in buffer.touched.items():
                    (replaced if key in buffer.stored else new).append(row)
                buffer.stored.update(buffer.touched)
                buffer.touched = {}
                yield table.name, new, replaced

    def buffered_rows(self) -> int:
        """How many rows are in memory."""
        return sum(len(buffer.rows) for buffer in self._buffers.values())

    def reset(self) -> None:
        """Drop every row, once all are written; from now on the loader is called."""
        self._buffers = {table.name: _TableRows(table) for table in self._tables}
        self.complete = False

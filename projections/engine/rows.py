"""What a fold sees of its tables, and what it changed.

Rows come in by groups, from a loader or because everything since the first entry is in memory; they
go out as a list of new rows and a list of replaced ones. Rows are never changed in place: a fold
puts a new dict, so what was loaded stays what the database holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

from projections.engine.view import Row, Table

Loader = Callable[[Table, Iterable[str]], list[Row]]
"""Newest rows of a table whose group column is one of the given values."""

BlindIndex = Callable[[str, str, str | None], str]
"""Kind, text and algorithm (None: today's) -> `algorithm:hex`."""

Key = Any
"""The value of a table's key column; a tuple of them where the key has several."""


def no_rows(table: Table, groups: Iterable[str]) -> list[Row]:
    """The loader of a view that begins with nothing."""
    return []


class _Held:
    """The rows of one table. stored: keys that the database has. added: of history and log.

    groups: the keys of each group that is here, in the order in which they came; where all rows
    are here and each is a group of its own, it stays empty.
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

    blind_index: makes the keyed index of a text.
    complete: nothing is in the database that is not here; then the loader is never asked, and
    every row held is yet to be written.
    """

    def __init__(
        self,
        ledger: str,
        tables: Iterable[Table],
        blind_index: BlindIndex,
        loader: Loader = no_rows,
        *,
        complete: bool = False,
    ) -> None:
        self.ledger = ledger
        self.blind_index = blind_index
        self.complete = complete
        self._loader = loader
        self._tables = tuple(tables)
        self._held = {table.name: _Held(table) for table in self._tables}

    # --- what a fold does ------------------------------------------------------------------------

    def group(self, table: Table, group: str) -> list[Row]:
        """Rows of a group, in the order in which they came."""
        held = self._held[table.name]
        if not self.complete and group not in held.groups:
            self.prefetch(table, (group,))
        return [held.rows[key] for key in held.groups.get(group, ())]

    def get(self, table: Table, *key: str) -> Row | None:
        """The row of a key; None if there is none."""
        held = self._held[table.name]
        whole = key[0] if held.is_single else key
        found = held.rows.get(whole)
        if found is None and not self.complete and key[0] not in held.groups:
            self.prefetch(table, key[:1])
            found = held.rows.get(whole)
        return found

    def need(self, table: Table, *key: str) -> Row:
        """The row of a key. Raises: KeyError if there is none: the journal promised one."""
        row = self.get(table, *key)
        if row is None:
            raise KeyError(f"{table.name} has no row {'/'.join(map(str, key))}")
        return row

    def put(self, table: Table, row: Row) -> None:
        """Write a row of a current or history table: the newest state of its key."""
        held = self._held[table.name]
        key = held.key(row)
        if not self.complete:
            group = key if held.is_single else key[0]
            if group not in held.groups:
                self.prefetch(table, (group,))
            if not held.is_history:
                held.touched[key] = row
        if key not in held.rows and not (held.is_single and self.complete):
            held.groups.setdefault(key if held.is_single else key[0], []).append(key)
        held.rows[key] = row
        if held.is_history:
            held.added.append(row)

    def add(self, table: Table, *rows: Row) -> None:
        """Write rows of a log table."""
        self._held[table.name].added.extend(rows)

    # --- in and out ------------------------------------------------------------------------------

    def prefetch(self, table: Table, groups: Iterable[str]) -> None:
        """Load groups that are not here yet, in one query."""
        if self.complete:
            return
        held = self._held[table.name]
        missing = [group for group in groups if group not in held.groups]
        if not missing:
            return
        for group in missing:
            held.groups[group] = []
        for row in self._loader(table, missing):
            key = held.key(row)
            held.rows[key] = row
            held.groups[key if held.is_single else key[0]].append(key)
            held.stored.add(key)

    def drain_added(self) -> Iterator[tuple[str, list[Row]]]:
        """Take the rows of history and log tables written since the last time, by table name."""
        for name, held in self._held.items():
            if held.added:
                added, held.added = held.added, []
                yield name, added

    def drain_current(self) -> Iterator[tuple[str, list[Row], list[Row]]]:
        """Take what current tables need: (table name, new rows, replaced rows).

        Where everything is in memory, that is all there is; it may be taken once.
        """
        for table in self._tables:
            held = self._held[table.name]
            if table.kind != "current":
                continue
            if self.complete:
                yield table.name, list(held.rows.values()), []
            elif held.touched:
                new: list[Row] = []
                replaced: list[Row] = []
                for key, row in held.touched.items():
                    (replaced if key in held.stored else new).append(row)
                held.stored.update(held.touched)
                held.touched = {}
                yield table.name, new, replaced

    def held(self) -> int:
        """How many rows are in memory."""
        return sum(len(held.rows) for held in self._held.values())

    def forget(self) -> None:
        """Drop what is in memory, after it was written; from now on the loader is asked."""
        self._held = {table.name: _Held(table) for table in self._tables}
        self.complete = False

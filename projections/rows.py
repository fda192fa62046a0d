"""What a fold sees of its tables, and what it changed.

Rows come in by groups, from a loader or because everything since the first entry is in memory; they
go out as a list of new rows and a list of replaced ones. Rows are never changed in place: a fold
puts a new dict, so what was loaded stays what the database holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from projections.view import Row, Table

Loader = Callable[[Table, Iterable[str]], list[Row]]
"""Newest rows of a table whose group column is one of the given values."""

Key = tuple[Any, ...]


def no_rows(table: Table, groups: Iterable[str]) -> list[Row]:
    """The loader of a view that begins with nothing."""
    return []


class Rows:
    """The rows of one view of one ledger, in memory.

    blind_index: keyed index of a text, `blind_index(kind, text) -> str`.
    complete: nothing is in the database that is not here; then the loader is never asked.
    """

    def __init__(
        self,
        ledger: str,
        blind_index: Callable[[str, str], str],
        loader: Loader = no_rows,
        *,
        complete: bool = False,
    ) -> None:
        self.ledger = ledger
        self.blind_index = blind_index
        self._loader = loader
        self.complete = complete
        self._groups: dict[str, dict[str, dict[Key, Row]]] = {}
        self._stored: set[tuple[str, Key]] = set()
        self.added: dict[str, list[Row]] = {}
        """Rows of history and log tables written since the last `drain`."""
        self._touched: dict[str, dict[Key, Row]] = {}

    def prefetch(self, table: Table, groups: Iterable[str]) -> None:
        """Load groups that are not here yet, in one query."""
        if self.complete:
            return
        held = self._groups.setdefault(table.name, {})
        missing = [group for group in groups if group not in held]
        if not missing:
            return
        for group in missing:
            held[group] = {}
        for row in self._loader(table, missing):
            key = tuple(row[column] for column in table.key)
            held[key[0]][key] = row
            self._stored.add((table.name, key))

    def group(self, table: Table, group: str) -> Mapping[Key, Row]:
        """Rows of a group by their whole key, in the order in which they came."""
        held = self._groups.setdefault(table.name, {})
        found = held.get(group)
        if found is None:
            if self.complete:
                found = held[group] = {}
            else:
                self.prefetch(table, (group,))
                found = held[group]
        return found

    def get(self, table: Table, *key: str) -> Row | None:
        """The row of a key; None if there is none."""
        return self.group(table, key[0]).get(key)

    def need(self, table: Table, *key: str) -> Row:
        """The row of a key. Raises: KeyError if there is none: the journal promised one."""
        row = self.group(table, key[0]).get(key)
        if row is None:
            raise KeyError(f"{table.name} has no row {'/'.join(map(str, key))}")
        return row

    def put(self, table: Table, row: Row) -> None:
        """Write a row of a current or history table: the newest state of its key."""
        key = tuple(row[column] for column in table.key)
        self.group(table, key[0])
        self._groups[table.name][key[0]][key] = row
        if table.kind == "history":
            self.added.setdefault(table.name, []).append(row)
        else:
            self._touched.setdefault(table.name, {})[key] = row

    def add(self, table: Table, row: Row) -> None:
        """Write a row of a log table."""
        self.added.setdefault(table.name, []).append(row)

    def drain_added(self) -> dict[str, list[Row]]:
        """Take the rows of history and log tables that were written since the last time."""
        added, self.added = self.added, {}
        return added

    def drain_touched(self) -> dict[str, tuple[list[Row], list[Row]]]:
        """Take what current tables need: table name -> (new rows, replaced rows)."""
        drained = {}
        for name, touched in self._touched.items():
            new: list[Row] = []
            replaced: list[Row] = []
            for key, row in touched.items():
                (replaced if (name, key) in self._stored else new).append(row)
            self._stored.update((name, key) for key in touched)
            drained[name] = new, replaced
        self._touched = {}
        return drained

    def held(self) -> int:
        """How many rows are in memory."""
        return sum(len(rows) for held in self._groups.values() for rows in held.values())

    def forget(self, loader: Loader) -> None:
        """Drop what is in memory, after it was written; from now on the loader is asked."""
        self._groups.clear()
        self._stored.clear()
        self._loader = loader
        self.complete = False

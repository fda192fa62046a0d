"""One batch of entries into the tables of one generation of a view.

Everything here happens inside the caller's transaction, the position included: rows and position
are there together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from projections.engine.generations import physical
from projections.engine.rows import BlindIndex, RowBuffer
from projections.engine.table_writer import TableWriter
from projections.engine.view import Entry, Row, Table, View


class GenerationWriter:
    """A view together with the tables of one generation."""

    def __init__(self, view: View, number: int) -> None:
        self.view = view
        self.number = number
        self.writers = {t.name: TableWriter(t, physical(t, number)) for t in view.tables}
        self.tables = {t.name: t for t in view.tables}

    def rows(
        self,
        cursor: Any,
        ledger: str,
        blind_index: BlindIndex,
        *,
        complete: bool = False,
    ) -> RowBuffer:
        """Rows of a ledger, loaded through a cursor as they are asked for."""
        loader = self._loader(cursor, ledger)
        return RowBuffer(ledger, self.view.tables, blind_index, loader, complete=complete)

    def apply(
        self,
        cursor: Any,
        ledger: str,
        entries: Sequence[Entry],
        blind_index: BlindIndex,
    ) -> None:
        """Fold a batch and write what changed.

        Raises: UnknownTopic, psycopg2.Error, and whatever a fold raises; then the caller rolls
            back.
        """
        rows = self.rows(cursor, ledger, blind_index)
        self.prefetch(rows, entries)
        self.view.fold(entries, rows)
        self.write(cursor, rows)

    def prefetch(self, rows: RowBuffer, entries: Iterable[Entry]) -> None:
        """Load what folding these entries will look at."""
        for name, groups in self.view.wanted(entries).items():
            rows.prefetch(self.tables[name], groups)

    def write(self, cursor: Any, rows: RowBuffer) -> None:
        """Write everything that changed since the last time."""
        self._write(cursor, rows, TableWriter.copy)

    def hold(self, cursor: Any, rows: RowBuffer) -> None:
        """The last that is written of a ledger; new rows wait for those of others, or `flush`."""
        self._write(cursor, rows, TableWriter.hold)

    def hold_added(self, cursor: Any, rows: RowBuffer) -> None:
        """Only the rows of history and log tables; a rebuild keeps the others in memory."""
        for name, added in rows.drain_added():
            self.writers[name].hold(cursor, rows.ledger, added)

    def flush(self, cursor: Any) -> None:
        """Write what is held."""
        for writer in self.writers.values():
            writer.flush(cursor)

    def _write(self, cursor: Any, rows: RowBuffer, add: Callable[..., None]) -> None:
        for name, added in rows.drain_added():
            add(self.writers[name], cursor, rows.ledger, added)
        for name, new, replaced in rows.drain_current():
            add(self.writers[name], cursor, rows.ledger, new)
            self.writers[name].upsert(cursor, rows.ledger, replaced)

    def spill(self, cursor: Any, rows: RowBuffer) -> None:
        """Write everything and begin anew with an empty memory that asks the database."""
        self.write(cursor, rows)
        self.flush(cursor)
        rows.forget()

    def _loader(self, cursor: Any, ledger: str) -> Callable[[Table, Iterable[str]], list[Row]]:
        def load(table: Table, groups: Iterable[str]) -> list[Row]:
            return self.writers[table.name].load(cursor, ledger, groups)

        return load


def track(cursor: Any, ledger: str, names: Sequence[str]) -> dict[str, int]:
    """Lock the positions of views and read them; 0 where there was none yet.

    Two runners never fold the same entries: the second one waits here, then sees the positions
    the first one left.
    """
    sql = (
        "SELECT view, position FROM certledger.tracking "
        "WHERE ledger = %s AND view = ANY(%s) ORDER BY view FOR UPDATE"
    )
    cursor.execute(sql, (ledger, list(names)))
    found = dict(cursor.fetchall())
    missing = [name for name in names if name not in found]
    if missing:
        cursor.execute(
            "INSERT INTO certledger.tracking (ledger, view, position) "
            "SELECT %s, name, 0 FROM unnest(%s) AS name ON CONFLICT DO NOTHING",
            (ledger, missing),
        )
        cursor.execute(sql, (ledger, list(names)))
        found = dict(cursor.fetchall())
    return found


def move(cursor: Any, ledger: str, name: str, position: int) -> None:
    """Set the position of a view whose row is locked."""
    cursor.execute(
        "UPDATE certledger.tracking SET position = %s WHERE ledger = %s AND view = %s",
        (position, ledger, name),
    )

"""Unit of work: folds a batch of entries into the tables of one generation of a view.

Everything here runs inside the caller's transaction, so that rows and position are committed
together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from domain.store.postgres.connection import Cursor
from domain.store.privacy.epoch_keys import Epoch
from domain.store.privacy.index_ciphers import IndexCipher, index_cipher_key
from projections.engine.generations import physical
from projections.engine.journal_reader import FieldOpener
from projections.engine.latest_rows import check_latest
from projections.engine.progress_seals import progress_seal
from projections.engine.rows import BatchStart, Loader, RowBuffer
from projections.engine.table_writer import TableWriter
from projections.engine.tables import Row, Table
from projections.engine.view import Entry, View


class GenerationWriter:
    """Writes a view into the tables of one generation."""

    def __init__(
        self,
        view: View,
        number: int,
        row_keys: Sequence[bytes] = (),
        epoch: Epoch | None = None,
    ) -> None:
        """row_keys: seal rows and progress, see `vaults.row_keys_of`; none: no seal.

        epoch: that blind indexes are stored under; None for a view that has none.
        """
        self.view = view
        self.number = number
        self.epoch = epoch
        self._cipher = None if epoch is None else IndexCipher(index_cipher_key(epoch))
        self.row_keys = tuple(row_keys)
        self.writers = {
            t.name: TableWriter(t, physical(t, number), view.name, row_keys) for t in view.tables
        }
        self.tables = {t.name: t for t in view.tables}
        self._checks_age = bool(row_keys) and any(t.follows for t in view.tables)

    def row_buffer(
        self,
        cursor: Cursor,
        ledger: str,
        vault: FieldOpener,
        *,
        complete: bool = False,
    ) -> RowBuffer:
        """A buffer for the rows of a ledger, loaded on demand through the cursor."""
        loader = self._loader(cursor, vault)
        keyed = _Keyed(vault, self._cipher)
        return RowBuffer(ledger, self.view.tables, keyed, loader, complete=complete)

    def apply(
        self,
        cursor: Cursor,
        ledger: str,
        entries: Sequence[Entry],
        vault: FieldOpener,
    ) -> None:
        """Fold a batch and write the rows that changed.

        Raises: UnhandledTopic, psycopg2.Error, ViewWrong, SealBroken, and what a fold raises; the
            caller then rolls back.
        """
        rows = self.row_buffer(cursor, ledger, vault)
        self.prefetch(rows, entries)
        self.view.fold(entries, rows)
        self.write(cursor, rows)

    def prefetch(self, rows: RowBuffer, entries: Sequence[Entry]) -> None:
        """Load the rows that folding these entries will read.

        Raises: ViewWrong, SealBroken.
        """
        if self._checks_age and entries:
            rows.batch = _start_of(entries)
        for name, groups in self.view.wanted(entries).items():
            rows.prefetch(self.tables[name], groups)

    def write(self, cursor: Cursor, rows: RowBuffer) -> None:
        """Write everything that changed since the last write."""
        self._write(cursor, rows, TableWriter.copy)

    def buffer(self, cursor: Cursor, rows: RowBuffer) -> None:
        """Write what changed, but keep new rows in a buffer until it is full or flushed."""
        self._write(cursor, rows, TableWriter.buffer)

    def buffer_added(self, cursor: Cursor, rows: RowBuffer) -> None:
        """Buffer new rows of history and log tables only; the others stay in memory."""
        for name, added in rows.take_added():
            self.writers[name].buffer(cursor, rows.ledger, added)

    def flush(self, cursor: Cursor) -> None:
        """Write the buffered rows."""
        for writer in self.writers.values():
            writer.flush(cursor)

    def _write(self, cursor: Cursor, rows: RowBuffer, add: Callable[..., None]) -> None:
        for name, added in rows.take_added():
            add(self.writers[name], cursor, rows.ledger, added)
        for name, new, replaced in rows.take_current():
            add(self.writers[name], cursor, rows.ledger, new)
            self.writers[name].upsert(cursor, rows.ledger, replaced)

    def flush_and_reset(self, cursor: Cursor, rows: RowBuffer) -> None:
        """Write everything, empty the memory and from then on load rows from the database."""
        self.write(cursor, rows)
        self.flush(cursor)
        rows.reset()

    def _loader(self, cursor: Cursor, vault: FieldOpener) -> Loader:
        def load(table: Table, groups: Iterable[str], batch: BatchStart) -> list[Row]:
            rows = self.writers[table.name].load(cursor, vault.ledger, groups)
            if rows and table.follows and self._checks_age:
                sealer = vault.sealer(cursor)
                if sealer is not None:
                    check_latest(cursor, sealer, self.view.name, table, rows, batch)
            return rows

        return load


class _Keyed:
    """The texts that the folds of one generation make from keys."""

    def __init__(self, vault: FieldOpener, cipher: IndexCipher | None) -> None:
        self.links = vault.links
        self._blind_index = vault.blind_index
        self._cipher = cipher

    def stored_index(self, kind: str, value: str) -> str:
        """The blind index of a text, under the epoch of the generation."""
        assert self._cipher is not None, "the view declares its blind indexes"
        return self._cipher.encrypt(self._blind_index(kind, value))


def _start_of(entries: Sequence[Entry]) -> BatchStart:
    versions: dict[str, int] = {}
    for entry in entries:
        versions.setdefault(entry.envelope["stream"], entry.envelope["version"])
    return BatchStart(entries[0].position - 1, versions)


def lock_positions(cursor: Cursor, ledger: str, names: Sequence[str]) -> dict[str, int]:
    """Lock and read the positions of views; a view without one gets 0.

    Prevents two runners from folding the same entries: the second waits here, then reads the
    positions that the first one left.
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


def set_position(
    cursor: Cursor, ledger: str, name: str, target: GenerationWriter, last: Entry
) -> None:
    """Store the progress of a generation whose row is locked. last: the entry it has come to."""
    seal = progress_seal(
        target.row_keys, ledger, target.view.name, target.number, last.position, last.leaf
    )
    cursor.execute(
        "UPDATE certledger.tracking SET position = %s, leaf_hash = %s, seal = %s "
        "WHERE ledger = %s AND view = %s",
        (last.position, last.leaf, seal, ledger, name),
    )

"""Compares two generations of a view, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from domain.store.postgres.connection import Connection
from projections.engine.generations import physical
from projections.engine.tables import SEAL, Row, Table
from projections.engine.view import View

_PAGE = 1000
_NOT_SHOWN = "(secret)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same in both generations; None: that generation has no such row."""

    view: str
    table: Table
    key: Row
    live: Row | None
    rebuilt: Row | None

    def __str__(self) -> str:
        """The row's key and what differs, without the values of secret columns."""
        place = f"{self.view}: {self.table.name}: {self._shown(self.key, self.key)}"
        if self.live is None or self.rebuilt is None:
            return f"{place}: only {'rebuilt' if self.live is None else 'live'}"
        live, rebuilt = self.live, self.rebuilt
        differing = [name for name in live if live[name] != rebuilt[name]]
        if not differing:
            return f"{place}: twice"
        return (
            f"{place}: live {self._shown(live, differing)}, "
            f"rebuilt {self._shown(rebuilt, differing)}"
        )

    def _shown(self, row: Row, names: Iterable[str]) -> str:
        secret = self.table.secret
        return " ".join(f"{name}={_NOT_SHOWN if name in secret else row[name]}" for name in names)


def differences(
    connection: Connection, view: View, live: int, rebuilt: int, ledger: str | None = None
) -> Iterator[Difference]:
    """Every row that differs, table by table.

    Inside a transaction. live, rebuilt: generations of the same version. ledger: only its rows.
    """
    for table in view.tables:
        yield from _of_table(connection, view, table, live, rebuilt, ledger)


def _of_table(
    connection: Connection, view: View, table: Table, live: int, rebuilt: int, ledger: str | None
) -> Iterator[Difference]:
    # A seal may be of a retired key; whether it is right is checked whenever the row is read.
    names = ["ledger", *(name for name in table.columns if name != SEAL)]
    listed = ", ".join(names)
    one, other = physical(table, live), physical(table, rebuilt)
    where = "" if ledger is None else "WHERE ledger = %(ledger)s"
    # ALL: a row that one side has twice is a difference too.
    sql = f"""SELECT * FROM (
        SELECT 'live' AS only_in, a.* FROM (
            SELECT {listed} FROM {one} {where} EXCEPT ALL SELECT {listed} FROM {other} {where}) a
        UNION ALL SELECT 'rebuilt', b.* FROM (
            SELECT {listed} FROM {other} {where} EXCEPT ALL SELECT {listed} FROM {one} {where}) b
        ) d ORDER BY {", ".join(table.primary_key)}, only_in"""
    # A server-side cursor, page by page: a view that is wholly wrong must not fill the memory.
    waiting: Row | None = None  # of the live side, until its counterpart comes
    for only_in, row in _rows(connection, sql, names, ledger):
        key = {name: row[name] for name in table.primary_key}
        if waiting is not None:
            is_pair = only_in == "rebuilt" and all(waiting[name] == row[name] for name in key)
            before = {name: waiting[name] for name in key}
            yield Difference(view.name, table, before, waiting, row if is_pair else None)
            waiting = None
            if is_pair:
                continue
        if only_in == "live":
            waiting = row
        else:
            yield Difference(view.name, table, key, None, row)
    if waiting is not None:
        key = {name: waiting[name] for name in table.primary_key}
        yield Difference(view.name, table, key, waiting, None)


def _rows(
    connection: Connection, sql: str, names: list[str], ledger: str | None
) -> Iterator[tuple[str, Row]]:
    with connection.cursor() as cursor:
        cursor.execute(f"DECLARE differing NO SCROLL CURSOR FOR {sql}", {"ledger": ledger})
        while True:
            cursor.execute(f"FETCH {_PAGE} FROM differing")
            page = cursor.fetchall()
            if not page:
                break
            for only_in, *values in page:
                yield only_in, dict(zip(names, values, strict=True))
        cursor.execute("CLOSE differing")

"""Compares two generations of a view, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domain.store.postgres.connection import Connection
from projections.engine.generations import physical
from projections.engine.tables import Row, Table
from projections.engine.view import View

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that only one generation has. only_in: live, or rebuilt."""

    view: str
    table: str
    only_in: str
    row: Row

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.row.items())
        return f"{self.view}: {self.table}: only {self.only_in}: {values}"


def differences(
    connection: Connection, view: View, live: int, rebuilt: int
) -> Iterator[Difference]:
    """Every row that differs, table by table; a changed row comes twice, once from each side.

    Inside a transaction. live, rebuilt: generations of the same version.
    """
    for table in view.tables:
        yield from _of_table(connection, view, table, live, rebuilt)


def _of_table(
    connection: Connection, view: View, table: Table, live: int, rebuilt: int
) -> Iterator[Difference]:
    names = ["ledger", *table.columns]
    listed = ", ".join(names)
    one, other = physical(table, live), physical(table, rebuilt)
    # ALL: a row that one side has twice is a difference too.
    sql = f"""SELECT * FROM (
        SELECT 'live' AS only_in, a.* FROM (
            SELECT {listed} FROM {one} EXCEPT ALL SELECT {listed} FROM {other}) a
        UNION ALL SELECT 'rebuilt', b.* FROM (
            SELECT {listed} FROM {other} EXCEPT ALL SELECT {listed} FROM {one}) b
        ) d ORDER BY {", ".join(table.primary_key)}, only_in"""
    # A server-side cursor, page by page: a view that is wholly wrong must not fill the memory.
    with connection.cursor() as cursor:
        cursor.execute(f"DECLARE differing NO SCROLL CURSOR FOR {sql}")
        while True:
            cursor.execute(f"FETCH {_PAGE} FROM differing")
            page = cursor.fetchall()
            if not page:
                break
            for only_in, *values in page:
                yield Difference(
                    view.name, table.name, only_in, dict(zip(names, values, strict=True))
                )
        cursor.execute("CLOSE differing")

"""`certledger export`: views as tables for people, events as lines for programs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import click
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from api.cli.environment import CliEnvironment, data_option, open_environment, settings_of
from domain.service.ledger import Ledger
from domain.store.postgres.connection import Connection
from projections.catalogue import VIEWS
from projections.engine.catch_up import catch_up
from projections.engine.tables import Table, kind_of

HIDDEN_TABLES = frozenset({"refund_ledger_counters", "certificate_old_tokens"})
HIDDEN_COLUMNS = frozenset(
    {"name_index", "document_index", "passport_index", "verify_token", "answer"}
)
"""Columns without use outside, or that grant access: indexes of names, tokens of QR codes."""
TABLES: dict[str, Table] = {
    table.name: table for view in VIEWS for table in view.tables if table.name not in HIDDEN_TABLES
}
ACTOR_COLUMNS = frozenset({"subject", "ordered_by", "approved_by"})
"""Columns with a pseudonym of staff; a column after each has the name."""
SHEET_ROWS_MAX = 1_048_575
CATCH_UP_S = 600.0
"""How long a view may take to catch up with the journal, seconds."""
_PAGE = 5_000
_FORMULA = re.compile(r"\s*[=＝+＋\-－@＠]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


@click.command()
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["csv", "xlsx", "ndjson"]),
    help="csv: one table; xlsx: a sheet for each table; ndjson: every event of the journal.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--ledger", help="The ledger; not needed if there is only one.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Choice(list(TABLES)),
    help="Which tables; csv takes exactly one, xlsx takes all by default.",
)
@data_option
def export(
    form: str, out: Path, ledger: str | None, tables: tuple[str, ...], data: Path | None
) -> None:
    """Write views or events to a file.

    Names and document numbers are masked in the views; reasons are in clear until they are erased,
    and who acted is named.
    All of these are sealed in the events. A text that a spreadsheet would take for a formula gets
    an apostrophe in front, in CSV only.
    """
    if form == "csv" and len(tables) != 1:
        raise click.UsageError(f"csv holds one table: give --table, one of {', '.join(TABLES)}.")
    if form == "ndjson" and tables:
        raise click.UsageError("ndjson holds the events of the journal: leave out --table.")
    with open_environment(settings_of(data)) as environment:
        chosen = environment.ledger(ledger)
        environment.ensure_shown(chosen)
        if form == "ndjson":
            count = _events(chosen, out)
        else:
            wanted = [TABLES[name] for name in tables or TABLES]
            _catch_up(environment, chosen, wanted)
            write = _csv if form == "csv" else _xlsx
            count = write(environment, chosen, wanted, out)
    click.echo(f"{count} {'events' if form == 'ndjson' else 'rows'} of {chosen.name} in {out}")


@contextmanager
def _written(out: Path, mode: str, **how: Any) -> Iterator[IO[Any]]:
    """Write a file under a temporary name, and rename it when it is complete."""
    draft = out.with_name(f".{out.name}.part")
    try:
        with draft.open(mode, **how) as file:
            yield file
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


# --- events ---------------------------------------------------------------------------------------


def _events(ledger: Ledger, out: Path) -> int:
    """One line an event: its position, its leaf hash, and the envelope byte for byte."""
    count = 0
    with _written(out, "wb") as file:
        for event in ledger.journal.events():
            start = json.dumps({"position": event.position, "leaf_hash": event.leaf_hash.hex()})
            # The envelope is last and unchanged, so that its hash can be computed from the line.
            file.write(start[:-1].encode() + b', "envelope": ' + event.envelope + b"}\n")
            count += 1
    return count


# --- tables ---------------------------------------------------------------------------------------


def _columns(table: Table) -> list[str]:
    return [name for name in table.columns if name not in HIDDEN_COLUMNS]


def _header(table: Table) -> list[str]:
    """The columns of the file: the name of who acted follows their pseudonym."""
    return [each for name in _columns(table) for each in _with_name(name)]


def _with_name(column: str) -> tuple[str, ...]:
    return (column, f"{column}_name") if column in ACTOR_COLUMNS else (column,)


def _catch_up(environment: CliEnvironment, ledger: Ledger, tables: Sequence[Table]) -> None:
    """Bring the views up to date with the journal; rebuilds none of them.

    Raises: NeedsRebuild, NeedsNewerProgram; Stalled if a view is paused or too slow.
    """
    wanted = [view for view in VIEWS if any(table in tables for table in view.tables)]
    catch_up(environment.dsn, environment.secrets, ledger.name, wanted, CATCH_UP_S)


def _rows(connection: Connection, ledger: Ledger, table: Table) -> Iterator[Sequence[Any]]:
    """Every row of a ledger in a table, ordered by key, fetched _PAGE rows at a time."""
    columns, key = ", ".join(_columns(table)), ", ".join(table.primary_key)
    with connection.cursor(name="export") as cursor:
        cursor.itersize = _PAGE
        cursor.execute(
            f"SELECT {columns} FROM views.{table.name} WHERE ledger = %s ORDER BY {key}",
            (ledger.name,),
        )
        while rows := cursor.fetchmany(_PAGE):
            yield from _opened(ledger, table, rows)


def _opened(ledger: Ledger, table: Table, rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The rows with their sealed columns opened, None where a key was destroyed, and with names."""
    columns: list[Sequence[Any]] = []
    for name, column in zip(_columns(table), zip(*rows, strict=True), strict=True):
        if kind_of(table.columns[name]) == "sealed":
            columns.append(ledger.open_texts(column))
        else:
            columns.append(column)
        if name in ACTOR_COLUMNS:
            staff = ledger.actors.members(subject for subject in column if subject is not None)
            shown = {subject: member.shown for subject, member in staff.items()}
            columns.append([shown.get(subject) for subject in column])
    yield from zip(*columns, strict=True)


def _csv(environment: CliEnvironment, ledger: Ledger, tables: Sequence[Table], out: Path) -> int:
    (table,), count = tables, 0
    with (
        environment.snapshot() as connection,
        _written(out, "w", newline="", encoding="utf-8-sig") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_header(table))
        for row in _rows(connection, ledger, table):
            writer.writerow([_text(value) for value in row])
            count += 1
    return count


def _text(value: Any) -> str:
    """A value as text; one that resembles a formula gets an apostrophe in front."""
    text = _plain(value)
    text = "" if text is None else str(text)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _xlsx(environment: CliEnvironment, ledger: Ledger, tables: Sequence[Table], out: Path) -> int:
    """A workbook whose texts are texts: long numbers keep their digits, formulas stay text."""
    workbook, count = Workbook(write_only=True), 0
    with environment.snapshot() as connection:
        for table in tables:
            sheet = workbook.create_sheet(table.name[:31])
            sheet.append(_header(table))
            for number, row in enumerate(_rows(connection, ledger, table), start=1):
                if number > SHEET_ROWS_MAX:
                    raise click.ClickException(f"{table.name} has more rows than a sheet: use csv")
                sheet.append([_cell(sheet, value) for value in row])
                count += 1
    with _written(out, "wb") as file:
        workbook.save(file)
    return count


def _cell(sheet: Any, value: Any) -> Any:
    value = _plain(value)
    if not isinstance(value, str):
        return value
    cell = WriteOnlyCell(sheet, value)
    cell.data_type = "s"
    return cell

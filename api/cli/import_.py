"""`certledger import`, and the example cohort that an empty database is loaded with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from api.cli.environment import (
    CliEnvironment,
    data_option,
    ledger_or_none,
    open_environment,
    settings_of,
)
from api.files.tables import Column
from api.imports.importer import Import, Summary
from api.imports.row_types import COMMON, ROW_TYPES
from api.imports.source_files import write_refused

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cohort"
EXAMPLE_LEDGER = "omc"
SHOWN_MAX = 20
"""Refused rows printed on the terminal; the file of `--errors` has all of them."""
_LINE_EVERY_S = 2.0


class ImportFailed(click.ClickException):
    """Nothing was imported: a whole file can't be read."""

    exit_code = 1


@click.command("import")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH…",
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--ledger", required=True, help="Name of the ledger the rows belong to.")
@click.option(
    "--kinds",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, asked: _show_kinds(context) if asked else None,
    help="Show every kind of file with its columns, and exit.",
)
@click.option("--dry-run", is_flag=True, help="Check every row by itself and send nothing.")
@click.option(
    "--errors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write refused rows with their reasons to this CSV; correct it and import it again.",
)
@data_option
def import_(
    paths: tuple[Path, ...], ledger: str, dry_run: bool, errors: Path | None, data: Path | None
) -> None:
    """Import rows of CSV, XLSX, JSON and JSON-lines files.

    PATH is a file or a folder. A file's name begins with the kind of its rows, such as
    persons.csv or 缴费2026.xlsx; all rows are sent in the order in which they happened. Running it
    again changes nothing. Exit code 1 if rows were refused.
    """
    job = read(paths, ledger)
    if dry_run:
        summary = job.check()
        verb = "good"
    else:
        with open_environment(settings_of(data)) as environment:
            summary = send(job, environment)
        verb = "accepted"
    if errors is not None:
        write_refused(errors, [(r.cells, r.column, r.reason) for r in summary.refused])
    _print_summary(summary, verb, errors)
    if summary.refused:
        sys.exit(1)


def _show_kinds(context: click.Context) -> None:
    """Print every kind with its names, and its columns with their headers; *: required."""
    lines = ["in every file:", *map(_shown, COMMON)]
    for kind in ROW_TYPES:
        lines += ["", f"{kind.name} ({', '.join(kind.titles)})", *map(_shown, kind.columns)]
    lines += ["", "staff: subject, role, organisation of the logins that are not candidates"]
    click.echo("\n".join(lines))
    context.exit()


def _shown(column: Column) -> str:
    mark = "*" if column.required else ""
    return f"  {column.name}{mark}  {', '.join(column.aliases)}".rstrip()


def read(paths: tuple[Path, ...], ledger: str) -> Import:
    """Read all files. Raises: ImportFailed if one of them can't be read."""
    job = Import(ledger)
    faults = job.read(paths)
    if faults:
        reasons = "; ".join(str(fault) for fault in faults)
        raise ImportFailed(f"nothing was imported: {reasons}")
    return job


def send(job: Import, environment: CliEnvironment) -> Summary:
    """Send the rows; creates the ledger if the files open it.

    Raises: ImportFailed, ImportStopped.
    """
    ledger = ledger_or_none(environment, job.ledger)
    if ledger is None:
        site_code = job.site_code()
        if site_code is None:
            reason = "and no ledger file opens it"
            raise ImportFailed(f"nothing was imported: there is no ledger {job.ledger}, {reason}")
        ledger = environment.ledgers.create(job.ledger, site_code)
    with progress(len(job), f"importing into {job.ledger}") as report:
        return job.send(ledger, environment.blobs, report)


@contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """Report progress on stderr: a bar on a terminal, otherwise a line every _LINE_EVERY_S."""
    if sys.stderr.isatty():
        with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
            shown = 0

            def move(done: int) -> None:
                nonlocal shown
                if done - shown >= 50 or done == total:
                    bar.update(done - shown)
                    shown = done

            yield move
        return
    last = time.monotonic()

    def line(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_EVERY_S or done == total:
            last = time.monotonic()
            click.echo(f"{label}: {done} of {total} rows", err=True)

    yield line


def _print_summary(summary: Summary, verb: str, errors: Path | None) -> None:
    for refused in summary.refused[:SHOWN_MAX]:
        click.echo(str(refused), err=True)
    hidden = len(summary.refused) - SHOWN_MAX
    if hidden > 0:
        where = f"in {errors}" if errors else "give --errors FILE to see them all"
        click.echo(f"and {hidden} more: {where}", err=True)
    click.echo(
        f"{summary.accepted} {verb}, {summary.already_there} already there, "
        f"{len(summary.refused)} refused"
    )
    if summary.not_compared:
        click.echo(f"{summary.not_compared} were recorded too long ago to be compared", err=True)


def load_example(environment: CliEnvironment) -> None:
    """Load the example cohort into an empty database, or continue an interrupted load.

    Raises: ImportFailed if a row of it is refused, which a changed file can cause.
    """
    begun = environment.settings.data_dir.expanduser().absolute() / "example.loading"
    if (environment.ledgers.names() and not begun.exists()) or not EXAMPLE.is_dir():
        return
    begun.touch()
    summary = send(read((EXAMPLE,), EXAMPLE_LEDGER), environment)
    if summary.refused:
        raise ImportFailed(f"the example cohort was refused: {summary.refused[0]}")
    begun.unlink()

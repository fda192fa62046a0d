"""`certledger verify` audits the log, `rebuild` rebuilds views, `migrate` updates the schema."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from api.cli.environment import data_option, open_database, open_environment, settings_of
from api.transparency.checkpoint_signing import checkpoint_path
from domain.service.ledger import Ledger
from domain.store.tlog.audit import AuditReport


@click.command()
@click.option("--ledger", help="Only this ledger; all of them otherwise.")
@click.option("--key", metavar="VKEY", help="The log's public key, from a trusted source.")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A signed checkpoint that you have stored; may be given several times.",
)
@data_option
def verify(
    ledger: str | None, key: str | None, checkpoints: tuple[Path, ...], data: Path | None
) -> None:
    """Hash every stored event again and compare the tree with all signed checkpoints.

    Prints what was checked, and the first position that was altered. Exit code 1 if anything is
    wrong.
    """
    if (key or checkpoints) and ledger is None:
        raise click.UsageError("--key and --checkpoint are about one log: give --ledger too.")
    notes = [path.read_text(encoding="utf-8") for path in checkpoints]
    with open_environment(settings_of(data)) as environment:
        chosen = environment.chosen(ledger)
        if not chosen:
            click.echo("there is no ledger yet, so there is nothing to check")
        good = True
        for each in chosen:
            vkey = key or environment.known_vkey(each)
            latest = checkpoint_path(environment.settings, each.name)
            signed = [*notes, latest.read_text(encoding="utf-8")] if latest.exists() else notes
            good &= _print_report(each, environment.audit(each, vkey, signed), vkey)
    if not good:
        sys.exit(1)


def _print_report(ledger: Ledger, report: AuditReport, vkey: str | None) -> bool:
    """Print an audit report. Returns: whether it is free of findings."""
    signed = f"signed by {vkey.partition('+')[0]}" if vkey else "signatures not checked: no key"
    click.echo(
        f"{ledger.name}: {report.size} events hashed, root {report.root.hex()}, "
        f"{report.checkpoints} checkpoints compared ({signed})"
    )
    if report.is_good:
        click.echo(f"{ledger.name}: good")
        return True
    for finding in report.findings:
        click.echo(f"{ledger.name}: {finding}", err=True)
    position = report.first_bad_position
    where = "no single position" if position is None else f"first bad position {position}"
    click.echo(f"{ledger.name}: ALTERED, {where}")
    return False


@click.command()
@click.argument("names", nargs=-1, metavar="[VIEW]…")
@click.option("--check", is_flag=True, help="Compare with the live tables and change nothing.")
@data_option
def rebuild(names: tuple[str, ...], check: bool, data: Path | None) -> None:
    """Rebuild views from the first event in new tables, and swap them in (blue-green).

    Rebuilds all views if no name is given. Reads continue meanwhile. With --check the exit code
    is 1 if a row differs.
    """
    from projections.catalogue import VIEWS
    from projections.rebuild import rebuild as work

    known = {view.name: view for view in VIEWS}
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no view {name}; there are: {', '.join(known)}.")
    views = [known[name] for name in dict.fromkeys(names)] or list(VIEWS)
    shown = ", ".join(view.name for view in views)
    with open_environment(settings_of(data)) as environment:
        environment.ensure_views()
        if not check:
            for done in work.replace(environment.dsn, environment.secrets, views):
                effort = f"{done.events} events in {done.seconds:.1f} s"
                click.echo(f"{done.ledger}: {', '.join(done.views)} rebuilt, {effort}")
            click.echo(f"in place: {shown}")
            return
        count = work.check(
            environment.dsn,
            environment.secrets,
            views,
            on_difference=lambda found: click.echo(f"differs: {found}", err=True),
        )
    click.echo(f"{shown}: {'no row differs' if not count else f'{count} rows differ'}")
    if count:
        sys.exit(1)


@click.command()
@data_option
def migrate(data: Path | None) -> None:
    """Bring the database to the schema of this program; running it again changes nothing."""
    with open_database(settings_of(data)):
        click.echo("the database has the schema of this program")

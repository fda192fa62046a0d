"""`certledger verify`, `rebuild` and `migrate`: is everything as it was written?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from api.cli.environment import data_option, open_database, open_store, settings_of
from api.transparency.checkpoint_signing import kept_head_path
from domain.service.ledger import Ledger
from domain.store.tlog.audit import AuditReport


@click.command()
@click.option("--ledger", help="Only this ledger; all of them otherwise.")
@click.option("--key", metavar="VKEY", help="The log's public key, got from elsewhere.")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A signed checkpoint that you kept; may be given several times.",
)
@data_option
def verify(
    ledger: str | None, key: str | None, checkpoints: tuple[Path, ...], data: Path | None
) -> None:
    """Hash every stored event again and compare it with everything that was signed.

    Says what was checked, and names the first position that is not as it was written. Exit code 1
    if anything is wrong.
    """
    if (key or checkpoints) and ledger is None:
        raise click.UsageError("--key and --checkpoint are about one log: give --ledger too.")
    notes = [path.read_text(encoding="utf-8") for path in checkpoints]
    with open_store(settings_of(data)) as store:
        chosen = store.chosen(ledger)
        if not chosen:
            click.echo("there is no ledger yet, so there is nothing to check")
        good = True
        for each in chosen:
            vkey = key or store.known_vkey(each)
            kept = kept_head_path(store.settings, each.name)
            told = [*notes, kept.read_text(encoding="utf-8")] if kept.exists() else notes
            good &= _say(each, store.audit(each, vkey, told), vkey)
    if not good:
        sys.exit(1)


def _say(ledger: Ledger, report: AuditReport, vkey: str | None) -> bool:
    """Print what was checked and what is wrong. Returns: whether nothing is."""
    signed = f"signed by {vkey.partition('+')[0]}" if vkey else "signatures not checked: no key"
    click.echo(
        f"{ledger.name}: {report.size} events hashed, root {report.root.hex()}, "
        f"{report.checkpoints} checkpoints compared ({signed})"
    )
    if report.is_good:
        click.echo(f"{ledger.name}: good")
        return True
    for problem in report.problems:
        click.echo(f"{ledger.name}: {problem}", err=True)
    position = report.first_bad_position
    where = "no single position" if position is None else f"first bad position {position}"
    click.echo(f"{ledger.name}: ALTERED, {where}")
    return False


@click.command()
@click.argument("names", nargs=-1, metavar="[VIEW]…")
@click.option("--check", is_flag=True, help="Compare with the live tables and change nothing.")
@data_option
def rebuild(names: tuple[str, ...], check: bool, data: Path | None) -> None:
    """Make views anew from the first event, beside the live ones, and put them in their place.

    All views without a name. Reading goes on meanwhile. With --check the exit code is 1 if a row
    differs.
    """
    from projections.catalogue import VIEWS
    from projections.rebuild import rebuild as work

    known = {view.name: view for view in VIEWS}
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no view {name}; there are: {', '.join(known)}.")
    views = [known[name] for name in dict.fromkeys(names)] or list(VIEWS)
    shown = ", ".join(view.name for view in views)
    with open_store(settings_of(data)) as store:
        store.ensure_views()
        if not check:
            for done in work.replace(store.dsn, store.secrets, views):
                told = f"{done.events} events in {done.seconds:.1f} s"
                click.echo(f"{done.ledger}: {', '.join(done.views)} made anew, {told}")
            click.echo(f"in place: {shown}")
            return
        count = work.check(
            store.dsn,
            store.secrets,
            views,
            on_difference=lambda found: click.echo(f"differs: {found}", err=True),
        )
    click.echo(f"{shown}: {'no row differs' if not count else f'{count} rows differ'}")
    if count:
        sys.exit(1)


@click.command()
@data_option
def migrate(data: Path | None) -> None:
    """Bring the database to the schema of this program; it is safe to say it again."""
    with open_database(settings_of(data)):
        click.echo("the database has the schema of this program")

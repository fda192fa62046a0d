"""`certledger rebuild` rebuilds views, `migrate` updates the schema."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from api.cli.environment import data_option, open_database, open_environment, settings_of


@click.command()
@click.argument("names", nargs=-1, metavar="[VIEW]…")
@click.option("--check", is_flag=True, help="Compare with the live tables and change nothing.")
@click.option(
    "--person-claims", is_flag=True, help="Compute only the table of whose a document is again."
)
@data_option
def rebuild(names: tuple[str, ...], check: bool, person_claims: bool, data: Path | None) -> None:
    """Rebuild views from the first event in new tables, and swap them in (blue-green).

    Rebuilds all views if no name is given. Reads continue meanwhile. Waits for another rebuild, and
    for the background audit, which gives way. With --check the exit code
    is 1 if a row differs.
    """
    from domain.service.person_index import rebuild_person_claims
    from projections.catalogue import VIEWS
    from projections.rebuild import rebuild as work

    if person_claims and (names or check):
        raise click.UsageError("--person-claims goes with no view and no --check.")
    known = {view.name: view for view in VIEWS}
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no view {name}; there are: {', '.join(known)}.")
    views = [known[name] for name in dict.fromkeys(names)] or list(VIEWS)
    shown = ", ".join(view.name for view in views)
    with open_environment(settings_of(data)) as environment:
        if person_claims:
            for ledger in environment.chosen(None):
                count = rebuild_person_claims(ledger.journal, ledger.vault, ledger.indexes)
                click.echo(f"{ledger.name}: the documents of {count} persons")
            return
        environment.ensure_views()
        if not check:
            for done in work.replace(environment.dsn, environment.secrets, views, wait=True):
                effort = f"{done.events} events in {done.seconds:.1f} s"
                click.echo(f"{done.ledger}: {', '.join(done.views)} rebuilt, {effort}")
            click.echo(f"in place: {shown}")
            return
        count = work.check(
            environment.dsn,
            environment.secrets,
            views,
            on_difference=lambda found: click.echo(f"differs: {found}", err=True),
            wait=True,
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

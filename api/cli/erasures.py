"""`certledger erasures` does again what a restored database has lost of the erasures.

Begin with `erasures`. The register is in `api.transparency.erasure_register`.
"""

from __future__ import annotations

from pathlib import Path

import click

from api.cli.environment import data_option, open_environment, person_login, settings_of


@click.command()
@click.option("--ledger", required=True, help="The ledger that was restored.")
@click.option("--repeat", is_flag=True, help="Do the erasures again; they are listed otherwise.")
@click.option("--operator", callback=person_login, help="Who does this; needed for --repeat.")
@data_option
def erasures(ledger: str, repeat: bool, operator: str | None, data: Path | None) -> None:
    """List the erasures that a restored database has lost, or do them again.

    The register of erasures names them, by ids only: it is in the data directory (`erasures`), in
    every backup and in the second places of heads. Two persons have agreed on each of them, so one
    operator does them again. Services may run meanwhile; they serve the ledger when all are done.
    """
    if repeat != (operator is not None):
        raise click.UsageError("--repeat and --operator NAME go together.")
    with open_environment(settings_of(data), withhold=False) as environment:
        found, register = environment.ledger(ledger), environment.register
        missing = register.missing(found) if operator is None else register.repeat(found, operator)
    for entry in missing:
        click.echo(
            f"{ledger}: person {entry.person_id}, erased at position {entry.position} of log "
            f"{entry.log}: {', '.join(entry.classes) or 'login and document'}"
        )
    done = "done again" if repeat else "missing"
    click.echo(f"{ledger}: {len(missing)} {'erasure' if len(missing) == 1 else 'erasures'} {done}")

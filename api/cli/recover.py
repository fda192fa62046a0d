"""`certledger recover` accepts a loss, by two operators; `heads` puts lost heads back.

Begin with `recover`. What it does is in `api.transparency.recovery`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from api.auth.secrets import load_service_keys
from api.cli.environment import data_option, open_database, person_login, settings_of
from api.settings import Settings
from domain.service.ledger import Ledgers, LedgerSecrets
from domain.service.recovery import Proposal


@click.command()
@click.option("--ledger", required=True, help="The ledger that lost a part of its log.")
@click.option("--propose", is_flag=True, help="Print what would be accepted, and its hash.")
@click.option("--confirm", "digest", metavar="HASH", help="Accept the proposal with this hash.")
@click.option(
    "--operator",
    required=True,
    callback=person_login,
    help="Who does this; another one confirms.",
)
@data_option
def recover(
    ledger: str, propose: bool, digest: str | None, operator: str, data: Path | None
) -> None:
    """Accept that a ledger lost a part of its log, and continue it under another origin.

    Only for a ledger that is stopped, because its journal does not continue its log, and whose
    lost part no backup holds. One operator proposes, another one confirms. Services may run
    meanwhile; start each of them again afterwards, with the new keys, and hand out the new public
    key (`certledger keys --public`).
    """
    if propose == (digest is not None):
        raise click.UsageError("give either --propose or --confirm HASH.")
    from api.transparency import recovery

    settings = settings_of(data)
    with _stopped_ledgers(settings) as (ledgers, secrets):
        found = ledgers.get(ledger)
        if digest is None:
            proposal = recovery.propose(settings, found, operator)
            key = recovery.new_journal_key(settings, found, secrets)
            _print(proposal, JOURNAL_KEY_TEXTS[key.name])
            return
        done = recovery.confirm(settings, found, secrets, digest, operator)
        origin = done.receipt.outcome["origin"]
        click.echo(f"{ledger}: the log goes on as {origin}, from {done.receipt.first_position} on")
        click.echo("start every service again, with the new keys")
        for name in done.others:
            click.echo(f"{name}: names the new journal key")
        for name in done.stopped:
            click.echo(f"{name}: is stopped too, and needs a recovery of its own", err=True)


@click.command()
@click.option("--ledger", required=True, help="The ledger whose heads are missing.")
@click.option("--restore", is_flag=True, required=True, help="Put them back.")
@data_option
def heads(ledger: str, restore: bool, data: Path | None) -> None:
    """Put signed heads back that this machine or the database has lost, or never had.

    They come from the second places, from next to the log key and from the database. If only the
    database had any, nothing outside of it says any more that no later event was lost: look for a
    backup first.
    """
    from api.transparency import recovery

    settings = settings_of(data)
    with _stopped_ledgers(settings) as (ledgers, _):
        size = recovery.restore_heads(settings, ledgers.get(ledger))
    click.echo(f"{ledger}: the largest head that was put back has {size} events")


@contextmanager
def _stopped_ledgers(settings: Settings) -> Iterator[tuple[Ledgers, LedgerSecrets]]:
    """The ledgers, whether or not they name the keys of this service."""
    from api.app import secrets_of_ledgers

    secrets = secrets_of_ledgers(settings, load_service_keys(settings))
    with open_database(settings) as dsn:
        ledgers = Ledgers(dsn, secrets)
        try:
            yield ledgers, secrets
        finally:
            ledgers.close()


JOURNAL_KEY_TEXTS = {
    "MADE": "a new journal key is needed: confirming makes it; the present one stays in keys/",
    "NEEDED": (
        "a new journal key is needed: before confirming, set CERTLEDGER_JOURNAL_KEY to a new one "
        "(openssl rand -base64 32), and add the present one to CERTLEDGER_JOURNAL_KEYS_RETIRED, "
        "a JSON list"
    ),
    "THERE": "a new journal key is needed: CERTLEDGER_JOURNAL_KEY is one already",
}
"""What the operator has to know of the new journal key, by where it comes from."""


def _print(proposal: Proposal, journal_key: str) -> None:
    size, last = proposal.old_head_size, proposal.first_position - 1
    for line in (
        f"the largest known head of {proposal.old_origin} has {size} events",
        f"the journal has {proposal.journal_size} events, and the first {last} in common with it",
        f"{proposal.positions_gone} positions of the old log are gone",
        f"the log would go on as {proposal.new_origin}",
        "a new log key is needed: confirming makes it in keys/",
        journal_key,
        "services may run meanwhile: start each of them again after confirming, with the new keys",
    ):
        click.echo(f"{proposal.ledger}: {line}")
    click.echo(f"proposed by {proposal.proposed_by}; another operator confirms it with")
    click.echo(
        f"certledger recover --ledger {proposal.ledger} --confirm {proposal.hash} --operator NAME"
    )

"""`certledger token` mints bearer tokens; `certledger keys` makes and prints keys."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import click

from api.auth.secrets import load_service_keys, new_token_key
from api.auth.tokens import EVERY_LEDGER, mint_token
from api.cli.environment import data_option, open_environment, settings_of
from api.settings import KEY_BYTES, PREFIX, SYMMETRIC_KEYS
from api.transparency.log_keys import make_log_key
from domain.actors import ROLES_OF_PEOPLE, Role
from domain.store.journal.journal import check_ledger_name


@click.command()
@click.option("--role", required=True, type=click.Choice([role.value for role in ROLES_OF_PEOPLE]))
@click.option("--subject", required=True, help="The login that the token speaks for.")
@click.option("--name", help="The person's name, by which staff are recorded.")
@click.option("--organisation", default="public", show_default=True)
@click.option("--ledger", "ledgers", multiple=True, help="Valid for this ledger; all by default.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="Lifetime of the token.")
@click.option(
    "--backfill", is_flag=True, help="Allow stating when something happened (Occurred-At)."
)
@data_option
def token(
    role: str,
    subject: str,
    name: str | None,
    organisation: str,
    ledgers: tuple[str, ...],
    hours: float | None,
    backfill: bool,
    data: Path | None,
) -> None:
    """Print a bearer token, signed with the service's own key.

    Without --hours it is valid for CERTLEDGER_TOKEN_LIFETIME_S.
    """
    settings = settings_of(data)
    secrets = load_service_keys(settings)
    if secrets.token_signer is None:
        raise click.ClickException("no private token key is set: another issuer signs the tokens")
    lifetime_s = settings.token_lifetime_s if hours is None else round(hours * 3600)
    minted = mint_token(
        secrets.token_signer,
        subject=subject,
        role=Role(role),
        organisation=organisation,
        ledgers=ledgers or (EVERY_LEDGER,),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime_s=max(lifetime_s, 1),
        backfill=backfill,
        name=name,
    )
    click.echo(minted)


@click.command()
@click.option("--public", is_flag=True, help="Print the log's public key (vkey) as the last line.")
@click.option(
    "--make",
    is_flag=True,
    help="Make a new log key; fails if there is one. With your own database it is made before the "
    "ledger is opened: name it with --ledger.",
)
@click.option(
    "--secrets",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write new secrets for an external database to this file, as settings.",
)
@click.option("--ledger", help="The log's ledger; not needed if there is only one.")
@data_option
def keys(
    public: bool, make: bool, secrets: Path | None, ledger: str | None, data: Path | None
) -> None:
    """Make keys, and print the public key that others need to verify the log.

    A key that exists is never overwritten. With your own database the log key of a ledger has to
    exist before the ledger is opened: its first facts name it.
    """
    if not (public or make or secrets):
        raise click.UsageError("give --public, --make or --secrets FILE.")
    if secrets is not None:
        _write_secrets(secrets)
        click.echo(f"wrote {secrets}; keep it safe: without the master key no name can be read")
    if not (public or make):
        return
    settings = settings_of(data)
    if make and ledger is not None:
        check_ledger_name(ledger)
        click.echo(f"made {make_log_key(settings, ledger)}")
        if not public:
            return
    with open_environment(settings) as environment:
        chosen = environment.ledger(ledger)
        if make and ledger is None:
            click.echo(f"made {make_log_key(settings, chosen.name)}")
        if public:
            click.echo(f"the log of ledger {chosen.name} is signed by")
            click.echo(environment.log_signer(chosen).verifier.vkey)


def _write_secrets(path: Path) -> None:
    """New secrets as lines of an environment file. Raises: FileExistsError."""
    lines = [
        f"{PREFIX}{name}={base64.b64encode(os.urandom(KEY_BYTES)).decode()}"
        for name in map(str.upper, SYMMETRIC_KEYS)
    ]
    pem = new_token_key().strip().replace("\n", "\\n")
    lines.append(f"{PREFIX}TOKEN_KEY={pem}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")

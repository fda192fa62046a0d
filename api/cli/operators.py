"""`certledger operators` opens the operator's own ledger, and names its two first operators."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from api.cli.environment import data_option, open_environment, person_login, settings_of
from domain.actors import Actor, Role
from domain.steps.ledger_setup import OpenService
from domain.values.primitives import SERVICE_LEDGER

PRINCIPAL = "certledger operators"
"""Principal of the idempotency key, independent of who runs the program."""
ANSWER_S = 60.0


@click.command()
@click.option("--first", required=True, callback=person_login, help="The first operator.")
@click.option("--second", required=True, callback=person_login, help="Another person.")
@click.option("--organisation", default="operator", show_default=True, help="Where they work.")
@click.option("--log-origin", help="Name of its log; default: the public host, /service.")
@data_option
def operators(
    first: str, second: str, organisation: str, log_origin: str | None, data: Path | None
) -> None:
    """Open the ledger `service`, once, and name two operators.

    It holds what belongs to no evaluation organisation: editions of rules that are adopted there
    (`certledger adopt --ledger service`) are copied into every other ledger by the service.
    """
    settings = settings_of(data)
    origin = log_origin or f"{urlsplit(settings.public_base_url).netloc}/{SERVICE_LEDGER}"
    command = OpenService(organisation_name=organisation, log_origin=origin, second=second)
    actor = Actor(subject=first, role=Role.OPERATOR, organisation=organisation)
    with open_environment(settings) as environment:
        receipt = (
            environment.ledgers.create_service()
            .submit(
                command,
                actor,
                key=f"OpenService|{first}|{second}",
                request=f"{command.model_dump_json()}|{actor.model_dump_json()}".encode(),
                principal=PRINCIPAL,
                timeout_seconds=ANSWER_S,
            )
            .result()
        )
    click.echo(f"{SERVICE_LEDGER}: opened at position {receipt.first_position}")
    click.echo(f"the operators are {first} and {second}")

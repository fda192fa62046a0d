"""`certledger adopt` proposes an edition of rules, or adopts what somebody else proposed.

Begin with `adopt`. The rules themselves are checked in `domain.editions`.
"""

from __future__ import annotations

from pathlib import Path

import click

from api.cli.environment import data_option, open_environment, person_login, settings_of
from domain.actors import Actor, Role
from domain.decision import Command
from domain.editions.edition import Edition, EditionKind
from domain.editions.edition_file import read_edition
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.steps.edition_adoption import AdoptEdition, ProposeEdition

PRINCIPAL = "certledger adopt"
"""Principal of the idempotency keys of every adoption, independent of the operator."""
ANSWER_S = 60.0


@click.command()
@click.argument("kind", type=click.Choice([kind.value for kind in EditionKind]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--ledger", help="Name of the ledger; may be left out if there is only one.")
@click.option("--propose", is_flag=True, help="Propose the edition, and print its hash.")
@click.option("--confirm", "digest", metavar="HASH", help="Adopt it as the second person.")
@click.option(
    "--by",
    "login",
    callback=person_login,
    help="Who does this; somebody else than who proposed it confirms.",
)
@click.option(
    "--role",
    type=click.Choice([Role.OPERATOR.value, Role.CERTIFIER.value]),
    default=Role.OPERATOR.value,
    show_default=True,
    help="The role in which they do it.",
)
@click.option("--organisation", default="operator", show_default=True, help="Where they work.")
@data_option
def adopt(
    kind: str,
    file: Path,
    ledger: str | None,
    propose: bool,
    digest: str | None,
    login: str | None,
    role: str,
    organisation: str,
    data: Path | None,
) -> None:
    """Adopt an edition of rules: calendar, eligibility, documents, fees and so on.

    FILE is JSON: {"kind", "edition", "valid_from", "content"}. One person proposes it, another one
    confirms it with the same file and its hash. With neither option the file is only checked.
    """
    found = read_edition(EditionKind(kind), file.read_bytes())
    if propose and digest is not None:
        raise click.UsageError("give either --propose or --confirm HASH.")
    if not propose and digest is None:
        _print(found)
        click.echo("the file is good; nothing was proposed")
        return
    if login is None:
        raise click.UsageError("say with --by NAME who does this.")
    if digest is not None and digest != found.sha256:
        raise click.ClickException(f"the file has the hash {found.sha256}, not {digest}")
    actor = Actor(subject=login, role=Role(role), organisation=organisation)
    with open_environment(settings_of(data)) as environment:
        target = environment.ledger(ledger)
        if propose:
            _propose(target, found, actor)
        else:
            _confirm(target, found, actor)


def _propose(ledger: Ledger, found: Edition, actor: Actor) -> None:
    command = ProposeEdition(
        kind=found.kind,
        edition=found.edition,
        valid_from=found.valid_from,
        content=found.content,
    )
    _submit(ledger, command, actor)
    _print(found)
    click.echo(f"{ledger.name}: proposed by {actor.subject}; another person confirms it with")
    click.echo(
        f"certledger adopt {found.kind} FILE --ledger {ledger.name} "
        f"--confirm {found.sha256} --by NAME"
    )


def _confirm(ledger: Ledger, found: Edition, actor: Actor) -> None:
    receipt = _submit(ledger, AdoptEdition(kind=found.kind, sha256=found.sha256), actor)
    _print(found)
    click.echo(f"{ledger.name}: adopted by {actor.subject} at position {receipt.first_position}")


def _submit(ledger: Ledger, command: Command, actor: Actor) -> Receipt:
    """Record a command. Repeated by the same person it is found again, not recorded twice."""
    text = f"{type(command).__name__}|{command.model_dump_json()}|{actor.model_dump_json()}"
    return ledger.submit(
        command,
        actor,
        key=text,  # any length: a keyed hash of it is stored
        request=text.encode(),
        principal=PRINCIPAL,
        timeout_seconds=ANSWER_S,
    ).result()


def _print(edition: Edition) -> None:
    click.echo(
        f"edition {edition.edition} of {edition.kind.value}, from {edition.valid_from} on: "
        f"{edition.sha256}"
    )

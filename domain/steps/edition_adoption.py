"""Rules that change without a release: two persons adopt an edition (规则版本的拟定与启用).

One person proposes an edition, another one adopts it by its hash. What was decided keeps the
edition it was decided under. What two persons adopt in the ledger `service`, the service copies
into the others.
"""

from __future__ import annotations

from datetime import date

from pydantic import Field, JsonValue

from domain import events as e
from domain.actors import Role
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import AlreadyExists, Command, Context, Decision, NotFound, States, stream_of
from domain.editions.contents import check_edition
from domain.editions.edition import Edition, EditionKind, MalformedEdition
from domain.states.editions import Editions
from domain.steps.refund import SecondPersonNeeded
from domain.values.logins import normal_form
from domain.values.primitives import Sha256Hex


class ProposeEdition(Command):
    """Propose rules of one kind that hold from a day on."""

    kind: EditionKind
    edition: e.Id
    valid_from: date
    content: dict[str, JsonValue]


class CopyEdition(Command):
    """Let an edition that was adopted in the ledger `service` hold in this one too."""

    kind: EditionKind
    edition: e.Id
    valid_from: date
    content: dict[str, JsonValue]
    service_position: int = Field(ge=1)


class AdoptEdition(Command):
    """Adopt what somebody else proposed, by its hash."""

    kind: EditionKind
    sha256: Sha256Hex


def _of_name(editions: Editions, edition: str) -> Edition | None:
    """The edition of a name."""
    return next((each for each in editions.all() if each.edition == edition), None)


def _ensure_new(editions: Editions, edition: str) -> None:
    """Raises: AlreadyExists for a name that an edition of the kind has."""
    if _of_name(editions, edition) is not None:
        raise AlreadyExists(what="edition", id=edition)


def _of_codes(editions: Editions, edition: Edition) -> tuple[Edition, str] | None:
    """Another edition that has rules for an occupation of this one, and the code of that."""
    if edition.kind is not EditionKind.ELIGIBILITY:
        return None
    content = edition.content
    codes = {content["occupation"], *content["aliases"]}
    for each in editions.all():
        if each.scope == edition.scope or each.content["edition"] != content["edition"]:
            continue
        both = sorted(codes & {each.content["occupation"], *each.content["aliases"]})
        if both:
            return each, both[0]
    return None


def _ensure_own_codes(editions: Editions, edition: Edition) -> None:
    """One code names one set of rules of a standard. Raises: MalformedEdition."""
    found = _of_codes(editions, edition)
    if found is not None:
        other, code = found
        reason = f"edition {other.edition} has rules for {code} already"
        raise MalformedEdition(kind=edition.kind.value, place="content.aliases", reason=reason)


def _recorded(step: type[e.EditionProposed | e.EditionAdopted], edition: Edition) -> Decision:
    """The fact of one step of an edition, which holds the whole edition."""
    fact = step(
        kind=edition.kind,
        edition=edition.edition,
        valid_from=edition.valid_from,
        content=edition.content,
        sha256=edition.sha256,
    )
    return Decision(
        facts=((stream_of("edition", edition.kind), fact),),
        outcome={"edition": edition.edition, "sha256": edition.sha256},
    )


def decide_propose_edition(world: States, command: ProposeEdition, context: Context) -> Decision:
    """The content is checked now, so that a second person never confirms what cannot be applied.

    Raises: LedgerNotOpen, MalformedEdition, EditionTooLarge, AlreadyExists
        for a name that was adopted, or the very same proposal.
    Source: source-document 1.2, 2.1, 3.1, 5.1.
    """
    world.ledger()
    editions = world.editions(command.kind)
    found = check_edition(command.kind, command.edition, command.valid_from, command.content)
    _ensure_new(editions, found.edition)
    if found.sha256 in editions.proposals:
        raise AlreadyExists(what="proposed edition", id=found.sha256)
    _ensure_own_codes(editions, found)
    return _recorded(e.EditionProposed, found)


def decide_adopt_edition(world: States, command: AdoptEdition, context: Context) -> Decision:
    """By somebody else than who proposed it, whatever the spelling of the login.

    Raises: NotFound for a hash that nobody proposed, SecondPersonNeeded, MalformedEdition if a
        later release refuses what was proposed.
    Source: source-document 1.2, 2.1, 3.1, 5.1.
    """
    editions = world.editions(command.kind)
    proposal = editions.proposals.get(command.sha256)
    if proposal is None:
        raise NotFound(what="proposed edition", id=command.sha256)
    if normal_form(proposal.by) == normal_form(context.actor.subject):
        raise SecondPersonNeeded()
    found = proposal.edition
    check_edition(found.kind, found.edition, found.valid_from, found.content)
    _ensure_own_codes(editions, found)
    return _recorded(e.EditionAdopted, found)


def decide_copy_edition(world: States, command: CopyEdition, context: Context) -> Decision:
    """Two persons adopted it in the ledger `service`; what this ledger adopted by itself stays.

    An edition of this ledger that has its name or its codes is in the way: the copy is recorded
    and does not hold, so that it is not due for ever.
    Raises: LedgerNotOpen, MalformedEdition, EditionTooLarge, AlreadyExists for what was copied.
    Source: source-document 1.2, 2.1, 3.1, 5.1.
    """
    world.ledger()
    editions = world.editions(command.kind)
    found = check_edition(command.kind, command.edition, command.valid_from, command.content)
    if found.sha256 in editions.copies:
        raise AlreadyExists(what="copied edition", id=found.sha256)
    other = _of_name(editions, found.edition)
    if other is None:
        other, _ = _of_codes(editions, found) or (None, "")
    fact = e.EditionCopied(
        kind=found.kind,
        edition=found.edition,
        valid_from=found.valid_from,
        content=found.content,
        sha256=found.sha256,
        service_position=command.service_position,
        in_the_way=None if other is None else other.edition,
    )
    return Decision(
        facts=((stream_of("edition", found.kind), fact),),
        outcome={"edition": found.edition, "in_the_way": fact.in_the_way},
    )


def _reads_of_proposal(
    cached: StateHint, command: ProposeEdition | CopyEdition, context: Context
) -> ReadSet:
    return ReadSet(("ledger", stream_of("edition", command.kind)))


def _reads_of_adoption(cached: StateHint, command: AdoptEdition, context: Context) -> ReadSet:
    return ReadSet((stream_of("edition", command.kind),))


_ADOPTER = frozenset({Role.CERTIFIER, Role.OPERATOR})

PROPOSE_EDITION = CommandSpec(
    ProposeEdition, decide_propose_edition, _reads_of_proposal, roles=_ADOPTER
)
ADOPT_EDITION = CommandSpec(AdoptEdition, decide_adopt_edition, _reads_of_adoption, roles=_ADOPTER)

COPY_EDITION = CommandSpec(
    CopyEdition, decide_copy_edition, _reads_of_proposal, roles=frozenset({Role.SERVICE})
)

SPECS = (PROPOSE_EDITION, ADOPT_EDITION, COPY_EDITION)

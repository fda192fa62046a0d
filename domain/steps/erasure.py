"""Erasure of a person's data by two persons: what nothing keeps is destroyed (crypto-shredding).

A registrar proposes, and the service finds what has to be kept. A second person confirms these very
findings. Then the keys of the classes that nothing keeps are destroyed; the others go on their day
(`ContinueErasure`, which the service submits by itself). The decision names the keys under
`erases`; the journal destroys them in the transaction that records the fact
(`domain.store.journal.data_keys`), and nothing sealed under them can be opened again. A database
that was restored from before an erasure has the keys again: the erasure is done again
(`RepeatErasure`), because two persons have agreed on it already.
Source: source-document 3.1(1); PIPL art. 47.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from domain import events as e
from domain.actors import Role
from domain.claims import login_claims
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import (
    AlreadyExists,
    Command,
    Context,
    Decision,
    NotFound,
    States,
    ensure_not_own,
    stream_of,
)
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.states.editions import Editions
from domain.states.folds import Person
from domain.steps.enrolment import PersonErased, live_claims
from domain.steps.refund import SecondPersonNeeded
from domain.steps.retention_findings import Findings, as_answer, findings_of, rules_in
from domain.values.logins import normal_form
from domain.values.opaque_ids import OpaqueId
from domain.values.primitives import Sha256Hex
from domain.values.sealed_fields import DataClass, person_owner


class PersonStillNeeded(LedgerError):
    """Personal data can't be erased while {what}."""

    code = "person_still_needed"


class FindingsChanged(LedgerError):
    """What has to be kept has changed since the proposal; propose the erasure again."""

    code = "findings_changed"


class ErasureNotConfirmed(LedgerError):
    """Nobody has confirmed an erasure of this person."""

    code = "erasure_not_confirmed"


class ProposeErasure(Command):
    """Find what has to be kept of a person's data, and propose to erase the rest."""

    person_id: e.Id
    proposal: OpaqueId | None = None
    reason: e.ErasureReason


class ConfirmErasure(Command):
    """Confirm what somebody else proposed: what nothing keeps is destroyed at once."""

    person_id: e.Id
    proposal: e.Id
    findings_sha256: Sha256Hex | None = None


class ContinueErasure(Command):
    """Destroy what was kept of an erased person's data and has come to its last day."""

    person_id: e.Id


class RepeatErasure(Command):
    """Do an erasure again that a restored database has lost, as the register of erasures has it.

    lost_event_id, lost_position: of the erasure in the lost events. classes: whose keys went.
    """

    person_id: e.Id
    lost_event_id: e.Id
    lost_position: int = Field(ge=1)
    classes: tuple[DataClass, ...]


def _ensure_erasable(world: States, person: Person) -> None:
    """Raises: PersonErased, PersonStillNeeded while an application is open."""
    if person.erased:
        raise PersonErased()
    editions = world.editions(EditionKind.ELIGIBILITY)
    if any(world.claimed(*claim) for claim in live_claims(person.id, editions)):
        raise PersonStillNeeded(what="an application is open")


def decide_propose_erasure(world: States, command: ProposeErasure, context: Context) -> Decision:
    """What has to be kept is found now; a later proposal takes the place of an earlier one.

    Raises: NotFound, PersonErased, PersonStillNeeded, AlreadyExists for the proposal's own id.
    Source: source-document 3.1(1); PIPL art. 47.
    """
    person = world.person(command.person_id)
    _ensure_erasable(world, person)
    proposal = command.proposal or context.new_id()
    if person.proposal is not None and person.proposal.id == proposal:
        raise AlreadyExists(what="erasure proposal", id=proposal)
    findings = findings_of(world, person.id, context.today)
    fact = e.ErasureProposed(
        person_id=person.id,
        proposal=proposal,
        reason=command.reason,
        edition=findings.edition,
        ends=findings.ends,
        kept=findings.kept,
        findings_sha256=findings.sha256(command.reason),
    )
    return Decision(
        facts=((stream_of("person", person.id), fact),),
        outcome={
            "proposal": proposal,
            "findings_sha256": fact.findings_sha256,
            "findings": as_answer(findings, rules_in(world, context.today)),
        },
    )


def decide_confirm_erasure(world: States, command: ConfirmErasure, context: Context) -> Decision:
    """By somebody else than who proposed it, while the findings are the proposed ones.

    Raises: NotFound, PersonErased, SecondPersonNeeded, OwnApplication, PersonStillNeeded,
        FindingsChanged.
    Source: source-document 3.1(1); PIPL art. 47.
    """
    person = world.person(command.person_id)
    if person.erased:
        raise PersonErased()
    proposal = person.proposal
    if proposal is None or proposal.id != command.proposal:
        raise NotFound(what="erasure proposal", id=command.proposal)
    if normal_form(proposal.by) == normal_form(context.actor.subject):
        raise SecondPersonNeeded()
    ensure_not_own(context, person)
    _ensure_erasable(world, person)
    findings = findings_of(world, person.id, context.today)
    found = findings.sha256(proposal.reason)
    if {found} != {proposal.findings_sha256, command.findings_sha256 or found}:
        raise FindingsChanged()
    fact = e.ErasureConfirmed(
        proposal=proposal.id,
        reason=proposal.reason,
        findings_sha256=found,
        **_step(world, person, findings),
    )
    return _destroying(world, fact, findings, context, (person.subject,) if person.subject else ())


def decide_continue_erasure(world: States, command: ContinueErasure, context: Context) -> Decision:
    """Classes that nothing keeps any more go; the fact says what keeps the others.

    Raises: NotFound, ErasureNotConfirmed.
    Source: source-document 3.1(1); PIPL art. 47.
    """
    person = world.person(command.person_id)
    if not person.erased:
        raise ErasureNotConfirmed()
    findings = findings_of(world, person.id, context.today)
    fact = e.ErasureContinued(**_step(world, person, findings))
    return _destroying(world, fact, findings, context)


def decide_repeat_erasure(world: States, command: RepeatErasure, context: Context) -> Decision:
    """What went once goes again, whatever would keep it by the events that were restored.

    Also while an application is open: that it was over then is among what is lost.
    Raises: NotFound.
    Source: source-document 3.1(1); PIPL art. 47.
    """
    person = world.person(command.person_id)
    findings = findings_of(world, person.id, context.today).without(command.classes)
    fact = e.ErasureRepeated(
        lost_event_id=command.lost_event_id,
        lost_position=command.lost_position,
        classes=command.classes,
        **_step(world, person, findings),
    )
    forgets = (person.subject,) if person.subject and not person.erased else ()
    return _destroying(world, fact, findings, context, forgets)


def _step(world: States, person: Person, findings: Findings) -> dict[str, Any]:
    """The fields that every fact has: of the classes that nothing keeps, those that have a key."""
    sealed = world.sealed_classes(person.id)
    return {
        "person_id": person.id,
        "edition": findings.edition,
        "destroyed": tuple(each for each in findings.ends if each in sealed),
        "kept": findings.kept,
        "awaited": findings.awaited,
    }


def _destroying(
    world: States,
    fact: e.ErasureConfirmed | e.ErasureContinued | e.ErasureRepeated,
    findings: Findings,
    context: Context,
    forgets: tuple[str, ...] = (),
) -> Decision:
    owner = person_owner(fact.person_id)
    answer = as_answer(findings, rules_in(world, context.today))
    return Decision(
        facts=((stream_of("person", fact.person_id), fact),),
        erases=tuple((owner, each.value) for each in fact.destroyed),
        forgets=forgets,
        outcome={"destroyed": [each.value for each in fact.destroyed], "findings": answer},
    )


# --- read sets and specs --------------------------------------------------------------------------


def _reads_of_erasure(
    cached: StateHint, command: ProposeErasure | ConfirmErasure, context: Context
) -> ReadSet:
    """What can be named; the applications and objections are found while it is decided."""
    editions = cached("edition", EditionKind.ELIGIBILITY) or Editions(EditionKind.ELIGIBILITY)
    claims = live_claims(command.person_id, editions)
    person = cached("person", command.person_id)
    if person is not None:
        claims += login_claims(person.subject)
    streams = (
        stream_of("person", command.person_id),
        stream_of("edition", EditionKind.ELIGIBILITY),
        stream_of("edition", EditionKind.RETENTION),
    )
    return ReadSet(streams, (), claims, persons=(command.person_id,), is_open_ended=True)


def _reads_of_continuation(
    cached: StateHint, command: ContinueErasure | RepeatErasure, context: Context
) -> ReadSet:
    person = cached("person", command.person_id)
    claims = () if person is None else login_claims(person.subject)
    streams = (
        stream_of("person", command.person_id),
        stream_of("edition", EditionKind.RETENTION),
    )
    return ReadSet(streams, (), claims, persons=(command.person_id,), is_open_ended=True)


PROPOSE_ERASURE = CommandSpec(
    ProposeErasure, decide_propose_erasure, _reads_of_erasure, roles=frozenset({Role.REGISTRAR})
)
CONFIRM_ERASURE = CommandSpec(
    ConfirmErasure,
    decide_confirm_erasure,
    _reads_of_erasure,
    roles=frozenset({Role.REGISTRAR, Role.REGULATOR}),
)
CONTINUE_ERASURE = CommandSpec(
    ContinueErasure,
    decide_continue_erasure,
    _reads_of_continuation,
    roles=frozenset({Role.SERVICE}),
)

REPEAT_ERASURE = CommandSpec(
    RepeatErasure,
    decide_repeat_erasure,
    _reads_of_continuation,
    roles=frozenset({Role.OPERATOR}),
)

SPECS = (PROPOSE_ERASURE, CONFIRM_ERASURE, CONTINUE_ERASURE, REPEAT_ERASURE)

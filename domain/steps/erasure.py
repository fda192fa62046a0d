"""Erasure of a person's data: crypto-shredding by destroying their data keys.

The decision names their keys under `erases`; the journal then destroys them in the transaction that
records the fact (`domain.store.journal.data_keys`), and nothing sealed under them can be opened
again.
Source: source-document 3.1(1); PIPL art. 47.
"""

from __future__ import annotations

from domain import events as e
from domain.actors import Role
from domain.claims import login_claims
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import Command, Context, Decision, States, ensure_own, stream_of
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.states.editions import Editions
from domain.steps.enrolment import PersonErased, live_claims
from domain.values.sealed_fields import DataClass, person_owner


class PersonStillNeeded(LedgerError):
    """Personal data can't be erased while {what}."""

    code = "person_still_needed"


class ErasePersonalData(Command):
    """Destroy a person's keys, so that nothing sealed under them can be read again."""

    person_id: e.Id
    reason: e.ErasureReason


def decide_erase(world: States, command: ErasePersonalData, context: Context) -> Decision:
    """Erasure waits until nothing is running; hashes and proofs stay valid afterwards.

    Raises: NotFound, NotYourOwn, PersonErased, PersonStillNeeded while an application is open.
    Source: source-document 3.1(1); PIPL art. 47.
    """
    person = world.person(command.person_id)
    ensure_own(context, person, "person")
    if person.erased:
        raise PersonErased()
    editions = world.editions(EditionKind.ELIGIBILITY)
    if any(world.claimed(*claim) for claim in live_claims(person.id, editions)):
        raise PersonStillNeeded(what="an application is open")
    return Decision(
        facts=(
            (
                stream_of("person", person.id),
                e.PersonalDataErased(person_id=person.id, reason=command.reason),
            ),
        ),
        erases=tuple((person_owner(person.id), each.value) for each in DataClass),
        forgets=(person.subject,) if person.subject else (),
    )


def _reads_of_erasure(cached: StateHint, command: ErasePersonalData, context: Context) -> ReadSet:
    editions = cached("edition", EditionKind.ELIGIBILITY) or Editions(EditionKind.ELIGIBILITY)
    claims = live_claims(command.person_id, editions)
    person = cached("person", command.person_id)
    if person is not None:
        claims += login_claims(person.subject)
    streams = (
        stream_of("person", command.person_id),
        stream_of("edition", EditionKind.ELIGIBILITY),
    )
    return ReadSet(streams, (), claims, persons=(command.person_id,))


ERASE_PERSONAL_DATA = CommandSpec(
    ErasePersonalData, decide_erase, _reads_of_erasure, roles=frozenset({Role.REGISTRAR})
)

SPECS = (ERASE_PERSONAL_DATA,)

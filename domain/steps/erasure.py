"""Erasure of a person's data: crypto-shredding by destroying their data key.

The decision names the person under `erases`; the journal then deletes the wrapped data key in the
transaction that records the fact (`domain.store.journal.statements`, _DESTROY_KEYS), and nothing
sealed under it can be decrypted again.
Source: source-document 3.1(1); PIPL art. 47.
"""

from __future__ import annotations

from domain import events as e
from domain.actors import Role
from domain.claims import person_claims
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import Command, Context, Decision, States, ensure_own, stream_of
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.states.editions import Editions
from domain.steps.enrolment import PersonErased, live_claims


class PersonStillNeeded(LedgerError):
    """Personal data can't be erased while {what}."""

    code = "person_still_needed"


class ErasePersonalData(Command):
    """Destroy a person's key, so that nothing sealed under it can be read again."""

    person_id: e.Id
    reason: e.LongText


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
        erases=(person.id,),
        forgets=(person.subject,) if person.subject else (),
    )


def _reads_of_erasure(cached: StateHint, command: ErasePersonalData, context: Context) -> ReadSet:
    editions = cached("edition", EditionKind.ELIGIBILITY) or Editions(EditionKind.ELIGIBILITY)
    claims = live_claims(command.person_id, editions)
    person = cached("person", command.person_id)
    if person is not None:
        claims += person_claims(person.document_index, person.subject)
    streams = (
        stream_of("person", command.person_id),
        stream_of("edition", EditionKind.ELIGIBILITY),
    )
    return ReadSet(streams, (), claims)


ERASE_PERSONAL_DATA = CommandSpec(
    ErasePersonalData, decide_erase, _reads_of_erasure, roles=frozenset({Role.REGISTRAR})
)

SPECS = (ERASE_PERSONAL_DATA,)

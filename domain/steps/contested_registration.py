"""Step 1: a registration whose document is another person's so far is settled.

Who sees the document joins it to that person or rejects it; a slip in the number is corrected
(`domain.steps.enrolment`). Until then its applications pass no review.
Source: source-document 3.1(1).
"""

from __future__ import annotations

from domain import events as e
from domain.actors import Role
from domain.claims import login_claims
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import Command, Context, Decision, States, stream_of
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.states.editions import Editions
from domain.states.folds import Person, Registration
from domain.steps.agency_rights import ensure_concerned
from domain.steps.enrolment import PersonErased, live_claims, registered_person
from domain.values.identity_documents import same_person_key


class RegistrationNotContested(LedgerError):
    """This registration is {registration}, not contested."""

    code = "registration_not_contested"


class OwnRegistration(LedgerError):
    """Nobody settles their own registration, nor one that they recorded."""

    code = "own_registration"


class DocumentsDiffer(LedgerError):
    """The document is not the other person's any more; correct the registration."""

    code = "documents_differ"


class RegistrationInUse(LedgerError):
    """An application under this registration is open; it is withdrawn or rejected first."""

    code = "registration_in_use"


class PersonHasLogin(LedgerError):
    """The person has another login already, which stays theirs."""

    code = "person_has_login"


class JoinRegistration(Command):
    """Confirm that a contested registration is of the person whose document it names."""

    person_id: e.Id


class RejectRegistration(Command):
    """Refuse a contested registration: who registered is not whose document they named."""

    person_id: e.Id
    reason: e.LongText


def _contested(world: States, person_id: str, context: Context) -> Person:
    """Raises: NotFound, NotYourOwn, OwnRegistration, PersonErased, RegistrationNotContested."""
    person = registered_person(world, person_id)
    ensure_concerned(context, world, person)
    if context.actor.subject in (person.subject, person.registered_by):
        raise OwnRegistration()
    if person.erased:
        raise PersonErased()
    if person.registration is not Registration.CONTESTED:
        raise RegistrationNotContested(registration=person.registration.value)
    return person


def decide_join(world: States, command: JoinRegistration, context: Context) -> Decision:
    """Two registrations are one person: theirs from now on is the first, with the login.

    Applications under the contested one end first, so that one person has one live application.
    Raises: NotFound, NotYourOwn, OwnRegistration, PersonErased, RegistrationNotContested,
        DocumentsDiffer, RegistrationInUse, PersonHasLogin.
    Source: source-document 3.1(1).
    """
    person = _contested(world, command.person_id, context)
    assert person.held_by is not None
    holder = world.person(person.held_by)
    if holder.erased or _document_key(world, person) != _document_key(world, holder):
        raise DocumentsDiffer()
    editions = world.editions(EditionKind.ELIGIBILITY)
    if any(world.claimed(*claim) for claim in live_claims(person.id, editions)):
        raise RegistrationInUse()
    joined = e.RegistrationJoined(person_id=person.id, joined_to=holder.id)
    facts: tuple[tuple[str, e.Fact], ...] = ((stream_of("person", person.id), joined),)
    if person.subject is not None:
        if holder.subject is not None:
            raise PersonHasLogin()
        assigned = e.LoginAssigned(person_id=holder.id, subject=person.subject)
        facts += ((stream_of("person", holder.id), assigned),)
    return Decision(facts=facts, outcome={"person_id": holder.id})


def _document_key(world: States, person: Person) -> str:
    identity = world.identity(person.id)
    number = identity.document_number
    return same_person_key(identity.document_type, number, person.document_country)


def decide_reject(world: States, command: RejectRegistration, context: Context) -> Decision:
    """The registration is over, and its login stays bound to it until it is erased.

    Raises: NotFound, NotYourOwn, OwnRegistration, PersonErased, RegistrationNotContested.
    Source: source-document 3.1(1).
    """
    person = _contested(world, command.person_id, context)
    fact = e.RegistrationRejected(person_id=person.id, reason=command.reason)
    return Decision(facts=((stream_of("person", person.id), fact),))


def _reads_of_join(cached: StateHint, command: JoinRegistration, context: Context) -> ReadSet:
    editions = cached("edition", EditionKind.ELIGIBILITY) or Editions(EditionKind.ELIGIBILITY)
    person = cached("person", command.person_id)
    persons: tuple[str, ...] = (command.person_id,)
    claims = live_claims(command.person_id, editions)
    if person is not None:
        claims += login_claims(person.subject)
        if person.held_by is not None:
            persons += (person.held_by,)
    streams = (*(stream_of("person", each) for each in persons),)
    return ReadSet(
        streams=(*streams, stream_of("edition", EditionKind.ELIGIBILITY)),
        claims=claims,
        persons=persons,
        is_open_ended=context.actor.role is Role.AGENCY,
    )


def _reads_of_rejection(
    cached: StateHint, command: RejectRegistration, context: Context
) -> ReadSet:
    return ReadSet(
        (stream_of("person", command.person_id),),
        persons=(command.person_id,),
        is_open_ended=context.actor.role is Role.AGENCY,
    )


_SETTLES = frozenset({Role.AGENCY, Role.CERTIFIER})

JOIN_REGISTRATION = CommandSpec(JoinRegistration, decide_join, _reads_of_join, roles=_SETTLES)
REJECT_REGISTRATION = CommandSpec(
    RejectRegistration, decide_reject, _reads_of_rejection, roles=_SETTLES
)

SPECS = (JOIN_REGISTRATION, REJECT_REGISTRATION)

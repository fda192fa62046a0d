"""Step 1: who somebody is, and whether they may apply (资质评估).

Source: source-document 1.1, 1.2, 3.1(1).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple, TypedDict

from pydantic import Field

from domain import events as e
from domain.actors import Role
from domain.claims import (
    Claim,
    application_claim,
    live_claim,
    live_claim_of,
    login_claims,
    reviewed_claim,
)
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    cached_applications,
    persons_of,
    with_persons,
)
from domain.decision import (
    AlreadyExists,
    Command,
    Context,
    Decision,
    InTheFuture,
    NotFound,
    States,
    ensure_own,
    stream_of,
)
from domain.documents.materials import required_materials
from domain.editions.edition import EditionKind
from domain.eligibility.assessment import Eligible, NotEligible, assess
from domain.eligibility.qualifications import Qualifications
from domain.eligibility.rule_sets import RuleSet
from domain.errors import LedgerError
from domain.person_claims import PersonIndex, document_index, named_index
from domain.states.application import CLOSED, Status
from domain.states.editions import Editions, occupations, rule_set_on
from domain.states.folds import Person, Registration
from domain.steps.agency_rights import ensure_known, ensure_may_correct, ensure_own_application
from domain.steps.refund import refund_entitlement
from domain.values.identity_documents import (
    DocumentType,
    InvalidIdentityDocument,
    Refusal,
    validate_document,
)
from domain.values.logins import Login
from domain.values.opaque_ids import OpaqueId
from domain.values.person_names import normalise_name
from domain.values.primitives import Level


class PersonErased(LedgerError):
    """The personal data of this person was erased."""

    code = "person_erased"


class ApplicationNotOpen(LedgerError):
    """This can't be done while the application is {status}."""

    code = "application_not_open"


class JobTypeNotOffered(LedgerError):
    """Job type {job_type} is not certified at level {level}."""

    code = "job_type_not_offered"


class DocumentTaken(LedgerError):
    """This identity document is registered already, under another id."""

    code = "document_taken"


class RegistrationClosed(LedgerError):
    """This registration was {registration}."""

    code = "registration_closed"


class PersonReviewed(LedgerError):
    """All reviews compared this person with their documents; only the registrar corrects them."""

    code = "person_reviewed"


DocumentCountry = Annotated[
    str | None,
    Field(max_length=10, description="签发国, ISO 3166 alpha-3; a passport needs it"),
]


class RegisterPerson(Command):
    """Make a person known by name and identity document."""

    person_id: OpaqueId | None = None
    document_type: DocumentType
    document_country: DocumentCountry = None
    document_number: str = Field(min_length=1, max_length=40)
    name: str = Field(min_length=1, max_length=80)
    phone: str | None = Field(default=None, max_length=30)
    subject: Login | None = None


class CorrectPerson(Command):
    """Put a person's name or document right."""

    person_id: e.Id
    document_type: DocumentType
    document_country: DocumentCountry = None
    document_number: str = Field(min_length=1, max_length=40)
    name: str = Field(min_length=1, max_length=80)
    reason: e.LongText


class OpenApplication(Command):
    """Ask to be assessed for an occupation and level; assessed at once. Source: 1.1, 1.2."""

    application_id: OpaqueId | None = None
    person_id: e.Id
    occupation: e.ShortText
    edition: e.ShortText
    level: Level
    job_type: e.ShortText | None = None
    agency: e.ShortText | None = Field(
        default=None, description="报名机构, the organisation; an agency's own, whatever is given"
    )
    qualifications: Qualifications
    as_of: date | None = Field(default=None, description="day of the count; default today")


class WithdrawApplication(Command):
    """Give an application up before 报考成功."""

    application_id: e.Id
    reason: e.LongText


class IdentityFields(TypedDict):
    """The fields of a person's fact that say who somebody is."""

    document_type: DocumentType
    document_country: str | None
    document_number: str
    name: str


class Identified(NamedTuple):
    """Who somebody is, in normal form.

    document, named: blind indexes of the document, and of it together with the name.
    """

    fields: IdentityFields
    document: PersonIndex
    named: PersonIndex


def identify(context: Context, command: RegisterPerson | CorrectPerson) -> Identified:
    """Document and name in normal form.

    The index is over the number and its class, not over the type of document, so that one number
    is one person whichever document shows it.
    Raises: InvalidIdentityDocument, InvalidName.
    """
    kind = command.document_type
    if kind is DocumentType.PASSPORT and command.document_country is None:
        raise InvalidIdentityDocument(document_type=kind, reason=Refusal.COUNTRY_MISSING)
    document = validate_document(
        kind, command.document_number, context.today, country=command.document_country
    )
    name, key = normalise_name(command.name), document.same_person_key
    return Identified(
        {
            "document_type": kind,
            "document_country": document.country,
            "document_number": document.number,
            "name": name,
        },
        document_index(context.blind_index, key),
        named_index(context.blind_index, key, name),
    )


def login_of(command: RegisterPerson, context: Context) -> str | None:
    """The pseudonym of the person's login; a candidate's own, whatever the command says."""
    if context.actor.role is Role.CANDIDATE:
        return context.actor.subject
    return None if command.subject is None else context.pseudonym(command.subject)


def decide_register_person(world: States, command: RegisterPerson, context: Context) -> Decision:
    """One person per document and one per login; a candidate registers themselves.

    A document that is another person's, whichever kind shows the number, makes the registration a
    contested one, and the answer is the same: nobody learns from it who is registered. An agency
    that gives that person's name too gets their id, and nothing of them changes.
    Raises: AlreadyExists, InvalidIdentityDocument, InvalidName. The claim refuses a second
        registration under one login.
    Source: source-document 3.1(1).
    """
    person_id = command.person_id or context.new_id()
    stream = stream_of("person", person_id)
    if world.exists(stream):
        raise AlreadyExists(what="person", id=person_id)
    identified = identify(context, command)
    subject, phone, fields = login_of(command, context), command.phone, identified.fields
    holder = world.holder(*identified.document)
    fact: e.Fact
    if holder is None:
        fact = e.PersonRegistered(person_id=person_id, subject=subject, phone=phone, **fields)
    elif context.actor.role is Role.AGENCY and world.holder(*identified.named) == holder:
        person_id, stream = holder, stream_of("person", holder)
        fact = e.PersonRecognised(person_id=person_id, **fields)
    else:
        fact = e.RegistrationContested(
            person_id=person_id, subject=subject, phone=phone, held_by=holder, **fields
        )
    return Decision(facts=((stream, fact),), outcome={"person_id": person_id})


def decide_correct_person(world: States, command: CorrectPerson, context: Context) -> Decision:
    """The person stays the same, their history too; only what is read from now on changes.

    Once all three reviews of some application compared them with the documents, only the registrar
    corrects them: anybody else could turn the certificate into another person's. An agency corrects
    whom it registered, and who applied to it by themselves. A contested registration whose document
    is nobody else's any more is contested no longer; an agency that enters a document of somebody
    else makes it a contested one, and the answer is the same: else an agency could try numbers by
    corrections.
    Raises: NotFound, NotYourOwn, PersonErased, RegistrationClosed, PersonReviewed,
        InvalidIdentityDocument, InvalidName, DocumentTaken for the registrar.
    Source: source-document 3.2(2), 3.2(3).
    """
    person = registered_person(world, command.person_id)
    ensure_own(context, person, "person")
    ensure_may_correct(context, world, person)
    if person.erased:
        raise PersonErased()
    ensure_not_closed(person)
    if world.claimed(*reviewed_claim(person.id)) and context.actor.role is not Role.REGISTRAR:
        raise PersonReviewed()
    identified = identify(context, command)
    holder = world.holder(*identified.document)
    if holder == person.id:
        holder = None
    is_contested = person.registration is Registration.CONTESTED
    if holder is not None and not is_contested and context.actor.role is not Role.AGENCY:
        raise DocumentTaken()
    fact = e.PersonCorrected(
        person_id=person.id, reason=command.reason, held_by=holder, **identified.fields
    )
    return Decision(
        facts=((stream_of("person", person.id), fact),),
    )


def registered_person(world: States, person_id: str) -> Person:
    """A person who has a registration; an objector without one is none. Raises: NotFound."""
    person = world.person(person_id)
    if person.registration is Registration.OBJECTOR:
        raise NotFound(what="person", id=person_id)
    return person


def ensure_not_closed(person: Person) -> None:
    """A registration that was joined or rejected is over. Raises: RegistrationClosed."""
    if person.registration in (Registration.JOINED, Registration.REJECTED):
        raise RegistrationClosed(registration=person.registration.value)


def live_claims(person_id: str, eligibility: Editions) -> tuple[Claim, ...]:
    """The claims of all applications a person could have open, over every occupation and level."""
    return tuple(
        live_claim(person_id, occupation, level)
        for occupation in occupations(eligibility)
        for level in Level
    )


def _eligible(
    opened: e.ApplicationOpened,
    command: OpenApplication,
    rules: RuleSet,
    as_of: date,
    result: Eligible,
) -> Decision:
    """Confirmed; the person now has this one application open for the occupation and level."""
    stream = stream_of("application", opened.application_id)
    fact = e.EligibilityConfirmed(
        application_id=opened.application_id,
        person_id=opened.person_id,
        edition=command.edition,
        rule_set_sha256=rules.digest,
        alternative=result.alternative,
        also_met=result.also_met,
        as_of=as_of,
        required_materials=required_materials(result.required_materials),
        qualifications=command.qualifications.model_dump_json(),
    )
    return Decision(
        facts=((stream, opened), (stream, fact)),
        outcome={
            "application_id": opened.application_id,
            "eligible": True,
            "alternative": result.alternative,
        },
    )


def _not_eligible(
    opened: e.ApplicationOpened,
    command: OpenApplication,
    rules: RuleSet,
    as_of: date,
    result: NotEligible,
) -> Decision:
    """Refused as a fact, with what is missing, so that it can be appealed."""
    stream = stream_of("application", opened.application_id)
    missing = tuple(
        e.UnmetRule(rule=each.rule, predicate=each.predicate, figures=each.figures)
        for each in result.missing
    )
    fact = e.EligibilityRefused(
        application_id=opened.application_id,
        person_id=opened.person_id,
        edition=command.edition,
        rule_set_sha256=rules.digest,
        nearest=result.nearest,
        missing=missing,
        as_of=as_of,
        qualifications=command.qualifications.model_dump_json(),
    )
    return Decision(
        facts=((stream, opened), (stream, fact)),
        outcome={
            "application_id": opened.application_id,
            "eligible": False,
            "nearest": result.nearest,
            "missing": [
                {
                    "alternative": result.nearest,
                    "predicate": each.predicate,
                    "needed": each.needed.zh,
                    "needed_en": each.needed.en,
                }
                for each in result.missing
            ],
        },
    )


def agency_of(command: OpenApplication, context: Context) -> str | None:
    """The enrolment agency: the organisation of the agency that opens, else the one named."""
    own = context.actor.role is Role.AGENCY
    return (context.actor.organisation or None) if own else command.agency


def decide_open_application(world: States, command: OpenApplication, context: Context) -> Decision:
    """Opened and assessed at once; a refusal says what is missing and can be appealed.

    Years are counted up to today at the latest: nobody has worked tomorrow yet. An agency opens for
    whom it registered, or whose name and document it gave.
    Order of refusals: unknown person, erased person, not your own, a registration that is over,
    known application, unknown rules, job type, a day of the count to come, then what `assess`
    refuses.
    Raises: NotFound, PersonErased, NotYourOwn, RegistrationClosed, AlreadyExists, UnknownRuleSet,
        JobTypeNotOffered,
        InTheFuture, LevelNotInRuleSet, QualificationInFuture. The claim refuses a second open
        application of one person for one occupation and level.
    Source: source-document 1.1, 1.2(1), 1.2(2), 1.2(3), 1.2(4), 3.2(1).
    """
    person = registered_person(world, command.person_id)
    if person.erased:
        raise PersonErased()
    ensure_own(context, person, "person")
    ensure_known(context, person)
    ensure_not_closed(person)
    application_id = command.application_id or context.new_id()
    stream = stream_of("application", application_id)
    if world.exists(stream):
        raise AlreadyExists(what="application", id=application_id)
    editions = world.editions(EditionKind.ELIGIBILITY)
    rules = rule_set_on(editions, command.occupation, command.edition, context.today)
    if command.job_type and rules.job_types and not rules.offers(command.job_type, command.level):
        raise JobTypeNotOffered(job_type=command.job_type, level=int(command.level))
    today = context.today
    as_of = command.as_of or today
    if as_of > today:
        raise InTheFuture(field="as_of")
    result = assess(rules, command.level, command.qualifications, as_of)
    opened = e.ApplicationOpened(
        application_id=application_id,
        person_id=person.id,
        occupation=rules.occupation,
        occupation_name=rules.name,
        edition=command.edition,
        level=command.level,
        job_type=command.job_type,
        agency=agency_of(command, context),
    )
    if isinstance(result, Eligible):
        return _eligible(opened, command, rules, as_of, result)
    return _not_eligible(opened, command, rules, as_of, result)


def decide_withdraw(world: States, command: WithdrawApplication, context: Context) -> Decision:
    """Withdrawn before 报考成功 counts as 报考未成功: what may go back is owed at once.

    Raises: NotFound, NotYourOwn, ApplicationNotOpen once enrolled or closed.
    Source: source-document 2.4(1), 2.4(2).
    """
    state = world.candidacy(command.application_id)
    ensure_own_application(context, world, state)
    if state.status in CLOSED or state.status is Status.ENROLLED:
        raise ApplicationNotOpen(status=state.status.value)
    stream = stream_of("application", state.id)
    withdrawn = e.ApplicationWithdrawn(
        application_id=state.id, person_id=state.person_id, reason=command.reason
    )
    return Decision(facts=((stream, withdrawn), *refund_entitlement(state)))


# --- read sets and specs --------------------------------------------------------------------------


def _reads_of_registration(cached: StateHint, command: RegisterPerson, context: Context) -> ReadSet:
    person_id = command.person_id or context.new_id()
    _, document, named = identify(context, command)
    is_agency = context.actor.role is Role.AGENCY
    return ReadSet(
        versions=(stream_of("person", person_id),),
        claims=login_claims(login_of(command, context)),
        persons=(person_id,),
        holders=(document, named) if is_agency else (document,),
    )


def _reads_of_correction(cached: StateHint, command: CorrectPerson, context: Context) -> ReadSet:
    return ReadSet(
        streams=(stream_of("person", command.person_id),),
        claims=(reviewed_claim(command.person_id),),
        persons=(command.person_id,),
        holders=(identify(context, command).document,),
        is_open_ended=context.actor.role is Role.AGENCY,
    )


def _reads_of_opening(cached: StateHint, command: OpenApplication, context: Context) -> ReadSet:
    application_id = command.application_id or context.new_id()
    editions = cached("edition", EditionKind.ELIGIBILITY) or Editions(EditionKind.ELIGIBILITY)
    rules = rule_set_on(editions, command.occupation, command.edition, context.today)
    return ReadSet(
        streams=(
            stream_of("person", command.person_id),
            stream_of("edition", EditionKind.ELIGIBILITY),
        ),
        versions=(stream_of("application", application_id),),
        claims=(
            live_claim(command.person_id, rules.occupation, command.level),
            application_claim(command.person_id, application_id),
        ),
        persons=(command.person_id,),
    )


def _reads_of_withdrawal(
    cached: StateHint, command: WithdrawApplication, context: Context
) -> ReadSet:
    ids = (command.application_id,)
    claims = tuple(map(live_claim_of, cached_applications(cached, ids)))
    return ReadSet(with_persons(cached, ids), (), claims, persons_of(cached, ids))


_APPLICANT = frozenset({Role.CANDIDATE, Role.AGENCY})

REGISTER_PERSON = CommandSpec(
    RegisterPerson, decide_register_person, _reads_of_registration, roles=_APPLICANT
)
CORRECT_PERSON = CommandSpec(
    CorrectPerson,
    decide_correct_person,
    _reads_of_correction,
    roles=frozenset({Role.AGENCY, Role.REGISTRAR}),
)
OPEN_APPLICATION = CommandSpec(
    OpenApplication, decide_open_application, _reads_of_opening, roles=_APPLICANT
)
WITHDRAW_APPLICATION = CommandSpec(
    WithdrawApplication, decide_withdraw, _reads_of_withdrawal, roles=_APPLICANT
)

SPECS = (
    REGISTER_PERSON,
    CORRECT_PERSON,
    OPEN_APPLICATION,
    WITHDRAW_APPLICATION,
)

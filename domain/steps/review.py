"""Step 3: documents are handed in and reviewed three times (资料提交, 资料审核).

Source: source-document 3.1, 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from domain import events as e
from domain.actors import Role
from domain.claims import live_claim_of, reviewed_claim
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    cached_applications,
    persons_of,
    reads_application_and_person,
    with_persons,
)
from domain.decision import (
    Command,
    Context,
    Decision,
    OwnApplication,
    States,
    stream_of,
)
from domain.documents.errors import DocumentProblem, EnrolmentProofNotAccepted
from domain.documents.materials import (
    MaterialFact,
    MaterialKind,
    check_completeness,
    check_material,
    check_photo,
    check_photo_name,
)
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.events import Stage
from domain.states.application import Candidacy, Status
from domain.states.editions import document_rules_on
from domain.states.folds import Person, Registration
from domain.steps.agency_rights import ensure_agency, ensure_own_application
from domain.steps.refund import refund_entitlement
from domain.values.primitives import Sha256Hex

ROUNDS_MAX = 99
"""Submissions of one application: a bound far above what any applicant needs."""

REVIEWER: dict[Stage, Role] = {
    Stage.INITIAL: Role.AGENCY,
    Stage.SECOND: Role.CERTIFIER,
    Stage.FINAL: Role.PROVINCE,
}
"""Whose review each stage is. Source: 3.2(2)."""

PASSED = {
    Stage.INITIAL: e.InitialReviewPassed,
    Stage.SECOND: e.SecondReviewPassed,
    Stage.FINAL: e.FinalReviewPassed,
}
RETURNED = {
    Stage.INITIAL: e.InitialReviewReturned,
    Stage.SECOND: e.SecondReviewReturned,
    Stage.FINAL: e.FinalReviewReturned,
}
REJECTED = {
    Stage.INITIAL: e.InitialReviewRejected,
    Stage.SECOND: e.SecondReviewRejected,
    Stage.FINAL: e.FinalReviewRejected,
}


class PaymentFirst(LedgerError):
    """Documents are handed in after the fee is paid."""

    code = "payment_first"


class DocumentsClosed(LedgerError):
    """Documents can't be handed in while the application is {status}."""

    code = "documents_closed"


class DocumentFaulty(LedgerError):
    """The document can't be accepted: {text}"""

    code = "document_faulty"


class SameFileTwice(LedgerError):
    """This file was handed in as {label} already."""

    code = "same_file_twice"


class TooManyRounds(LedgerError):
    """Documents were handed in {rounds} times; this application takes no more."""

    code = "too_many_rounds"


class DocumentsIncomplete(LedgerError):
    """The documents are not complete: {text}"""

    code = "documents_incomplete"


class ReviewOutOfOrder(LedgerError):
    """The {stage} review is not due; the application is {status}, the review due is: {due}."""

    code = "review_out_of_order"


class WrongReviewer(LedgerError):
    """The {stage} review is given by the role {needed}, not {given}."""

    code = "wrong_reviewer"


class RegistrationUnsettled(LedgerError):
    """No review passes while the applicant's registration is {registration}.

    A contested one is joined to the person whose document it names, rejected, or corrected first.
    """

    code = "registration_unsettled"


class ReviewedBefore(LedgerError):
    """The same person or organisation can't give two of the three reviews."""

    code = "reviewed_before"


class ReasonMissing(LedgerError):
    """A review that does not pass needs a reason."""

    code = "reason_missing"


class RoundChanged(LedgerError):
    """The documents are in round {actual}, not {given}; read them again."""

    code = "round_changed"


class SubmitDocument(Command):
    """Hand one file in; `material` is what the file's bytes were found to be.

    file_name: as the candidate named it; compared for photos and never stored.
    """

    application_id: e.Id
    material: MaterialFact
    sealed_sha256: Sha256Hex = Field(description="of the sealed file, its name in the store")
    file_name: str = Field(min_length=1, max_length=200)


class SubmitDocuments(Command):
    """Declare the documents complete and send them into review."""

    application_id: e.Id


class Review(Command):
    """Give one of the three reviews."""

    application_id: e.Id
    stage: Stage
    verdict: Literal["pass", "return", "reject"]
    round: int | None = Field(default=None, ge=1, le=99, description="the round that was read")
    reason: e.LongText | None = None
    missing: tuple[MaterialKind, ...] = ()


def _describe(problems: Sequence[DocumentProblem]) -> dict[str, object]:
    """Every fault, as one text and one by one."""
    return {
        "text": "; ".join(str(p) for p in problems),
        "problems": [{"code": p.code, "detail": str(p)} for p in problems],
    }


def _ensure_documents_open(state: Candidacy) -> None:
    if state.status in (Status.OPENED, Status.ELIGIBLE):
        raise PaymentFirst()
    if state.status not in (Status.PAID, Status.SUPPLEMENT):
        raise DocumentsClosed(status=state.status.value)


def decide_submit_document(world: States, command: SubmitDocument, context: Context) -> Decision:
    """A file is checked by itself; a newer one of the same kind takes the older one's place.

    The same bytes are never accepted for two kinds of document.
    Raises: NotFound, NotYourOwn, PaymentFirst, DocumentsClosed, DocumentFaulty with every fault,
        SameFileTwice.
    Source: source-document 2.1, 3.1(1)-(5).
    """
    state = world.candidacy(command.application_id)
    ensure_own_application(context, world, state)
    _ensure_documents_open(state)
    material = command.material
    rules = document_rules_on(world.editions(EditionKind.DOCUMENTS), context.today)
    problems = check_material(material, rules)
    # Refused here and not with the set: a document once handed in cannot be withdrawn.
    if material.kind is MaterialKind.ENROLMENT_PROOF and material.kind not in {
        *state.required,
        *state.asked_again,
    }:
        problems.append(EnrolmentProofNotAccepted())
    if material.photo is not None:
        identity = world.identity(state.person_id)
        problems += check_photo_name(
            command.file_name, name=identity.name, number=identity.document_number
        )
        problems += check_photo(material.photo, submitted_on=context.today, rules=rules)
    if problems:
        raise DocumentFaulty(**_describe(problems))
    for kind in state.documents:
        if kind is not material.kind and world.document_sha256(state.id, kind) == material.sha256:
            raise SameFileTwice(kind=kind.value, label=kind.chinese_name)
    is_photo = material.kind is MaterialKind.PHOTO
    fact = e.DocumentSubmitted(
        application_id=state.id,
        person_id=state.person_id,
        kind=material.kind,
        sha256=command.sealed_sha256,
        plain_sha256=None if is_photo else material.sha256,
        photo_sha256=material.sha256 if is_photo else None,
        size_bytes=material.size_bytes,
        media_type=material.media_type,
        taken_on=material.photo.taken_on if material.photo else None,
    )
    return Decision(facts=((stream_of("application", state.id), fact),))


def decide_submit_documents(world: States, command: SubmitDocuments, context: Context) -> Decision:
    """The set goes into review once every document that proves the alternative is there.

    After a supplement the three reviews start again, since each covers all documents; what a
    review asked for has to be handed in again first.
    Raises: NotFound, NotYourOwn, PaymentFirst, DocumentsClosed, DocumentsIncomplete with every
        fault, TooManyRounds.
    Source: source-document 3.1, 3.1(2), 3.2(1), 3.2(2).
    """
    state = world.candidacy(command.application_id)
    ensure_own_application(context, world, state)
    _ensure_documents_open(state)
    missing = check_completeness(
        set(state.documents) - state.asked_again, {*state.required, *state.asked_again}
    )
    if missing:
        raise DocumentsIncomplete(**_describe(missing))
    if state.round >= ROUNDS_MAX:
        raise TooManyRounds(rounds=state.round)
    fact = e.DocumentsSubmitted(
        application_id=state.id,
        person_id=state.person_id,
        round=state.round + 1,
        kinds=tuple(sorted(state.documents)),
    )
    return Decision(
        facts=((stream_of("application", state.id), fact),), outcome={"round": fact.round}
    )


def _ensure_reviewer(state: Candidacy, person: Person, command: Review, context: Context) -> None:
    """The right role, another person and organisation than before, never one's own. 3.2(2)."""
    actor = context.actor
    if actor.role is not REVIEWER[command.stage]:
        raise WrongReviewer(
            stage=command.stage.value, needed=REVIEWER[command.stage].value, given=actor.role.value
        )
    involved = {person.subject, person.registered_by, state.opened_by, *state.submitters}
    if actor.subject in involved:
        raise OwnApplication()
    for earlier in state.reviewed:
        if earlier.stage is command.stage:
            continue
        if earlier.subject == actor.subject or earlier.organisation == actor.organisation:
            raise ReviewedBefore()


def decide_review(world: States, command: Review, context: Context) -> Decision:
    """Three reviews in order; 终审 passed *is* 报考成功, any rejection is 报考未成功.

    Order of refusals: unknown application, another agency's, not in review, not due, stale round,
    wrong role, own application, reviewed before, unsettled registration, no reason.
    Raises: NotFound, NotYourOwn, ReviewOutOfOrder, RoundChanged, WrongReviewer, OwnApplication,
        ReviewedBefore, RegistrationUnsettled, ReasonMissing.
    Source: source-document 3.2, 3.2(1), 3.2(2), 2.4(1), 2.4(3).
    """
    state = world.candidacy(command.application_id)
    ensure_agency(context, state)
    due = state.next_stage() if state.status is Status.IN_REVIEW else None
    if command.stage is not due:
        raise ReviewOutOfOrder(
            stage=command.stage.value,
            status=state.status.value,
            due=due.value if due else "none",
        )
    if command.round is not None and command.round != state.round:
        raise RoundChanged(actual=state.round, given=command.round)
    person = world.person(state.person_id)
    _ensure_reviewer(state, person, command, context)
    if command.verdict == "pass":
        if person.registration is not Registration.REGISTERED:
            raise RegistrationUnsettled(registration=person.registration.value)
        return _pass(state, command.stage)
    if command.reason is None:
        raise ReasonMissing()
    if command.verdict == "return":
        return _return(state, command, command.reason)
    fact = REJECTED[command.stage](
        application_id=state.id, person_id=state.person_id, round=state.round, reason=command.reason
    )
    return Decision(facts=((stream_of("application", state.id), fact), *refund_entitlement(state)))


def _pass(state: Candidacy, stage: Stage) -> Decision:
    fact = PASSED[stage](application_id=state.id, person_id=state.person_id, round=state.round)
    return Decision(facts=((stream_of("application", state.id), fact),))


def _return(state: Candidacy, command: Review, reason: str) -> Decision:
    fact = RETURNED[command.stage](
        application_id=state.id,
        person_id=state.person_id,
        round=state.round,
        missing=command.missing,
        reason=reason,
    )
    return Decision(facts=((stream_of("application", state.id), fact),))


# --- read sets and specs --------------------------------------------------------------------------


def _reads_of_document(cached: StateHint, command: SubmitDocument, context: Context) -> ReadSet:
    """Other documents' hashes and the person's name are opened, the new hash is sealed."""
    ids = (command.application_id,)
    streams = (*with_persons(cached, ids), stream_of("edition", EditionKind.DOCUMENTS))
    return ReadSet(streams, persons=persons_of(cached, ids))


def _reads_of_review(cached: StateHint, command: Review, context: Context) -> ReadSet:
    ids = (command.application_id,)
    states = cached_applications(cached, ids)
    if command.verdict == "reject":
        claims = tuple(map(live_claim_of, states))
    else:
        claims = tuple(reviewed_claim(state.person_id) for state in states)
    persons = () if command.reason is None else persons_of(cached, ids)
    return ReadSet(with_persons(cached, ids), (), claims, persons)


_APPLICANT = frozenset({Role.CANDIDATE, Role.AGENCY})

SUBMIT_DOCUMENT = CommandSpec(
    SubmitDocument, decide_submit_document, _reads_of_document, roles=_APPLICANT
)
SUBMIT_DOCUMENTS = CommandSpec(
    SubmitDocuments, decide_submit_documents, reads_application_and_person, roles=_APPLICANT
)
REVIEW = CommandSpec(Review, decide_review, _reads_of_review, roles=frozenset(REVIEWER.values()))

SPECS = (SUBMIT_DOCUMENT, SUBMIT_DOCUMENTS, REVIEW)

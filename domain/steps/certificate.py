"""Step 5: two certificates are handed out, and what becomes of them (获取证书).

Their numbers come from `number_allocation`; from here on the number stays, and versions count.

Source: source-document 0.2, 5.2, 5.3.
"""

from __future__ import annotations

from datetime import date
from typing import TypedDict

from domain import events as e
from domain.actors import Role
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    cached_applications,
    notice_streams,
    persons_of,
    reads_application_and_keys,
    with_persons,
)
from domain.decision import (
    Command,
    Context,
    Decision,
    Identity,
    NotFound,
    States,
    ensure_day,
    stream_of,
)
from domain.documents.materials import MaterialKind
from domain.errors import LedgerError
from domain.events import CertificateKind
from domain.states.application import Candidacy, Certificate
from domain.steps.enrolment import PersonErased
from domain.steps.number_allocation import final_from
from domain.values.certificate_cards import Card, canonical_card
from domain.values.certificate_numbers import NationalNumber, OmcNumber

VERSIONS_MAX = 999
"""Versions one certificate can have."""


class CertificateOutOfOrder(LedgerError):
    """The {kind} certificate is {progress}, {standing}; this step can't follow."""

    code = "certificate_out_of_order"


class YearDiffers(LedgerError):
    """The number was given for {year}; the certificate must bear a day of that year."""

    code = "year_differs"


class IssueCertificates(Command):
    """Make and hand out every numbered certificate of an application."""

    application_id: e.Id
    issued_on: date | None = None


class _CertificateCommand(Command):
    application_id: e.Id
    kind: CertificateKind


class CorrectCertificate(_CertificateCommand):
    """Put the text of a certificate right: same number, next version."""

    reason: e.LongText


class ReissueCertificate(_CertificateCommand):
    """Make a lost or damaged certificate again: same number, next version."""

    reissued_on: date | None = None
    reason: e.LongText


class SuspendCertificate(_CertificateCommand):
    """Stop a certificate from counting for the time being."""

    reason: e.LongText


class ReinstateCertificate(_CertificateCommand):
    """Let a suspended certificate count again."""

    reason: e.LongText


class RevokeCertificate(_CertificateCommand):
    """Make a certificate void for good."""

    reason_class: e.RevocationReason
    reason: e.LongText


def number_year(certificate: Certificate) -> int:
    """The year that a certificate's number bears."""
    if certificate.kind is CertificateKind.NATIONAL:
        return NationalNumber.parse(certificate.number).year
    return OmcNumber.parse(certificate.number).year


def _nothing_to_issue(state: Candidacy) -> CertificateOutOfOrder:
    """Names the progress of the national certificate, or that there is none yet."""
    found = state.certificates.get(CertificateKind.NATIONAL)
    return CertificateOutOfOrder(
        kind=CertificateKind.NATIONAL.value,
        progress=found.progress if found else "not_numbered",
        standing=found.standing if found else "not_issued",
    )


def out_of_order(certificate: Certificate) -> CertificateOutOfOrder:
    """Names how far a certificate came and whether it counts."""
    return CertificateOutOfOrder(
        kind=certificate.kind.value,
        progress=certificate.progress,
        standing=certificate.standing,
    )


class _Digest(TypedDict):
    """The fields of a fact that fixes what a certificate says."""

    card_sha256: str
    card_salt: str


def _digest(
    world: States,
    context: Context,
    state: Candidacy,
    certificate: Certificate,
    issued_on: date,
    version: int,
) -> _Digest:
    """The hash of the card that this version of a certificate shows, under a new salt.

    Raises: NotFound for a person who was erased.
    """
    identity = world.identity(state.person_id)
    issuer = world.ledger().organisation
    photo = world.document_sha256(state.id, MaterialKind.PHOTO)
    card = card_of(context.ledger, issuer, state, certificate, identity, photo, issued_on, version)
    digest, salt = context.digest_card(canonical_card(card))
    return {"card_sha256": digest, "card_salt": salt}


def card_of(
    ledger: str,
    issuer: e.LedgerOpened,
    state: Candidacy,
    certificate: Certificate,
    identity: Identity,
    photo_sha256: str | None,
    issued_on: date,
    version: int,
) -> Card:
    """What a version of a certificate shows, from what was known just before it. Source: 5.2."""
    theory, practical = (None if marks is None else str(marks) for marks in state.marks())
    return {
        "ledger": ledger,
        "kind": certificate.kind.value,
        "number": certificate.number,
        "version": version,
        "name": identity.name,
        "document_type": identity.document_type.value,
        "document_number": identity.document_number,
        "occupation": state.occupation,
        "occupation_name": state.occupation_name,
        "job_type": state.job_type,
        "level": int(state.level),
        "theory": theory,
        "practical": practical,
        "issuer_name": issuer.issuer_name,
        "organisation_name": issuer.organisation_name,
        "issued_on": issued_on,
        "photo_sha256": photo_sha256,
    }


def decide_issue_certificates(
    world: States, command: IssueCertificates, context: Context
) -> Decision:
    """Both certificates are issued together, on a day of the year their numbers bear.

    The day lies after the end of the notice and is not still to come.
    Raises: NotFound, CertificateOutOfOrder, PersonErased, InTheFuture, TooEarly, YearDiffers.
    Source: source-document 5.2, 5.3.
    """
    state = world.candidacy(command.application_id)
    waiting = [
        c for c in state.certificates.values() if c.progress == "numbered" and c.standing == "valid"
    ]
    if not waiting:
        raise _nothing_to_issue(state)
    if world.person(state.person_id).is_unknown:
        raise PersonErased()
    issued_on = command.issued_on or context.today
    ensure_day(context, "issued_on", issued_on, final_from(world, state))
    for certificate in waiting:
        if number_year(certificate) != issued_on.year:
            raise YearDiffers(year=number_year(certificate))
    stream = stream_of("application", state.id)
    return Decision(
        facts=tuple(
            (
                stream,
                e.CertificateIssued(
                    application_id=state.id,
                    person_id=state.person_id,
                    kind=c.kind,
                    number=c.number,
                    issued_on=issued_on,
                    version=1,
                    **_digest(world, context, state, c, issued_on, 1),
                ),
            )
            for c in waiting
        ),
        outcome={c.kind.value: c.number for c in waiting},
    )


def find(state: Candidacy, kind: CertificateKind) -> Certificate:
    """The certificate of a kind. Raises: NotFound."""
    certificate = state.certificates.get(kind)
    if certificate is None:
        raise NotFound(what="certificate of kind", id=kind.value)
    return certificate


def _in_standing(
    world: States, command: _CertificateCommand, allowed: tuple[str, ...], issued: bool = True
) -> tuple[Candidacy, Certificate]:
    """A certificate in one of the allowed standings, with its application.

    issued: whether it has to be issued already.
    Raises: NotFound, CertificateOutOfOrder.
    """
    state = world.candidacy(command.application_id)
    certificate = find(state, command.kind)
    too_soon = issued and certificate.version == 0
    if too_soon or certificate.standing not in allowed:
        raise out_of_order(certificate)
    return state, certificate


def _decision(state: Candidacy, fact: e.Fact) -> Decision:
    return Decision(facts=((stream_of("application", state.id), fact),))


def _next_version(certificate: Certificate) -> int:
    """Raises: CertificateOutOfOrder when the versions are used up."""
    if certificate.version >= VERSIONS_MAX:
        raise CertificateOutOfOrder(
            kind=certificate.kind.value,
            progress=f"at version {certificate.version}",
            standing=certificate.standing,
        )
    return certificate.version + 1


def decide_correct(world: States, command: CorrectCertificate, context: Context) -> Decision:
    """The number stays; the new version has to be reported again as a correction.

    Raises: NotFound, CertificateOutOfOrder, PersonErased.
    Source: source-document 3.2(3), 5.3.
    """
    state, certificate = _in_standing(world, command, ("valid", "suspended"))
    if world.person(state.person_id).is_unknown:
        raise PersonErased()
    version = _next_version(certificate)
    assert certificate.issued_on is not None, "only an issued certificate has a standing to correct"
    fact = e.CertificateCorrected(
        application_id=state.id,
        person_id=state.person_id,
        kind=certificate.kind,
        number=certificate.number,
        version=version,
        reason=command.reason,
        **_digest(world, context, state, certificate, certificate.issued_on, version),
    )
    return _decision(state, fact)


def decide_reissue(world: States, command: ReissueCertificate, context: Context) -> Decision:
    """A lost certificate keeps its number and gets the next version.

    Raises: NotFound, CertificateOutOfOrder, PersonErased, InTheFuture, TooEarly.
    Source: source-document 5.3.
    """
    state, certificate = _in_standing(world, command, ("valid",))
    if world.person(state.person_id).is_unknown:
        raise PersonErased()
    reissued_on = command.reissued_on or context.today
    issued_on = certificate.issued_on
    assert issued_on is not None, "only an issued certificate is made again"
    ensure_day(context, "reissued_on", reissued_on, issued_on)
    version = _next_version(certificate)
    fact = e.CertificateReissued(
        application_id=state.id,
        person_id=state.person_id,
        kind=certificate.kind,
        number=certificate.number,
        version=version,
        reissued_on=reissued_on,
        reason=command.reason,
        **_digest(world, context, state, certificate, issued_on, version),
    )
    return _decision(state, fact)


def decide_suspend(world: States, command: SuspendCertificate, context: Context) -> Decision:
    """Only a valid certificate is suspended; the public sees it at once.

    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 3.2(3).
    """
    state, certificate = _in_standing(world, command, ("valid",))
    fact = e.CertificateSuspended(
        application_id=state.id,
        person_id=state.person_id,
        kind=certificate.kind,
        number=certificate.number,
        version=certificate.version,
        reason=command.reason,
    )
    return _decision(state, fact)


def decide_reinstate(world: States, command: ReinstateCertificate, context: Context) -> Decision:
    """Only a suspended certificate is reinstated; a revoked one never is.

    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 3.2(3).
    """
    state, certificate = _in_standing(world, command, ("suspended",))
    fact = e.CertificateReinstated(
        application_id=state.id,
        person_id=state.person_id,
        kind=certificate.kind,
        number=certificate.number,
        version=certificate.version,
        reason=command.reason,
    )
    return _decision(state, fact)


def decide_revoke(world: States, command: RevokeCertificate, context: Context) -> Decision:
    """Revoked for good, with a reason the public sees; the number is never allocated again.

    A number that was not issued yet can be revoked too: it was given in error.
    Raises: NotFound, CertificateOutOfOrder.
    Source: source-document 3.2(3), 5.3.
    """
    state, certificate = _in_standing(world, command, ("valid", "suspended"), issued=False)
    fact = e.CertificateRevoked(
        application_id=state.id,
        person_id=state.person_id,
        kind=certificate.kind,
        number=certificate.number,
        version=certificate.version,
        reason_class=command.reason_class,
        reason=command.reason,
    )
    return _decision(state, fact)


def _reads_of_issue(cached: StateHint, command: IssueCertificates, context: Context) -> ReadSet:
    ids = (command.application_id,)
    states = cached_applications(cached, ids)
    last_notice = notice_streams(states)[-1:]
    persons = tuple(state.person_id for state in states)
    return ReadSet((*with_persons(cached, ids), "ledger", *last_notice), persons=persons)


def _reads_of_text(cached: StateHint, command: _CertificateCommand, context: Context) -> ReadSet:
    """The card of the new version names the holder and the issuer."""
    ids = (command.application_id,)
    return ReadSet((*with_persons(cached, ids), "ledger"), persons=persons_of(cached, ids))


_REGISTRAR = frozenset({Role.REGISTRAR})

ISSUE_CERTIFICATES = CommandSpec(
    IssueCertificates, decide_issue_certificates, _reads_of_issue, roles=_REGISTRAR
)
CORRECT_CERTIFICATE = CommandSpec(
    CorrectCertificate, decide_correct, _reads_of_text, roles=_REGISTRAR
)
REISSUE_CERTIFICATE = CommandSpec(
    ReissueCertificate, decide_reissue, _reads_of_text, roles=_REGISTRAR
)
SUSPEND_CERTIFICATE = CommandSpec(
    SuspendCertificate, decide_suspend, reads_application_and_keys, roles=_REGISTRAR
)
REINSTATE_CERTIFICATE = CommandSpec(
    ReinstateCertificate, decide_reinstate, reads_application_and_keys, roles=_REGISTRAR
)
REVOKE_CERTIFICATE = CommandSpec(
    RevokeCertificate, decide_revoke, reads_application_and_keys, roles=_REGISTRAR
)

SPECS = (
    ISSUE_CERTIFICATES,
    CORRECT_CERTIFICATE,
    REISSUE_CERTIFICATE,
    SUSPEND_CERTIFICATE,
    REINSTATE_CERTIFICATE,
    REVOKE_CERTIFICATE,
)

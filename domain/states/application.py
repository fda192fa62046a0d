"""State of one application, folded from its facts.

`FOLDS` names every application fact, so that an unknown one fails instead of being ignored. A state
contains no personal data, because snapshots store it; its field names are part of their format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from domain import events as e
from domain.actors import actor_of, is_same_organisation, subject_of
from domain.documents.materials import MaterialKind
from domain.events import CertificateKind, Component, Item, RevocationReason, Stage
from domain.values.fast_replace import replace
from domain.values.primitives import Level, Marks, passes
from domain.values.working_days import shanghai_date


class Status(StrEnum):
    """Progress of an application."""

    OPENED = "opened"
    ELIGIBLE = "eligible"
    NOT_ELIGIBLE = "not_eligible"
    PAID = "paid"
    IN_REVIEW = "in_review"
    SUPPLEMENT = "supplement"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    ENROLLED = "enrolled"  # 报考成功


CLOSED = frozenset({Status.NOT_ELIGIBLE, Status.REJECTED, Status.WITHDRAWN})
"""Statuses of an unsuccessful application (报考未成功). Source: 2.4(1)."""


@dataclass(frozen=True, slots=True)
class PaidLine:
    """One component of one payment, fen."""

    payment_id: str
    component: Component
    amount_fen: int
    provider: e.Provider
    channel_id: str
    provider_transaction_id: str
    paid_at: datetime
    excess: bool = False


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund. state: ordered, approved, accepted, settled, closed, declined or abnormal.

    settled_at: by the provider's clock.
    """

    refund_no: str
    payment_id: str
    component: Component
    amount_fen: int
    state: str
    ordered_by: str
    provider_refund_id: str | None = None
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review and its reviewer."""

    round: int
    stage: Stage
    subject: str
    organisation: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate: its progress and its standing.

    progress: numbered, issued, reported, accepted or rejected, visible.
    standing: valid, suspended or revoked. version: 0 until it is issued.
    seen: scopes of the public lookup in which it was found. ended_on: day of its revocation.
    """

    kind: CertificateKind
    number: str
    progress: str = "numbered"
    standing: str = "valid"
    version: int = 0
    issued_on: date | None = None
    seen: tuple[str, ...] = ()
    report_id: str | None = None
    revoked_for: RevocationReason | None = None
    ended_on: date | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Score of one subject. marks: None if absent."""

    marks: Marks | None
    recorded_by: str


@dataclass(frozen=True, slots=True)
class Candidacy:
    """State of one application.

    asked_again: documents that a review requested and that were not submitted since.
    notices: every notice that lists the result, the latest last. published: the marks in the
    latest; None before the first notice and after a correction. closed_on: day on which it became
    unsuccessful.
    """

    id: str
    person_id: str
    occupation: str
    occupation_name: str
    edition: str
    level: Level
    job_type: str | None
    status: Status = Status.OPENED
    required: tuple[MaterialKind, ...] = ()
    paid: tuple[PaidLine, ...] = ()
    used: frozenset[Item] = frozenset()
    documents: dict[MaterialKind, str] = field(default_factory=dict)
    agency: str | None = None
    opened_by: str = ""
    submitters: frozenset[str] = frozenset()
    asked_again: frozenset[MaterialKind] = frozenset()
    round: int = 0
    passed: tuple[Stage, ...] = ()
    reviewed: tuple[Reviewed, ...] = ()
    refunds: tuple[Refund, ...] = ()
    session_id: str | None = None
    ticket_number: str | None = None
    theory: Score | None = None
    practical: Score | None = None
    verified: bool = False
    notices: tuple[str, ...] = ()
    published: tuple[Marks | None, Marks | None] | None = None
    certificates: dict[CertificateKind, Certificate] = field(default_factory=dict)
    closed_on: date | None = None
    version: int = 0

    @property
    def notice_id(self) -> str | None:
        """The latest notice that lists the result."""
        return self.notices[-1] if self.notices else None

    def marks(self) -> tuple[Marks | None, Marks | None]:
        """Theory and practical; None: absent or not recorded."""
        return (
            self.theory.marks if self.theory else None,
            self.practical.marks if self.practical else None,
        )

    def next_stage(self) -> Stage:
        """The review that is due."""
        return tuple(Stage)[len(self.passed)]

    def has_passed(self) -> bool:
        """Both subjects 60 or more; an absence is never a pass. Source: 4.3(3)."""
        return all(marks is not None and passes(marks) for marks in self.marks())

    @property
    def responsible_agency(self) -> str | None:
        """The agency that the application names, else the one that gave the first initial review.

        None: it is open to every agency.
        """
        if self.agency is not None:
            return self.agency
        initial = (each.organisation for each in self.reviewed if each.stage is Stage.INITIAL)
        return next(initial, None)

    def is_of_agency(self, organisation: str) -> bool:
        """Whether an agency may work on this application. Source: 3.2(2)."""
        agency = self.responsible_agency
        return agency is None or is_same_organisation(agency, organisation)

    def refund(self, refund_no: str) -> Refund | None:
        """The refund of that number, if there is one."""
        return next((r for r in self.refunds if r.refund_no == refund_no), None)

    def paid_component(self, component: Component) -> PaidLine | None:
        """The payment that was owed for a component; excess payments do not count."""
        return next((p for p in self.paid if p.component is component and not p.excess), None)


def _opened(_: Candidacy | None, fact: e.ApplicationOpened, entry: Any) -> Candidacy:
    return Candidacy(
        id=fact.application_id,
        person_id=fact.person_id,
        occupation=fact.occupation,
        occupation_name=fact.occupation_name,
        edition=fact.edition,
        level=fact.level,
        job_type=fact.job_type,
        agency=fact.agency,
        opened_by=subject_of(entry),
    )


def _confirmed(state: Candidacy, fact: e.EligibilityConfirmed, entry: Any) -> Candidacy:
    return replace(state, status=Status.ELIGIBLE, required=fact.required_materials)


def _day(entry: Any) -> date:
    """The day of an event in Shanghai."""
    return shanghai_date(entry.occurred_at)


def _failed(status: Status) -> Callable[[Candidacy, Any, Any], Candidacy]:
    return lambda state, fact, entry: replace(state, status=status, closed_on=_day(entry))


def _paid(state: Candidacy, fact: Any, entry: Any) -> Candidacy:
    excess = isinstance(fact, e.ExcessPaymentReceived)
    lines = tuple(
        PaidLine(
            fact.payment_id,
            line.component,
            line.amount_fen,
            fact.provider,
            fact.channel_id,
            fact.provider_transaction_id,
            fact.paid_at,
            excess,
        )
        for line in fact.lines
    )
    status = state.status if excess else Status.PAID
    return replace(state, paid=state.paid + lines, status=status)


def _used(state: Candidacy, fact: e.FeeItemUsed, entry: Any) -> Candidacy:
    return replace(state, used=state.used | {fact.item})


def _document(state: Candidacy, fact: e.DocumentSubmitted, entry: Any) -> Candidacy:
    return replace(
        state,
        documents={**state.documents, fact.kind: fact.sha256},
        asked_again=state.asked_again - {fact.kind},
        submitters=state.submitters | {subject_of(entry)},
    )


def _submitted(state: Candidacy, fact: e.DocumentsSubmitted, entry: Any) -> Candidacy:
    return replace(
        state,
        status=Status.IN_REVIEW,
        round=fact.round,
        passed=(),
        asked_again=frozenset(),
        submitters=state.submitters | {subject_of(entry)},
    )


def _review(stage: Stage, status: Status | None) -> Callable[[Candidacy, Any, Any], Candidacy]:
    def fold(state: Candidacy, fact: Any, entry: Any) -> Candidacy:
        actor = actor_of(entry)
        mark = Reviewed(fact.round, stage, actor.subject, actor.organisation)
        passed = state.passed if status else (*state.passed, stage)
        reached = status or (Status.ENROLLED if stage is Stage.FINAL else state.status)
        return replace(
            state,
            closed_on=_day(entry) if reached is Status.REJECTED else None,
            reviewed=(*state.reviewed, mark),
            passed=passed,
            status=reached,
            asked_again=frozenset(getattr(fact, "missing", ())),
        )

    return fold


def _unchanged(state: Candidacy, fact: Any, entry: Any) -> Candidacy:
    # Decisions derive what is owed or refused from payments, uses and status.
    return state


def _ordered(state: Candidacy, fact: e.RefundOrdered, entry: Any) -> Candidacy:
    refund = Refund(
        fact.refund_no,
        fact.payment_id,
        fact.component,
        fact.amount_fen,
        "ordered",
        subject_of(entry),
    )
    return replace(state, refunds=(*state.refunds, refund))


def _refund(before: Candidacy, refund_no: str, **changes: Any) -> Candidacy:
    """The state after a change of one refund."""
    refunds = (replace(r, **changes) if r.refund_no == refund_no else r for r in before.refunds)
    return replace(before, refunds=tuple(refunds))


def _accepted(state: Candidacy, fact: e.RefundAccepted, entry: Any) -> Candidacy:
    number = fact.provider_refund_id
    return _refund(state, fact.refund_no, state="accepted", provider_refund_id=number)


def _settled(state: Candidacy, fact: e.RefundSettled, entry: Any) -> Candidacy:
    return _refund(state, fact.refund_no, state="settled", settled_at=fact.settled_at)


def _refund_state(reached: str) -> Callable[[Candidacy, Any, Any], Candidacy]:
    return lambda state, fact, entry: _refund(state, fact.refund_no, state=reached)


def _ticket(state: Candidacy, fact: e.AdmissionTicketIssued, entry: Any) -> Candidacy:
    return replace(state, session_id=fact.session_id, ticket_number=fact.ticket_number)


def _theory(state: Candidacy, fact: e.TheoryScoreRecorded, entry: Any) -> Candidacy:
    return replace(state, theory=Score(fact.marks, subject_of(entry)), verified=False)


def _practical(state: Candidacy, fact: e.PracticalScoreRecorded, entry: Any) -> Candidacy:
    return replace(state, practical=Score(fact.marks, subject_of(entry)), verified=False)


def _score_corrected(state: Candidacy, fact: e.ScoreCorrected, entry: Any) -> Candidacy:
    score = Score(fact.marks, subject_of(entry))
    # The published marks no longer apply.
    if fact.subject is e.Subject.THEORY:
        return replace(state, theory=score, verified=False, published=None)
    return replace(state, practical=score, verified=False, published=None)


def _verified(state: Candidacy, fact: e.ScoresVerified, entry: Any) -> Candidacy:
    return replace(state, verified=True)


def _published(state: Candidacy, fact: e.ResultPublished, entry: Any) -> Candidacy:
    return replace(
        state, notices=(*state.notices, fact.notice_id), published=(fact.theory, fact.practical)
    )


def _numbered(state: Candidacy, fact: e.CertificateNumbered, entry: Any) -> Candidacy:
    return replace(
        state, certificates={**state.certificates, fact.kind: Certificate(fact.kind, fact.number)}
    )


def _change(state: Candidacy, kind: CertificateKind, **changes: Any) -> Candidacy:
    changed = replace(state.certificates[kind], **changes)
    return replace(state, certificates={**state.certificates, kind: changed})


def _issued(state: Candidacy, fact: e.CertificateIssued, entry: Any) -> Candidacy:
    return _change(
        state, fact.kind, progress="issued", version=fact.version, issued_on=fact.issued_on
    )


def _reported(state: Candidacy, fact: e.CertificateReported, entry: Any) -> Candidacy:
    return _change(state, fact.kind, progress="reported", report_id=fact.report_id)


def _visible(state: Candidacy, fact: e.CertificateVisible, entry: Any) -> Candidacy:
    seen = state.certificates[fact.kind].seen
    return _change(state, fact.kind, progress="visible", seen=(*seen, fact.scope))


def _new_version(state: Candidacy, fact: Any, entry: Any) -> Candidacy:
    # A corrected certificate must be reported again; a reissued one has the same content.
    if isinstance(fact, e.CertificateCorrected):
        return _change(state, fact.kind, version=fact.version, progress="issued", seen=())
    return _change(state, fact.kind, version=fact.version)


def _progress(progress: str) -> Callable[[Candidacy, Any, Any], Candidacy]:
    return lambda state, fact, entry: _change(state, fact.kind, progress=progress)


def _revoked(state: Candidacy, fact: e.CertificateRevoked, entry: Any) -> Candidacy:
    return _change(
        state,
        fact.kind,
        standing="revoked",
        revoked_for=fact.reason_class,
        ended_on=_day(entry),
    )


def _standing(standing: str) -> Callable[[Candidacy, Any, Any], Candidacy]:
    return lambda state, fact, entry: _change(state, fact.kind, standing=standing)


FOLDS: dict[type[e.Fact], Callable[[Any, Any, Any], Candidacy]] = {
    e.ApplicationOpened: _opened,
    e.EligibilityConfirmed: _confirmed,
    e.EligibilityRefused: _failed(Status.NOT_ELIGIBLE),
    e.ApplicationWithdrawn: _failed(Status.WITHDRAWN),
    e.FeePaid: _paid,
    e.ExcessPaymentReceived: _paid,
    e.FeeItemUsed: _used,
    e.DocumentSubmitted: _document,
    e.DocumentsSubmitted: _submitted,
    e.InitialReviewPassed: _review(Stage.INITIAL, None),
    e.InitialReviewReturned: _review(Stage.INITIAL, Status.SUPPLEMENT),
    e.InitialReviewRejected: _review(Stage.INITIAL, Status.REJECTED),
    e.SecondReviewPassed: _review(Stage.SECOND, None),
    e.SecondReviewReturned: _review(Stage.SECOND, Status.SUPPLEMENT),
    e.SecondReviewRejected: _review(Stage.SECOND, Status.REJECTED),
    e.FinalReviewPassed: _review(Stage.FINAL, None),
    e.FinalReviewReturned: _review(Stage.FINAL, Status.SUPPLEMENT),
    e.FinalReviewRejected: _review(Stage.FINAL, Status.REJECTED),
    e.RefundEntitled: _unchanged,
    e.RefundRefused: _unchanged,
    e.RefundOrdered: _ordered,
    e.RefundApproved: _refund_state("approved"),
    e.RefundDeclined: _refund_state("declined"),
    e.RefundAccepted: _accepted,
    e.RefundSettled: _settled,
    e.RefundClosed: _refund_state("closed"),
    e.RefundAbnormal: _refund_state("abnormal"),
    e.AdmissionTicketIssued: _ticket,
    e.TheoryScoreRecorded: _theory,
    e.PracticalScoreRecorded: _practical,
    e.ScoreCorrected: _score_corrected,
    e.ScoresVerified: _verified,
    e.ResultPublished: _published,
    e.CertificateNumbered: _numbered,
    e.CertificateIssued: _issued,
    e.CertificateReported: _reported,
    e.CertificateAccepted: _progress("accepted"),
    e.CertificateRejected: _progress("rejected"),
    e.CertificateVisible: _visible,
    e.CertificateCorrected: _new_version,
    e.CertificateReissued: _new_version,
    e.CertificateSuspended: _standing("suspended"),
    e.CertificateReinstated: _standing("valid"),
    e.CertificateRevoked: _revoked,
}

"""One application as its facts leave it: the state that decisions look at.

`evolve` folds one fact; every application fact is named in `FOLDS`, so an unknown one fails
instead of being passed over. Nothing personal stands in a state: it may be kept as a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from domain import events as e
from domain.actors import actor_of, subject_of
from domain.documents.materials import MaterialKind
from domain.events import CertificateKind, Component, Item, RevocationReason, Stage
from domain.values.fast_replace import replace
from domain.values.primitives import Level, Marks, passes


class Status(StrEnum):
    """Where an application stands."""

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
"""States in which the application did not succeed (报考未成功). Source: 2.4(1)."""


@dataclass(frozen=True, slots=True)
class PaidLine:
    """One component of one payment, fen."""

    payment_id: str
    component: Component
    amount_fen: int
    provider: e.Provider
    provider_transaction_id: str
    paid_at: datetime
    excess: bool = False


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund on its way: ordered, approved, accepted, settled, closed, declined, abnormal."""

    refund_no: str
    payment_id: str
    component: Component
    amount_fen: int
    state: str
    ordered_by: str
    provider_refund_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Who gave which review in which round."""

    round: int
    stage: Stage
    subject: str
    organisation: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate: how far it came, and whether it counts.

    progress: numbered, issued, reported, accepted or rejected, visible.
    standing: valid, suspended or revoked. version: 0 until it is issued.
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


@dataclass(frozen=True, slots=True)
class Score:
    """A subject's score; marks None: absent."""

    marks: Marks | None
    recorded_by: str


@dataclass(frozen=True, slots=True)
class Candidacy:
    """State of one application.

    asked_again: documents a review asked for and which were not handed in since.
    notices: every notice the result stood in, the last one last. published: the marks as they
    stand in it; None before the first notice and after a correction.
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
    version: int = 0

    @property
    def notice_id(self) -> str | None:
        """The notice the result stands in at present."""
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

    def refund(self, refund_no: str) -> Refund | None:
        """The refund of that number, if there is one."""
        return next((r for r in self.refunds if r.refund_no == refund_no), None)

    def paid_component(self, component: Component) -> PaidLine | None:
        """What was paid and owed for a component, leaving excess payments aside."""
        return next((p for p in self.paid if p.component is component and not p.excess), None)


def _opened(_: Candidacy | None, f: e.ApplicationOpened, entry: Any) -> Candidacy:
    return Candidacy(
        id=f.application_id,
        person_id=f.person_id,
        occupation=f.occupation,
        occupation_name=f.occupation_name,
        edition=f.edition,
        level=f.level,
        job_type=f.job_type,
        opened_by=subject_of(entry),
    )


def _confirmed(s: Candidacy, f: e.EligibilityConfirmed, entry: Any) -> Candidacy:
    return replace(s, status=Status.ELIGIBLE, required=f.required_materials)


def _status(status: Status) -> Callable[[Candidacy, Any, Any], Candidacy]:
    return lambda s, f, entry: replace(s, status=status)


def _paid(s: Candidacy, f: Any, entry: Any) -> Candidacy:
    excess = isinstance(f, e.ExcessPaymentReceived)
    lines = tuple(
        PaidLine(
            f.payment_id,
            line.component,
            line.amount_fen,
            f.provider,
            f.provider_transaction_id,
            f.paid_at,
            excess,
        )
        for line in f.lines
    )
    status = s.status if excess else Status.PAID
    return replace(s, paid=s.paid + lines, status=status)


def _used(s: Candidacy, f: e.FeeItemUsed, entry: Any) -> Candidacy:
    return replace(s, used=s.used | {f.item})


def _document(s: Candidacy, f: e.DocumentSubmitted, entry: Any) -> Candidacy:
    return replace(
        s,
        documents={**s.documents, f.kind: f.sha256},
        asked_again=s.asked_again - {f.kind},
        submitters=s.submitters | {subject_of(entry)},
    )


def _submitted(s: Candidacy, f: e.DocumentsSubmitted, entry: Any) -> Candidacy:
    return replace(
        s,
        status=Status.IN_REVIEW,
        round=f.round,
        passed=(),
        asked_again=frozenset(),
        submitters=s.submitters | {subject_of(entry)},
    )


def _review(stage: Stage, status: Status | None) -> Callable[[Candidacy, Any, Any], Candidacy]:
    def fold(s: Candidacy, f: Any, entry: Any) -> Candidacy:
        actor = actor_of(entry)
        mark = Reviewed(f.round, stage, actor.subject, actor.organisation)
        passed = s.passed if status else (*s.passed, stage)
        reached = status or (Status.ENROLLED if stage is Stage.FINAL else s.status)
        return replace(
            s,
            reviewed=(*s.reviewed, mark),
            passed=passed,
            status=reached,
            asked_again=frozenset(getattr(f, "missing", ())),
        )

    return fold


def _same(s: Candidacy, f: Any, entry: Any) -> Candidacy:
    # What is owed or refused is worked out from payments, uses and status each time.
    return s


def _ordered(s: Candidacy, f: e.RefundOrdered, entry: Any) -> Candidacy:
    refund = Refund(
        f.refund_no, f.payment_id, f.component, f.amount_fen, "ordered", subject_of(entry)
    )
    return replace(s, refunds=(*s.refunds, refund))


def _accepted(s: Candidacy, f: e.RefundAccepted, entry: Any) -> Candidacy:
    moved = (
        replace(r, state="accepted", provider_refund_id=f.provider_refund_id)
        if r.refund_no == f.refund_no
        else r
        for r in s.refunds
    )
    return replace(s, refunds=tuple(moved))


def _refund_state(state: str) -> Callable[[Candidacy, Any, Any], Candidacy]:
    def fold(s: Candidacy, f: Any, entry: Any) -> Candidacy:
        moved = (replace(r, state=state) if r.refund_no == f.refund_no else r for r in s.refunds)
        return replace(s, refunds=tuple(moved))

    return fold


def _ticket(s: Candidacy, f: e.AdmissionTicketIssued, entry: Any) -> Candidacy:
    return replace(s, session_id=f.session_id, ticket_number=f.ticket_number)


def _theory(s: Candidacy, f: e.TheoryScoreRecorded, entry: Any) -> Candidacy:
    return replace(s, theory=Score(f.marks, subject_of(entry)), verified=False)


def _practical(s: Candidacy, f: e.PracticalScoreRecorded, entry: Any) -> Candidacy:
    return replace(s, practical=Score(f.marks, subject_of(entry)), verified=False)


def _score_corrected(s: Candidacy, f: e.ScoreCorrected, entry: Any) -> Candidacy:
    score = Score(f.marks, subject_of(entry))
    # Whatever the marks are now, they are not the ones that stand in public.
    if f.subject is e.Subject.THEORY:
        return replace(s, theory=score, verified=False, published=None)
    return replace(s, practical=score, verified=False, published=None)


def _verified(s: Candidacy, f: e.ScoresVerified, entry: Any) -> Candidacy:
    return replace(s, verified=True)


def _published(s: Candidacy, f: e.ResultPublished, entry: Any) -> Candidacy:
    return replace(s, notices=(*s.notices, f.notice_id), published=(f.theory, f.practical))


def _numbered(s: Candidacy, f: e.CertificateNumbered, entry: Any) -> Candidacy:
    return replace(s, certificates={**s.certificates, f.kind: Certificate(f.kind, f.number)})


def _change(s: Candidacy, kind: CertificateKind, **changes: Any) -> Candidacy:
    changed = replace(s.certificates[kind], **changes)
    return replace(s, certificates={**s.certificates, kind: changed})


def _issued(s: Candidacy, f: e.CertificateIssued, entry: Any) -> Candidacy:
    return _change(s, f.kind, progress="issued", version=f.version, issued_on=f.issued_on)


def _reported(s: Candidacy, f: e.CertificateReported, entry: Any) -> Candidacy:
    return _change(s, f.kind, progress="reported", report_id=f.report_id)


def _visible(s: Candidacy, f: e.CertificateVisible, entry: Any) -> Candidacy:
    seen = s.certificates[f.kind].seen
    return _change(s, f.kind, progress="visible", seen=(*seen, f.scope))


def _new_version(s: Candidacy, f: Any, entry: Any) -> Candidacy:
    # A corrected certificate has to be reported again; a reissued one says the same as before.
    if isinstance(f, e.CertificateCorrected):
        return _change(s, f.kind, version=f.version, progress="issued", seen=())
    return _change(s, f.kind, version=f.version)


def _progress(progress: str) -> Callable[[Candidacy, Any, Any], Candidacy]:
    return lambda s, f, entry: _change(s, f.kind, progress=progress)


def _revoked(s: Candidacy, f: e.CertificateRevoked, entry: Any) -> Candidacy:
    return _change(s, f.kind, standing="revoked", revoked_for=f.reason_class)


def _standing(standing: str) -> Callable[[Candidacy, Any, Any], Candidacy]:
    return lambda s, f, entry: _change(s, f.kind, standing=standing)


FOLDS: dict[type[e.Fact], Callable[[Any, Any, Any], Candidacy]] = {
    e.ApplicationOpened: _opened,
    e.EligibilityConfirmed: _confirmed,
    e.EligibilityRefused: _status(Status.NOT_ELIGIBLE),
    e.ApplicationWithdrawn: _status(Status.WITHDRAWN),
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
    e.RefundEntitled: _same,
    e.RefundRefused: _same,
    e.RefundOrdered: _ordered,
    e.RefundApproved: _refund_state("approved"),
    e.RefundDeclined: _refund_state("declined"),
    e.RefundAccepted: _accepted,
    e.RefundSettled: _refund_state("settled"),
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

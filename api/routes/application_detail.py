"""The details of an application: state, next step, documents, payments, refund options.

Everything is derived from the state that decisions use, so a command that follows the shown next
step, or refund option, is decided alike.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.routes.masking import PersonShown
from domain.documents.materials import check_completeness
from domain.events import Stage
from domain.states.application import CLOSED, Candidacy, Certificate, PaidLine, Status
from domain.steps.refund import LIVE, is_unsuccessful, refusal
from domain.steps.review import REVIEWER


class Due(BaseModel):
    """The next step: what it is, and whose it is."""

    step: Literal[
        "assessment", "payment", "documents", "submission", "supplement", "initial_review",
        "second_review", "final_review", "seat", "exam", "score_verification", "public_notice",
        "certificates", "issue", "report", "refund", "nothing",
    ]  # fmt: skip
    by: list[str] = Field(description="roles that can take it")


class RefundOption(BaseModel):
    """What would become of one component if its refund were asked for now. Source: 2.4."""

    payment_id: str
    component: str
    amount_fen: int = Field(description="fen")
    option: Literal["refundable", "refused", "not_yet", "in_progress", "settled", "nothing_paid"]
    refusal: str | None = Field(default=None, description="the rule that keeps it")
    clause: str | None = Field(default=None, description="clause of the source document")
    refund_no: str | None = None


class Money(BaseModel):
    """One component of one payment."""

    payment_id: str
    component: str
    amount_fen: int = Field(description="fen")
    provider: str
    paid_at: str
    excess: bool = Field(description="nobody owed it; all of it goes back")


class RefundShown(BaseModel):
    """One refund and how far it came."""

    refund_no: str
    payment_id: str
    component: str
    amount_fen: int = Field(description="fen")
    state: str


class DocumentsShown(BaseModel):
    """Which documents are needed, there and missing."""

    required: list[str]
    submitted: list[str]
    missing: list[str]
    asked_again: list[str] = Field(description="a review asked for them again")
    round: int


class ExamShown(BaseModel):
    """Seat, ticket and marks; marks null: absent, or not recorded."""

    session_id: str | None
    ticket_number: str | None
    theory: str | None
    practical: str | None
    recorded: list[str] = Field(description="subjects with a score, or an absence")
    verified: bool
    passed: bool | None = Field(description="null until the scores are verified")
    notice_id: str | None


class CertificateShown(BaseModel):
    """One of the two certificates."""

    kind: str
    number: str
    progress: str
    standing: str
    version: int
    issued_on: str | None
    seen: list[str]
    report_id: str | None


class ApplicationShown(BaseModel):
    """报考 · one application; its version and its person's make the ETag."""

    model_config = ConfigDict(extra="forbid")
    application_id: str
    person: PersonShown
    occupation: str
    occupation_name: str
    edition: str
    level: int
    level_name: str
    job_type: str | None
    status: str
    due: Due
    documents: DocumentsShown
    reviews_passed: list[str]
    payments: list[Money]
    items_used: list[str]
    refund_options: list[RefundOption]
    refunds: list[RefundShown]
    exam: ExamShown
    certificates: list[CertificateShown]
    version: int


def show_application(state: Candidacy, person: dict[str, Any]) -> dict[str, Any]:
    """The details of an application. person: masked for the caller."""
    return {
        "application_id": state.id,
        "person": person,
        **summary_of(state),
        "due": next_step(state),
        "documents": _documents(state),
        "reviews_passed": [stage.value for stage in state.passed],
        "payments": [_money(line) for line in state.paid],
        "items_used": sorted(item.value for item in state.used),
        "refund_options": [refund_option(state, line) for line in state.paid],
        "refunds": [
            {
                "refund_no": r.refund_no,
                "payment_id": r.payment_id,
                "component": r.component.value,
                "amount_fen": r.amount_fen,
                "state": r.state,
            }
            for r in state.refunds
        ],
        "exam": _exam(state),
        "certificates": [_certificate(c) for c in state.certificates.values()],
        "version": state.version,
    }


def summary_of(state: Candidacy) -> dict[str, Any]:
    """Occupation, level and status; also part of each row of the list."""
    return {
        "occupation": state.occupation,
        "occupation_name": state.occupation_name,
        "edition": state.edition,
        "level": int(state.level),
        "level_name": state.level.chinese_name,
        "job_type": state.job_type,
        "status": state.status.value,
    }


_REVIEWS = {
    Stage.INITIAL: "initial_review",
    Stage.SECOND: "second_review",
    Stage.FINAL: "final_review",
}


def next_step(state: Candidacy) -> dict[str, Any]:
    """The next step and the roles that take it. Source: source-document, steps 1 to 5."""
    if state.status in CLOSED:
        owed = any(refund_option(state, x)["option"] == "refundable" for x in state.paid)
        return _due("refund", "candidate", "finance") if owed else _due("nothing")
    if state.status is Status.OPENED:
        return _due("assessment")
    if state.status is Status.ELIGIBLE:
        return _due("payment", "finance")
    if state.status is Status.SUPPLEMENT:
        return _due("supplement", "candidate", "agency")
    if state.status is Status.PAID:
        missing = check_completeness(tuple(state.documents), state.required)
        return _due("documents" if missing else "submission", "candidate", "agency")
    if state.status is Status.IN_REVIEW:
        stage = state.next_stage()
        return _due(_REVIEWS[stage], REVIEWER[stage].value)
    return _due_after_enrolment(state)


def _due(step: str, *by: str) -> dict[str, Any]:
    return {"step": step, "by": list(by)}


def _due_after_enrolment(state: Candidacy) -> dict[str, Any]:
    """The next step of an enrolled applicant (报考成功): steps 4 and 5."""
    national = [c for c in state.certificates.values() if c.kind.value == "national"]
    if national:
        certificate = national[0]
        if certificate.progress == "numbered":
            return _due("issue", "registrar")
        waiting = certificate.progress in ("issued", "rejected")
        return _due("report", "registrar") if waiting else _due("nothing")
    if state.session_id is None:
        return _due("seat", "agency", "certifier")
    if state.theory is None or state.practical is None:
        return _due("exam", "examiner")
    if not state.verified:
        return _due("score_verification", "score_verifier")
    if state.published is None:
        return _due("public_notice", "certifier", "registrar")
    return _due("certificates", "registrar") if state.has_passed() else _due("nothing")


def _documents(state: Candidacy) -> dict[str, Any]:
    missing = check_completeness(tuple(state.documents), state.required)
    return {
        "required": [kind.value for kind in state.required],
        "submitted": sorted(kind.value for kind in state.documents),
        "missing": [problem.kind.value for problem in missing],
        "asked_again": sorted(kind.value for kind in state.asked_again),
        "round": state.round,
    }


def _money(line: PaidLine) -> dict[str, Any]:
    return {
        "payment_id": line.payment_id,
        "component": line.component.value,
        "amount_fen": line.amount_fen,
        "provider": line.provider.value,
        "paid_at": line.paid_at.isoformat(),
        "excess": line.excess,
    }


def refund_option(state: Candidacy, line: PaidLine) -> dict[str, Any]:
    """The outcome of a refund request for a component. Source: 2.4(1), 2.4(2)."""
    option: dict[str, Any] = {
        "payment_id": line.payment_id,
        "component": line.component.value,
        "amount_fen": line.amount_fen,
        "refusal": None,
        "clause": None,
        "refund_no": None,
    }
    live = [
        r
        for r in state.refunds
        if (r.payment_id, r.component) == (line.payment_id, line.component) and r.state in LIVE
    ]
    refused = refusal(state, line)
    if live:
        settled = live[0].state == "settled"
        option["refund_no"] = live[0].refund_no
        return option | {"option": "settled" if settled else "in_progress"}
    if line.amount_fen == 0:
        return option | {"option": "nothing_paid"}
    if refused is not None:
        reason = {"refusal": refused[0].value, "clause": refused[1]}
        return option | reason | {"option": "refused"}
    if line.excess or is_unsuccessful(state):
        clause = None if line.excess else "2.4(1)"
        return option | {"option": "refundable", "clause": clause}
    return option | {"option": "not_yet"}


def _exam(state: Candidacy) -> dict[str, Any]:
    theory, practical = state.marks()
    scores = (("theory", state.theory), ("practical", state.practical))
    return {
        "session_id": state.session_id,
        "ticket_number": state.ticket_number,
        "theory": None if theory is None else str(theory),
        "practical": None if practical is None else str(practical),
        "recorded": [name for name, score in scores if score is not None],
        "verified": state.verified,
        "passed": state.has_passed() if state.verified else None,
        "notice_id": state.notice_id,
    }


def _certificate(c: Certificate) -> dict[str, Any]:
    return {
        "kind": c.kind.value,
        "number": c.number,
        "progress": c.progress,
        "standing": c.standing,
        "version": c.version,
        "issued_on": None if c.issued_on is None else c.issued_on.isoformat(),
        "seen": list(c.seen),
        "report_id": c.report_id,
    }

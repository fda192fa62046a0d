"""Converts generated commands to domain commands, and the domain's states to the model's rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from domain import events as e
from domain.decision import Command
from domain.documents.materials import MaterialKind
from domain.eligibility.qualifications import Qualifications
from domain.events import Component, Item, Subject
from domain.steps.authority_report import AnswerReportRow, RecordVisibility
from domain.steps.certificate import (
    CorrectCertificate,
    IssueCertificates,
    ReinstateCertificate,
    ReissueCertificate,
    RevokeCertificate,
    SuspendCertificate,
)
from domain.steps.contested_registration import JoinRegistration, RejectRegistration
from domain.steps.exam import CloseSession, RecordScore, VerifyScores
from domain.steps.number_allocation import ImportNumber, NumberCertificates
from domain.steps.payment import UseItem
from domain.steps.public_notice import CloseNotice, FileObjection, OpenNotice, ResolveObjection
from domain.steps.refund import ApproveRefund, DeclineRefund, OrderRefund, RecordRefundOutcome
from domain.steps.review import Review, SubmitDocument, SubmitDocuments
from tests.support import commands as c
from tests.support.model import day_of, passes
from tests.support.model_results import Journey
from tests.support.world import World

CHANGES = {
    "correct": CorrectCertificate,
    "reissue": ReissueCertificate,
    "suspend": SuspendCertificate,
    "reinstate": ReinstateCertificate,
    "revoke": RevokeCertificate,
}
SHA256 = {f"f-{kind.value}": f"{n:064x}" for n, kind in enumerate(MaterialKind)}


def to_command(model: Journey, now: datetime, kind: str, fields: dict[str, Any]) -> Command:
    """Convert a generated command to a domain command."""
    return COMMAND_BUILDERS[kind](model, now, **fields)


def _of_app(cls: type[Command], **renamed: str) -> Callable[..., Command]:
    """A builder for a command whose fields are renamed ones of the generated command."""

    def build(model: Journey, now: datetime, **fields: Any) -> Command:
        names = {"app": "application_id"} | renamed
        return cls(**{names.get(name, name): value for name, value in fields.items()})

    return build


def _register(model: Journey, now: datetime, person: str, document: str, login: bool) -> Command:
    number = c.document_of(int(document[1:]))
    n = int(person[1:])
    return c.register(n, document_number=number, **({} if login else {"subject": None}))


def _open(model: Journey, now: datetime, app: str, person: str, level: int, eligible: bool) -> Any:
    return c.apply_for(
        application_id=app,
        person_id=person,
        level=level,
        qualifications=c.FOUR_YEARS if eligible else Qualifications(),
    )


def _pay(
    model: Journey, now: datetime, app: str, payment: str, txn: str, lines: list[tuple[str, int]]
) -> Command:
    return c.pay(
        application_id=app,
        payment_id=payment,
        provider_transaction_id=txn,
        paid_at=now,
        lines=tuple(e.FeeLine(component=Component(name), amount_fen=fen) for name, fen in lines),
    )


def _hand_in(model: Journey, now: datetime, app: str, kind: str, file: str) -> Command:
    material = c.material(MaterialKind(kind), sha256=SHA256[file])
    name = "scan.pdf"
    if material.photo:
        fresh = material.photo.model_copy(update={"taken_on": day_of(now)})
        material = material.model_copy(update={"photo": fresh})
        person = model.apps[app]["person"] if app in model.apps else "P1"
        document = model.persons.get(person, {"document": "d1"})["document"]
        name = f"{c.name_of(int(person[1:]))}_{c.document_of(int(document[1:]))}.jpg"
    sealed = c.sealed_name(material)
    return SubmitDocument(
        application_id=app, material=material, file_name=name, sealed_sha256=sealed
    )


def _review(model: Journey, now: datetime, app: str, **fields: Any) -> Command:
    missing = tuple(MaterialKind(kind) for kind in fields.pop("missing"))
    return Review(application_id=app, **fields, missing=missing, reason="单位证明未盖章")


def _outcome(
    model: Journey, now: datetime, app: str, refund: str, outcome: str, no: str, channel: str
) -> Command:
    return RecordRefundOutcome(
        application_id=app,
        refund_no=refund,
        outcome=outcome,
        provider_refund_id=no,
        channel=channel,
        settled_at=now if outcome == "settled" else None,
        reason="银行退回",
    )


def _schedule(model: Journey, now: datetime, session: str, starts: datetime, seats: int) -> Any:
    return c.schedule(
        session,
        theory_starts_at=starts,
        practical_starts_at=starts + timedelta(hours=4),
        rooms=(e.ExamRoom(room="101", seats=seats),),
    )


def _score(
    model: Journey, now: datetime, session: str, ticket: str, subject: str, marks: str | None
) -> Command:
    return RecordScore(
        session_id=session,
        ticket_number=ticket,
        subject=Subject(subject),
        marks=c.marks(marks),
    )


def _import(model: Journey, now: datetime, app: str, year: int, serial: int, site: str) -> Command:
    return ImportNumber(application_id=app, number=f"{site}{year % 100}4{serial:06d}")


def _change(
    model: Journey, now: datetime, app: str, kind: str, what: str, because: str | None = None
) -> Command:
    given = {"reason_class": because} if because else {}
    return CHANGES[what](application_id=app, kind=kind, reason="按规定办理", **given)


COMMAND_BUILDERS: dict[str, Callable[..., Any]] = {
    "register": _register,
    "propose_erasure": lambda m, now, person, proposal: c.propose_erasure(
        proposal=proposal, person=person
    ),
    "confirm_erasure": lambda m, now, person, proposal: c.confirm_erasure(
        proposal=proposal, person=person
    ),
    "join": lambda m, now, person: JoinRegistration(person_id=person),
    "refuse_registration": lambda m, now, person: RejectRegistration(
        person_id=person, reason="所持证件与登记不符"
    ),
    "open": _open,
    "withdraw": lambda m, now, app: c.withdraw(int(app[1:])),
    "pay": _pay,
    "use": lambda m, now, app, item: UseItem(application_id=app, item=Item(item)),
    "hand_in": _hand_in,
    "submit": _of_app(SubmitDocuments),
    "review": _review,
    "order_refund": _of_app(OrderRefund, payment="payment_id"),
    "approve_refund": _of_app(ApproveRefund, refund="refund_no"),
    "decline_refund": lambda m, now, app, refund: DeclineRefund(
        application_id=app, refund_no=refund, reason="账户待核实"
    ),
    "refund_outcome": _outcome,
    "schedule": _schedule,
    "seat": lambda m, now, app, session: c.seat(int(app[1:]), session),
    "end_session": lambda m, now, session: CloseSession(session_id=session, ended_at=now),
    "score": _score,
    "verify": lambda m, now, app, theory, practical: VerifyScores(
        application_id=app, theory=c.marks(theory), practical=c.marks(practical)
    ),
    "correct": lambda m, now, app, subject, marks, objection: c.correct(
        Subject(subject), marks, int(app[1:]), objection_id=objection
    ),
    "publish": lambda m, now, notice, session, reason: OpenNotice(
        notice_id=notice, session_id=session, late_reason=reason
    ),
    "object": lambda m, now, notice, app, objection, person, named=False: FileObjection(
        notice_id=notice,
        application_id=app,
        objection_id=objection,
        objector_id=person,
        objector_name="王证" if named else None,
        text="漏判一题",
    ),
    "resolve": lambda m, now, notice, objection, outcome: ResolveObjection(
        notice_id=notice, objection_id=objection, outcome=outcome, reason="已核对答卷"
    ),
    "close_notice": _of_app(CloseNotice, notice="notice_id"),
    "number": _of_app(NumberCertificates),
    "import_number": _import,
    "issue": _of_app(IssueCertificates),
    "change": _change,
    "report": lambda m, now, report, apps: c.report(report, ns=[int(a[1:]) for a in apps]),
    "answer": _of_app(AnswerReportRow, report="report_id"),
    "see": _of_app(RecordVisibility),
}


# --- the same rows out of the folded states -------------------------------------------------------


def _states(world: World, kind: str) -> list[Any]:
    return [s for name, s in world.states.items() if name.partition("-")[0] == kind]


def _text(marks: Any) -> str | None:
    return None if marks is None else str(marks)


def refund_lines(world: World) -> set[tuple[Any, ...]]:
    """As the model's `refund_lines`."""
    return {
        (
            state.id,
            line.payment_id,
            line.component.value,
            line.amount_fen,
            line.excess,
            tuple(
                (r.refund_no, r.state)
                for r in state.refunds
                if (r.payment_id, r.component) == (line.payment_id, line.component)
            ),
        )
        for state in _states(world, "application")
        for line in state.paid
    }


def score_board(world: World) -> set[tuple[Any, ...]]:
    """As the model's `score_board`, out of the published results and the state of their notices."""
    rows = set()
    for fact in world.facts(e.ResultPublished):
        notice = world.notice(fact.notice_id)
        theory, practical = _text(fact.theory), _text(fact.practical)
        assert fact.passed == (passes(theory) and passes(practical))
        withheld = fact.application_id in notice.withheld
        row = (notice.id, fact.application_id, theory, practical, fact.passed, withheld)
        rows.add((*row, notice.closed))
    return rows


def registry(world: World) -> set[tuple[Any, ...]]:
    """As the model's `registry`, folded from the facts of each number."""
    rows: dict[str, dict[str, Any]] = {}
    progress = {
        e.CertificateIssued: "issued",
        e.CertificateReported: "reported",
        e.CertificateAccepted: "accepted",
        e.CertificateRejected: "rejected",
        e.CertificateVisible: "visible",
        e.CertificateCorrected: "issued",
    }
    standing = {
        e.CertificateSuspended: "suspended",
        e.CertificateReinstated: "valid",
        e.CertificateRevoked: "revoked",
    }
    for fact in world.facts():
        if isinstance(fact, e.CertificateNumbered):
            rows[fact.number] = {
                "app": fact.application_id,
                "kind": fact.kind.value,
                "progress": "numbered",
                "standing": "valid",
                "version": 0,
            }
        elif type(fact) in progress | standing | {e.CertificateReissued: ""}:
            row = rows[fact.number]
            row["progress"] = progress.get(type(fact), row["progress"])
            row["standing"] = standing.get(type(fact), row["standing"])
            row["version"] = getattr(fact, "version", row["version"])
    return {(without_check(number), *row.values()) for number, row in rows.items()}


def without_check(number: str) -> str:
    """An OMC number without its check character; a national one as it is."""
    return number[:-2] if number.startswith("OMC") else number


START = datetime.combine(date(2026, 8, 3), datetime.min.time(), World().now.tzinfo)
"""A Monday, 08:00 in Shanghai; before the autumn holidays."""

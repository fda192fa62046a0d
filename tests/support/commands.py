"""Builders of complete, valid commands.

Candidate n is person `P<n>` with the login `candidate-<n>`, application `A<n>` and payment
`PAY<n>`; session, notice and report are S1, N1 and R1 unless another name is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from domain import events as e
from domain.actors import Actor
from domain.decision import Command
from domain.documents.materials import Background, MaterialFact, MaterialKind, PhotoFact
from domain.editions.contents import check_edition
from domain.editions.edition import EditionKind
from domain.eligibility.qualifications import Qualifications, WorkPeriod
from domain.events import Component, Item, Stage, Subject
from domain.steps import authority_report as reports
from domain.steps import (
    edition_adoption,
    enrolment,
    erasure,
    exam,
    ledger_setup,
    log_recovery,
    payment,
    public_notice,
    refund,
    service_keys,
)
from domain.steps import review as reviews
from domain.values.identity_documents import DocumentType
from domain.values.primitives import Level, Marks
from domain.values.sealed_fields import DataClass
from tests.support.actors import (
    AGENCY,
    CERTIFIER,
    OPERATOR,
    PROVINCE,
    REGISTRAR,
    REGULATOR,
)
from tests.support.key_facts import introduced, key_named
from tests.support.synthetic_identity import citizen
from tests.support.world import World

OCCUPATION = "4-01-02-07"
CERTIFICATION_FEE_FEN = 30_000
STUDY_MATERIAL_FEE_FEN = 18_000
THEORY_AT = datetime(2026, 9, 5, 1, 0, tzinfo=UTC)
PRACTICAL_AT = datetime(2026, 9, 5, 5, 0, tzinfo=UTC)
ENDED_AT = datetime(2026, 9, 5, 7, 0, tzinfo=UTC)
PUBLISHED_AT = datetime(2026, 9, 30, 2, 0, tzinfo=UTC)
NOTICE_ENDS_ON = date(2026, 10, 13)
CLOSED_AT = datetime(2026, 10, 13, 16, 0, tzinfo=UTC)  # 24:00 of the last day in Shanghai
ISSUED_AT = datetime(2026, 10, 15, 2, 0, tzinfo=UTC)
STAGES = ((Stage.INITIAL, AGENCY), (Stage.SECOND, CERTIFIER), (Stage.FINAL, PROVINCE))
FOUR_YEARS = Qualifications(work_periods=(WorkPeriod(started_on=date(2021, 1, 1), relation="own"),))
NAMES = "赵钱孙李周吴郑王冯陈"


def name_of(n: int) -> str:
    """The n-th candidate's name."""
    return f"{NAMES[n % 10]}{'一二三四五六七八九十'[n // 10 % 10]}"


def document_of(n: int) -> str:
    """The n-th candidate's citizen number."""
    return citizen(order=f"{n:03d}")


def when(text: str) -> datetime:
    """A moment in Shanghai's time, written `2026-10-13 23:59`."""
    return datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)


def open_ledger(**changed: Any) -> ledger_setup.OpenLedger:
    """Open the ledger of a Zhejiang organisation."""
    given: dict[str, Any] = {
        "organisation_name": "浙江今日头条科技有限公司",
        "issuer_name": "浙江今日头条科技有限公司",
        "unified_social_credit_code": "91330100MA00000000",
        "site_code": "S000033000123",
        "log_origin": "example.org/omc",
    }
    return ledger_setup.OpenLedger(**(given | changed))


def open_service(second: str = "operator-2") -> ledger_setup.OpenService:
    """Open the operator's own ledger."""
    return ledger_setup.OpenService(
        organisation_name="运营方", log_origin="example.org/service", second=second
    )


def copy_of(
    proposal: edition_adoption.ProposeEdition, position: int = 7
) -> edition_adoption.CopyEdition:
    """Copy what two persons adopted at a position of the ledger `service`."""
    return edition_adoption.CopyEdition(**dict(proposal), service_position=position)


def introduce_key(key_id: str = "0a1b2c3d", **changed: Any) -> service_keys.IntroduceKey:
    given = {"purpose": "index", "key_id": key_id, "algorithm": "hmac-sha256"}
    return service_keys.IntroduceKey(**(given | changed))


def continue_log(**changed: Any) -> log_recovery.ContinueLog:
    """The log goes on after a loss of five positions; its keys are named by the old origin."""
    origin = changed.get("old_origin", "example.org/omc")
    keys = {
        "log_key": introduced(key_named(origin)),
        "journal_key": e.KeyIntroduced(
            purpose=e.KeyPurpose.JOURNAL,
            key_id=hashlib.sha256(origin.encode()).hexdigest()[:8],
            algorithm="hmac-sha256",
        ),
    }
    given = {
        "old_origin": "example.org/omc",
        "old_head_size": 6,
        "old_head_root": "5d" * 32,
        "old_head_note": "a signed note",
        "first_position": 1,
        "positions_gone": 5,
        "proposed_by": "operator-1",
        "confirmed_by": "operator-2",
    }
    return log_recovery.ContinueLog(**(keys | given | changed))


def retire_key(key_id: str = "0a1b2c3d", **changed: Any) -> service_keys.RetireKey:
    given = {"purpose": "index", "key_id": key_id, "reason": "例行更换"}
    return service_keys.RetireKey(**(given | changed))


def fees(
    edition: str = "fees-1", valid_from: date = date(2026, 1, 1), **amounts: int
) -> edition_adoption.ProposeEdition:
    """A table of fees from 2026 on: levels four and five cost the same."""
    line = {
        "occupation": OCCUPATION,
        "certification_fee_fen": CERTIFICATION_FEE_FEN,
        "study_material_fee_fen": STUDY_MATERIAL_FEE_FEN,
        **amounts,
    }
    levels = (Level.INTERMEDIATE, Level.JUNIOR)
    content = {"source": "收费公示", "fees": [{**line, "level": int(level)} for level in levels]}
    return edition_adoption.ProposeEdition(
        kind=EditionKind.FEES, edition=edition, valid_from=valid_from, content=content
    )


def adopt(proposal: edition_adoption.ProposeEdition) -> edition_adoption.AdoptEdition:
    """A second person adopts what was proposed."""
    found = check_edition(proposal.kind, proposal.edition, proposal.valid_from, proposal.content)
    return edition_adoption.AdoptEdition(kind=found.kind, sha256=found.sha256)


def adopt_edition(
    world: Any, proposal: edition_adoption.ProposeEdition, at: datetime | None = None
) -> None:
    """Two persons adopt an edition in a world, in memory or on PostgreSQL."""
    world.do(proposal, by=OPERATOR, at=at)
    world.do(adopt(proposal), by=CERTIFIER, at=at)


def set_fees(world: Any, at: datetime | None = None, **changed: Any) -> None:
    """Two persons adopt a table of fees; see `fees`."""
    adopt_edition(world, fees(**changed), at)


def set_up() -> tuple[tuple[Command, Actor], ...]:
    """The commands that open a ledger with its fees, and who submits each."""
    return ((open_ledger(), OPERATOR), (fees(), OPERATOR), (adopt(fees()), CERTIFIER))


def register(n: int = 1, **changed: Any) -> enrolment.RegisterPerson:
    """An assistant registers candidate n."""
    given: dict[str, Any] = {
        "person_id": f"P{n}",
        "document_type": DocumentType.RESIDENT_ID,
        "document_number": document_of(n),
        "name": name_of(n),
        "subject": f"candidate-{n}",
    }
    return enrolment.RegisterPerson(**(given | changed))


def apply_for(n: int = 1, **changed: Any) -> enrolment.OpenApplication:
    """Candidate n applies for level four."""
    given: dict[str, Any] = {
        "application_id": f"A{n}",
        "person_id": f"P{n}",
        "occupation": OCCUPATION,
        "edition": "2021",
        "level": Level.INTERMEDIATE,
        "qualifications": FOUR_YEARS,
    }
    return enrolment.OpenApplication(**(given | changed))


def correct_person(n: int = 1, **changed: Any) -> enrolment.CorrectPerson:
    """Candidate n's name is corrected."""
    fields: dict[str, Any] = {
        "person_id": f"P{n}",
        "document_type": DocumentType.RESIDENT_ID,
        "document_number": document_of(n),
        "name": "赵壹",
        "reason": "姓名录入错误",
    }
    return enrolment.CorrectPerson(**(fields | changed))


def withdraw(n: int = 1) -> enrolment.WithdrawApplication:
    """Candidate n withdraws."""
    return enrolment.WithdrawApplication(application_id=f"A{n}", reason="个人原因")


def propose_erasure(
    n: int = 1, proposal: str | None = None, person: str | None = None
) -> erasure.ProposeErasure:
    """The erasure of the data of candidate n, or of another person, is proposed."""
    reason = e.ErasureReason.REQUEST
    person_id, proposal = person or f"P{n}", proposal or f"ER{n}"
    return erasure.ProposeErasure(person_id=person_id, proposal=proposal, reason=reason)


def confirm_erasure(
    n: int = 1, proposal: str | None = None, person: str | None = None
) -> erasure.ConfirmErasure:
    """A second person confirms it."""
    return erasure.ConfirmErasure(person_id=person or f"P{n}", proposal=proposal or f"ER{n}")


def erase(world: Any, n: int = 1, person: str | None = None) -> None:
    """Two persons erase somebody's data, in a world in memory or on PostgreSQL."""
    world.do(propose_erasure(n, person=person), by=REGISTRAR)
    world.do(confirm_erasure(n, person=person), by=REGULATOR)


def repeat_erasure(n: int = 1, *classes: DataClass) -> erasure.RepeatErasure:
    """A lost erasure of candidate n's data is done again, of all classes if none is named."""
    return erasure.RepeatErasure(
        person_id=f"P{n}",
        lost_event_id="0b6b8b0e-3f0e-5a3c-9d0e-0f6a1c2b3d4e",
        lost_position=99,
        classes=classes or tuple(DataClass),
    )


def destroyed(n: int = 1, *classes: DataClass) -> e.ErasureContinued:
    """The fact that keys of an erased person went, of all classes if none is named."""
    return e.ErasureContinued(
        person_id=f"P{n}",
        edition="retention-2026.1",
        destroyed=classes or tuple(DataClass),
        kept=(),
        awaited=(),
    )


def pay(n: int = 1, world: World | None = None, **changed: Any) -> payment.RecordPayment:
    """The whole fee of candidate n, paid by WeChat."""
    given: dict[str, Any] = {
        "application_id": f"A{n}",
        "payment_id": f"PAY{n}",
        "provider": e.Provider.WECHAT,
        "provider_transaction_id": f"4200{n:024d}",
        "merchant_order_no": f"ORDER{n}",
        "paid_at": world.now if world else when("2026-03-02 09:00"),
        "lines": both_lines(),
    }
    return payment.RecordPayment(**(given | changed))


def both_lines(
    certification_fen: int = CERTIFICATION_FEE_FEN, material_fen: int = STUDY_MATERIAL_FEE_FEN
) -> tuple[e.FeeLine, ...]:
    """The two components of a payment."""
    return (
        e.FeeLine(component=Component.CERTIFICATION_FEE, amount_fen=certification_fen),
        e.FeeLine(component=Component.STUDY_MATERIAL, amount_fen=material_fen),
    )


def pay_again(n: int = 1, **changed: Any) -> payment.RecordPayment:
    """A second payment of candidate n, which was not owed."""
    fields = {"payment_id": f"TWIN{n}", "provider_transaction_id": f"4299{n:024d}"}
    return pay(n, **(fields | changed))


def use(item: Item, n: int = 1) -> payment.UseItem:
    """Candidate n uses an item."""
    return payment.UseItem(application_id=f"A{n}", item=item)


def material(kind: MaterialKind, fill: str = "", **changed: Any) -> MaterialFact:
    """A valid file of a kind; each kind has its own digest unless `fill` sets one."""
    photo = kind is MaterialKind.PHOTO
    measures = PhotoFact(
        width_px=413,
        height_px=579,
        background=Background.WHITE,
        in_colour=True,
        taken_on=date(2026, 2, 1),
    )
    fields: dict[str, Any] = {
        "kind": kind,
        "sha256": (fill or "0123456"[tuple(MaterialKind).index(kind)]) * 64,
        "size_bytes": 40_000,
        "media_type": "image/jpeg" if photo else "application/pdf",
        "photo": measures if photo else None,
    }
    return MaterialFact(**(fields | changed))


def sealed_name(file: MaterialFact) -> str:
    """Instead of the hash of the sealed file: the same for the same file of a kind."""
    return hashlib.sha256(f"sealed {file.kind} {file.sha256}".encode()).hexdigest()


def hand_in(kind: MaterialKind, n: int = 1, **changed: Any) -> reviews.SubmitDocument:
    """Candidate n submits one file."""
    name = f"{name_of(n)}_{document_of(n)}.jpg" if kind is MaterialKind.PHOTO else "scan.pdf"
    given: dict[str, Any] = {
        "application_id": f"A{n}",
        "material": material(kind),
        "sealed_sha256": sealed_name(changed.get("material") or material(kind)),
        "file_name": name,
    }
    return reviews.SubmitDocument(**(given | changed))


NEEDED = (MaterialKind.IDENTITY_PROOF, MaterialKind.WORK_HISTORY, MaterialKind.PHOTO)
"""The documents that prove alternative 1.2(2)."""


def submit(n: int = 1) -> reviews.SubmitDocuments:
    """Candidate n sends the documents into review."""
    return reviews.SubmitDocuments(application_id=f"A{n}")


def give(stage: Stage, verdict: str, n: int = 1, **changed: Any) -> reviews.Review:
    """A review of candidate n's application; it has a reason unless it passes."""
    given: dict[str, Any] = {"application_id": f"A{n}", "stage": stage, "verdict": verdict}
    if verdict != "pass":
        given["reason"] = "单位证明未盖章"
    return reviews.Review(**(given | changed))


def schedule(session: str = "S1", **changed: Any) -> exam.ScheduleSession:
    """A session of level four with one room of five seats and one of two."""
    given: dict[str, Any] = {
        "session_id": session,
        "name": "2026年第3批",
        "occupation": OCCUPATION,
        "level": Level.INTERMEDIATE,
        "place": "杭州考点",
        "address": "杭州市余杭区",
        "theory_starts_at": THEORY_AT,
        "practical_starts_at": PRACTICAL_AT,
        "rooms": (e.ExamRoom(room="101", seats=5), e.ExamRoom(room="102", seats=2)),
    }
    return exam.ScheduleSession(**(given | changed))


def seat(n: int = 1, session: str = "S1", **changed: Any) -> exam.AssignSeat:
    """Candidate n gets a seat."""
    return exam.AssignSeat(application_id=f"A{n}", session_id=session, **changed)


def marks(text: str | None) -> Marks | None:
    """Marks as written; None: absent."""
    return None if text is None else Marks(text)


def score(subject: Subject, given: str | None, n: int = 1) -> exam.RecordScore:
    """The examiner's marks for candidate n in session S1, room 101, seat n."""
    return exam.RecordScore(
        session_id="S1", ticket_number=f"S1-01-{n:03d}", subject=subject, marks=marks(given)
    )


def verify(theory: str | None, practical: str | None, n: int = 1) -> exam.VerifyScores:
    """The second person's marks."""
    return exam.VerifyScores(
        application_id=f"A{n}", theory=marks(theory), practical=marks(practical)
    )


def correct(subject: Subject, given: str | None, n: int = 1, **changed: Any) -> exam.CorrectScore:
    """A correction of candidate n's score."""
    return exam.CorrectScore(
        application_id=f"A{n}", subject=subject, marks=marks(given), reason="漏判一题", **changed
    )


Pair = tuple[str | None, str | None]
PASSED: Pair = ("72", "65.5")


def publish(notice: str = "N1", session: str = "S1", **changed: Any) -> public_notice.OpenNotice:
    """Publish the results of a session."""
    return public_notice.OpenNotice(notice_id=notice, session_id=session, **changed)


def close(notice: str = "N1") -> public_notice.CloseNotice:
    """Close a notice."""
    return public_notice.CloseNotice(notice_id=notice)


def object_to(n: int = 1, by: int | None = None, **changed: Any) -> public_notice.FileObjection:
    """An objection O<n> of a candidate to the row of candidate n."""
    given: dict[str, Any] = {
        "notice_id": "N1",
        "application_id": f"A{n}",
        "objection_id": f"O{n}",
        "objector_id": f"P{by or n}",
        "text": "技能考核第二题漏判",
    }
    return public_notice.FileObjection(**(given | changed))


def object_as_outsider(n: int = 1, **changed: Any) -> public_notice.FileObjection:
    """As `object_to`, by somebody with the id W<n> who is not registered."""
    named = {"objector_id": f"W{n}", "objector_name": "王证", "objector_contact": "0571-87654321"}
    return object_to(n, **(named | changed))


def settle(outcome: str, n: int = 1, notice: str = "N1") -> public_notice.ResolveObjection:
    """The outcome of objection O<n>."""
    return public_notice.ResolveObjection(
        notice_id=notice, objection_id=f"O{n}", outcome=outcome, reason="已核对答卷"
    )


def report(
    report_id: str = "R1", batch: str = "new", ns: Sequence[int] = (1,)
) -> reports.FreezeReport:
    """Report the national certificates of candidates to the authority."""
    return reports.FreezeReport(
        report_id=report_id,
        batch_type=batch,
        file_sha256="f" * 64,
        application_ids=tuple(f"A{n}" for n in ns),
    )


def order(component: Component, payment_id: str = "PAY1", n: int = 1) -> refund.OrderRefund:
    """Request the refund of one component."""
    return refund.OrderRefund(application_id=f"A{n}", payment_id=payment_id, component=component)


def national_number(world: World, n: int = 1) -> str:
    """The national number of candidate n."""
    return world.candidacy(f"A{n}").certificates[e.CertificateKind.NATIONAL].number

"""Every fact of a candidate's journey, in the order in which they happen.

A fact is a frozen value in the past tense. It says what happened, never what should follow:
`domain.steps` decides, and the views fold these facts. `TOPIC` is the stored name and never
changes; a changed shape gets the next version and an upcaster (see
`domain.store.mapper.Catalogue`). `STREAM` names the kind of stream a fact belongs to.

One file because it is the list of everything that can
happen.
Reading order: the ledger, editions of rules, staff, the person, the five steps, refunds, the exam
session, the public notice, the certificates, the report to the authority.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from domain.documents.materials import MaterialKind
from domain.editions.edition import EditionKind
from domain.eligibility.explanations import Figures
from domain.values.identity_documents import DocumentType
from domain.values.primitives import Fen, Instant, Level, Marks, Sha256Hex
from domain.values.sealed_fields import DataClass, Sealed

ShortText = Annotated[str, Field(min_length=1, max_length=200)]
LongText = Annotated[str, Field(min_length=1, max_length=2000)]
Id = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$")]
# None: the key that sealed it was destroyed, or it was never given.
IdentityText = Annotated[str | None, Sealed(DataClass.IDENTITY)]
ContactText = Annotated[str | None, Sealed(DataClass.CONTACT)]
StatementText = Annotated[str | None, Sealed(DataClass.STATEMENTS)]
MoneyText = Annotated[str | None, Sealed(DataClass.MONEY)]
CertificateText = Annotated[str | None, Sealed(DataClass.CERTIFICATE)]
Remark = Annotated[LongText | None, Sealed(DataClass.REMARKS)]
ObjectorRemark = Annotated[LongText | None, Sealed(DataClass.REMARKS, of="objector_id")]
"""A text of somebody other than the applicant."""
MatterRemark = Annotated[LongText | None, Sealed(None)]
"""A text that concerns no one person."""
MatterText = Annotated[ShortText | None, Sealed(None)]
"""A short text that goes by the retention of its stream."""
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 3166 alpha-3")]
HttpsUrl = Annotated[
    str,
    Field(
        pattern=r"^https?://[^/\s?#]+(/[^\s?#]*[^/\s?#])?$",
        max_length=200,
        description="address without query, fragment or a slash at its end",
    ),
]
Base64 = Annotated[str, Field(pattern=r"^[0-9A-Za-z+/]{4,8000}={0,2}$")]


class Fact(BaseModel):
    """One thing that happened; the `data` part of a journal entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    TOPIC: ClassVar[str]
    STREAM: ClassVar[str]


class LedgerFact(Fact):
    """A fact about the ledger itself: its organisation and its keys."""

    STREAM: ClassVar[str] = "ledger"


class EditionFact(Fact):
    """A fact about the editions of one kind of rules (规则版本), which names the stream."""

    STREAM: ClassVar[str] = "edition"
    kind: EditionKind

    @property
    def edition_id(self) -> str:
        """The id of the stream."""
        return self.kind.value


class ActorFact(Fact):
    """A fact about a member of staff who acts in the ledger (工作人员)."""

    STREAM: ClassVar[str] = "actor"
    subject: Id = Field(description="pseudonym")

    @property
    def actor_id(self) -> str:
        """The id of the stream."""
        return self.subject


class PersonFact(Fact):
    """A fact about a person, independent of their applications."""

    STREAM: ClassVar[str] = "person"
    person_id: Id


class ApplicationFact(Fact):
    """A fact of one application (报考), the main journey; it names whose application it is."""

    STREAM: ClassVar[str] = "application"
    application_id: Id
    person_id: Id = Field(description="the applicant")


class SessionFact(Fact):
    """A fact of one exam session (考试场次)."""

    STREAM: ClassVar[str] = "session"
    session_id: Id


class NoticeFact(Fact):
    """A fact of one public notice (公示)."""

    STREAM: ClassVar[str] = "notice"
    notice_id: Id


class SeriesFact(Fact):
    """A fact of one number series: certificates of one kind, year and level."""

    STREAM: ClassVar[str] = "series"
    series_id: Id


class ReportFact(Fact):
    """A fact of one report to the authority (上报批次)."""

    STREAM: ClassVar[str] = "report"
    report_id: Id


# --- the ledger ---------------------------------------------------------------------------------


class LedgerOpened(LedgerFact):
    """An evaluation organisation's ledger was opened (评价机构备案). Source: 0.1, 0.2, 5.3."""

    TOPIC: ClassVar[str] = "ledger_opened.v1"
    organisation_name: ShortText = Field(description="评价机构, as filed; also on the seal")
    issuer_name: ShortText = Field(description="发证机构, as printed on the certificate")
    unified_social_credit_code: str = Field(pattern=r"^[0-9A-Z]{18}$")
    site_code: str = Field(pattern=r"^[SY][0-9]{12}$", description="first 13 of a number")
    log_origin: ShortText = Field(description="name of the ledger's log in its checkpoints")


class ServiceOpened(LedgerFact):
    """The operator's own ledger was opened, which says who its two first operators are (服务账本).

    It holds what belongs to no evaluation organisation, such as editions of rules for all.
    """

    TOPIC: ClassVar[str] = "service_opened.v1"
    organisation_name: ShortText = Field(description="运营方, who operates the service")
    log_origin: ShortText = Field(description="name of the ledger's log in its checkpoints")
    first: ShortText = Field(description="pseudonym")
    second: ShortText = Field(description="pseudonym")


class IssuerUrlSet(LedgerFact):
    """The address that links on certificates begin with, from a day on (发证地址). Source: 5.3."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)
    TOPIC: ClassVar[str] = "issuer_url_set.v1"
    url: HttpsUrl
    valid_from: date = Field(alias="from", description="first day on which it is printed")


class KeyPurpose(StrEnum):
    """What a key of the service is for; each purpose has its own key."""

    LOG = "log"  # signs the log's checkpoints
    JOURNAL = "journal"  # seals what is in the database
    COMMAND = "command"  # hashes requests
    IDEMPOTENCY = "idempotency"  # hashes idempotency keys; never replaced
    LOGIN = "login"  # finds the pseudonym of a login
    MASTER = "master"  # wraps the persons' keys
    INDEX = "index"  # blind indexes
    LINK = "link"  # links printed on certificates
    TOKEN = "token"  # signs access tokens


class KeyIntroduced(LedgerFact):
    """A key came into use (启用密钥). It holds from this fact on."""

    TOPIC: ClassVar[str] = "key_introduced.v1"
    purpose: KeyPurpose
    key_id: KeyId
    algorithm: ShortText
    public_key: Base64 | None = Field(default=None, description="base64; null: a secret key")
    signature_old: Base64 | None = Field(default=None, description="of the key before it")
    signature_new: Base64 | None = Field(default=None, description="of the key itself")


class KeyRetired(LedgerFact):
    """A key went out of use (停用密钥). It holds up to and including this fact."""

    TOPIC: ClassVar[str] = "key_retired.v1"
    purpose: KeyPurpose
    key_id: KeyId
    reason: MatterRemark


class LogContinuedElsewhere(LedgerFact):
    """A loss was accepted by two persons, and the log goes on under another origin (日志续立)."""

    TOPIC: ClassVar[str] = "log_continued_elsewhere.v1"
    old_origin: ShortText
    old_head_size: int = Field(ge=0, description="events in the largest known head of the old log")
    old_head_root: Sha256Hex
    old_head_note: str = Field(min_length=1, max_length=8000, description="that head, as signed")
    first_position: int = Field(ge=1, description="first position that is not the old log's")
    positions_gone: int = Field(ge=0, description="positions of the old log that are gone")
    new_origin: ShortText
    proposed_by: ShortText = Field(description="pseudonym")
    confirmed_by: ShortText = Field(description="pseudonym")


# --- editions of rules ----------------------------------------------------------------------------


class _Edition(EditionFact):
    """Fields that both steps of an edition have. Not a fact of its own."""

    edition: Id = Field(description="its name, unique within the kind")
    valid_from: date = Field(description="the first day on which it holds, Asia/Shanghai")
    content: dict[str, JsonValue] = Field(description="the rules, as the kind has them")
    sha256: Sha256Hex = Field(
        description="over the canonical JSON of {content, edition, kind, valid_from}"
    )


class EditionProposed(_Edition):
    """A person proposed an edition; it holds once another one adopts it."""

    TOPIC: ClassVar[str] = "edition_proposed.v1"


class EditionAdopted(_Edition):
    """A second person adopted an edition. It rules what is decided after this fact.

    Among those adopted, the one with the latest `valid_from` that is not after the effective day
    holds, of two with the same day the one adopted later. Source: 2.1-2.3, 5.1.
    """

    TOPIC: ClassVar[str] = "edition_adopted.v1"


class EditionCopied(_Edition):
    """An edition that was adopted in the ledger `service` holds here too, from this fact on.

    As if it were adopted here now; see EditionAdopted. Source: 2.1-2.3, 5.1.
    """

    TOPIC: ClassVar[str] = "edition_copied.v1"
    service_position: int = Field(ge=1, description="where the ledger `service` adopted it")
    in_the_way: Id | None = Field(
        default=None,
        description="the edition here that has its name, or the codes of its occupation; the copy "
        "holds never",
    )


# --- staff ----------------------------------------------------------------------------------------


class ActorNamed(ActorFact):
    """Who a member of staff is (工作人员署名), recorded with the first command of their login."""

    TOPIC: ClassVar[str] = "actor_named.v1"
    name: MatterText = Field(default=None, description="as their token says it")
    login: MatterText


# --- the person ---------------------------------------------------------------------------------


class PersonRegistered(PersonFact):
    """A person was registered. Source: 3.1(1)."""

    TOPIC: ClassVar[str] = "person_registered.v1"
    subject: str | None = Field(default=None, description="pseudonym of the person's own login")
    document_type: DocumentType
    document_country: Country | None = Field(
        default=None, description="ISO 3166 alpha-3, that issued a passport; null: another document"
    )
    document_number: IdentityText = Field(description="normalised")
    name: IdentityText
    phone: ContactText = None


class RegistrationContested(PersonFact):
    """A registration names a document that is another person's; who sees it decides.

    Source: 3.1(1).
    """

    TOPIC: ClassVar[str] = "registration_contested.v1"
    subject: str | None = Field(default=None, description="pseudonym of the login that registered")
    document_type: DocumentType
    document_country: Country | None = Field(
        default=None, description="ISO 3166 alpha-3, that issued a passport; null: another document"
    )
    document_number: IdentityText = Field(description="normalised")
    name: IdentityText
    phone: ContactText = None
    held_by: Id = Field(description="the person whose document it is so far")


class PersonRecognised(PersonFact):
    """An agency gave name and document of a registered person, and got their id. Source: 3.1(1)."""

    TOPIC: ClassVar[str] = "person_recognised.v1"
    document_type: DocumentType
    document_country: Country | None = Field(
        default=None, description="ISO 3166 alpha-3, that issued a passport; null: another document"
    )
    document_number: IdentityText = Field(description="normalised, as the agency gave it")
    name: IdentityText


class RegistrationJoined(PersonFact):
    """A contested registration is of the registered person; their document was seen.

    Source: 3.1(1).
    """

    TOPIC: ClassVar[str] = "registration_joined.v1"
    joined_to: Id = Field(description="the person they are")


class LoginAssigned(PersonFact):
    """A person got the login of the registration that was joined to them. Source: 3.1(1)."""

    TOPIC: ClassVar[str] = "login_assigned.v1"
    subject: str = Field(description="pseudonym of the person's own login")


class RegistrationRejected(PersonFact):
    """A contested registration is not of whose document it names. Source: 3.1(1)."""

    TOPIC: ClassVar[str] = "registration_rejected.v1"
    reason: Remark


class PersonCorrected(PersonFact):
    """A person's name or identity document was corrected. Source: 3.2(3)."""

    TOPIC: ClassVar[str] = "person_corrected.v1"
    document_type: DocumentType
    document_country: Country | None = Field(
        default=None, description="ISO 3166 alpha-3, that issued a passport; null: another document"
    )
    document_number: IdentityText
    name: IdentityText
    held_by: Id | None = Field(
        default=None, description="whose document it is while the registration is contested"
    )
    reason: Remark


class ErasureReason(StrEnum):
    """Why personal data were erased; a closed list, because the fact stays readable."""

    REQUEST = "request"  # 本人申请
    RETENTION_ENDED = "retention_ended"  # 保存期满
    DUPLICATE = "duplicate"  # 重复登记
    COURT = "court"  # 法院裁判


class KeptBy(StrEnum):
    """What keeps a class of a person's data: a rule of retention, or something that still runs."""

    ASSESSMENT_RECORDS = "assessment_records"  # 评价过程材料
    CERTIFICATES = "certificates"  # 证书数据, of one that has ended
    ACCOUNTING_RECORDS = "accounting_records"  # 会计凭证、会计账簿
    BANK_STATEMENTS = "bank_statements"  # 银行对账单
    CERTIFICATE_IN_FORCE = "certificate_in_force"  # 有效证书
    CERTIFICATE_DUE = "certificate_due"  # 合格待发证
    UNREPORTED_NUMBER = "unreported_number"  # 证书编号未上报
    OPEN_REFUND = "open_refund"  # 应退未退
    OPEN_NOTICE = "open_notice"  # 公示未结束
    OPEN_OBJECTION = "open_objection"  # 所提或所涉异议的公示未结束


class KeptClass(BaseModel):
    """Why one class of a person's data is kept, and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    data_class: DataClass
    because: KeptBy
    until: date | None = Field(description="the last day; null: until what keeps it has ended")


class ErasureProposed(PersonFact):
    """A registrar proposed to erase a person's data; a second person confirms the findings."""

    TOPIC: ClassVar[str] = "erasure_proposed.v1"
    proposal: Id
    reason: ErasureReason
    edition: Id = Field(description="the rules of retention that were applied")
    ends: tuple[DataClass, ...] = Field(description="classes that nothing keeps")
    kept: tuple[KeptClass, ...]
    findings_sha256: Sha256Hex = Field(
        description="over the canonical JSON of {edition, ends, kept, person_id, reason}"
    )


class _ErasureStep(PersonFact):
    """Fields of every fact that may destroy keys of a person. Not a fact of its own."""

    edition: Id = Field(description="the rules of retention that were applied")
    destroyed: tuple[DataClass, ...] = Field(description="classes whose keys went with this fact")
    kept: tuple[KeptClass, ...]
    awaited: tuple[Id, ...] = Field(description="the public notices whose end is waited for")


class ErasureConfirmed(_ErasureStep):
    """A second person confirmed an erasure. What nothing keeps can no longer be read."""

    TOPIC: ClassVar[str] = "erasure_confirmed.v1"
    proposal: Id
    reason: ErasureReason
    findings_sha256: Sha256Hex


class ErasureContinued(_ErasureStep):
    """What kept data of an erased person was examined again; classes may have gone with it."""

    TOPIC: ClassVar[str] = "erasure_continued.v1"


class ErasureRepeated(_ErasureStep):
    """An erasure that a restored database had lost was done again, as the register names it."""

    TOPIC: ClassVar[str] = "erasure_repeated.v1"
    lost_event_id: Id = Field(description="the event of the lost erasure")
    lost_position: int = Field(ge=1, description="its position in the log that was lost")
    classes: tuple[DataClass, ...] = Field(description="classes whose keys went with it")


# --- step 1: eligibility (资质评估) ---------------------------------------------------------------


class ApplicationOpened(ApplicationFact):
    """A candidate applied for an occupation and level. Source: 1.1."""

    TOPIC: ClassVar[str] = "application_opened.v1"
    occupation: ShortText = Field(description="occupation code, such as 4-01-02-07")
    occupation_name: ShortText
    edition: ShortText = Field(description="edition of the occupational standard")
    level: Level
    job_type: ShortText | None = Field(default=None, description="职业方向/工种")
    agency: ShortText | None = Field(
        default=None, description="报名机构, the organisation; null: the candidate has none"
    )


class UnmetRule(BaseModel):
    """One condition that a candidate did not meet; its words follow from rule and figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rule: int = Field(ge=0, le=99, description="place in the nearest alternative, from 0")
    predicate: str = Field(pattern=r"^[a-z_]{1,40}$", description="its kind, such as total_years")
    figures: Annotated[Figures | None, Sealed(DataClass.STATEMENTS)] = Field(
        description="what the candidate has of it"
    )


class EligibilityConfirmed(ApplicationFact):
    """The candidate meets at least one alternative of the rule set. Source: 1.2, 1.2(1)-(4)."""

    TOPIC: ClassVar[str] = "eligibility_confirmed.v1"
    edition: ShortText
    rule_set_sha256: Sha256Hex = Field(description="digest of the rules that were applied")
    alternative: ShortText = Field(description="the alternative met, such as 1.2(2)")
    also_met: tuple[str, ...] = ()
    as_of: date = Field(description="the day on which the years were counted")
    required_materials: tuple[MaterialKind, ...]
    qualifications: StatementText = Field(description="what the candidate stated, as JSON text")


class EligibilityRefused(ApplicationFact):
    """No alternative is met; says which came nearest and what is missing.

    Source: 1.2, 1.2(1)-(4).
    """

    TOPIC: ClassVar[str] = "eligibility_refused.v1"
    edition: ShortText
    rule_set_sha256: Sha256Hex
    nearest: ShortText
    missing: tuple[UnmetRule, ...]
    as_of: date
    qualifications: StatementText


class ApplicationWithdrawn(ApplicationFact):
    """The candidate gave the application up before 报考成功. Source: 2.4(1)."""

    TOPIC: ClassVar[str] = "application_withdrawn.v1"
    reason: Remark


# --- step 2: fees (缴纳费用) ---------------------------------------------------------------------


class Component(StrEnum):
    """A part of the fee with its own refund rule. Source: 2.1."""

    CERTIFICATION_FEE = "certification_fee"  # 认证费用
    STUDY_MATERIAL = "study_material"  # 学员资料


class Item(StrEnum):
    """What a component entitles to, once each. Source: 2.2, 2.3."""

    THEORY_EXAM = "theory_exam"
    PRACTICAL_EXAM = "practical_exam"
    CAREER_ASSESSMENT = "career_assessment"  # 职业测评
    RECORDED_COURSE = "recorded_course"  # 录播课
    MOCK_EXAM = "mock_exam"  # 模拟考试
    HANDBOOK = "handbook"  # 学员手册


ITEMS: dict[Component, tuple[Item, ...]] = {
    Component.CERTIFICATION_FEE: (Item.THEORY_EXAM, Item.PRACTICAL_EXAM),
    Component.STUDY_MATERIAL: (
        Item.CAREER_ASSESSMENT,
        Item.RECORDED_COURSE,
        Item.MOCK_EXAM,
        Item.HANDBOOK,
    ),
}


class Provider(StrEnum):
    """Who carried the money."""

    WECHAT = "wechat"
    ALIPAY = "alipay"
    BANK = "bank"


class EvidenceSource(StrEnum):
    """How the service learned what a provider did with money."""

    ANSWER = "answer"  # of the provider, to a request
    NOTIFICATION = "notification"  # sent by the provider
    QUERY = "query"  # asked for by the service
    BILL = "bill"  # a row of the provider's bill
    PERSON = "person"  # entered by somebody


class FeeLine(BaseModel):
    """How much of a payment is for one component."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    component: Component
    amount_fen: Fen


class _Evidence(ApplicationFact):
    """What a movement of money is known from. Not a fact of its own."""

    source: EvidenceSource
    evidence_sha256: Sha256Hex | None = Field(
        default=None, description="of the notification, answer or bill; null: none is stored"
    )


class _Payment(_Evidence):
    """Fields that every payment has. Not a fact of its own."""

    payment_id: Id
    provider: Provider
    channel_id: Id = Field(
        description="the merchant account (商户号); the provider's name where it has only one"
    )
    provider_transaction_id: ShortText
    merchant_order_no: ShortText
    paid_at: Instant
    lines: tuple[FeeLine, ...] = Field(min_length=1, max_length=2)


class FeePaid(_Payment):
    """The fee arrived, before documents may be handed in. Source: 2.1."""

    TOPIC: ClassVar[str] = "fee_paid.v1"


class ExcessPaymentReceived(_Payment):
    """Money arrived that was not owed (paid twice, or too late); all of it is refundable."""

    TOPIC: ClassVar[str] = "excess_payment_received.v1"
    reason: Literal["component_already_paid", "application_closed"]


class FeeItemUsed(ApplicationFact):
    """A paid item was used. The first use of study material ends its refund. Source: 2.4(1)."""

    TOPIC: ClassVar[str] = "fee_item_used.v1"
    payment_id: Id = Field(description="the payment that the item was paid with")
    component: Component
    item: Item
    used_at: Instant


# --- step 3: documents and three reviews (资料提交, 资料审核) -------------------------------------


class DocumentSubmitted(ApplicationFact):
    """One file was submitted; the blob store has it, sealed. Source: 3.1, 3.1(1)-(5).

    The key that seals the hash of the plain bytes seals the file, too.
    """

    TOPIC: ClassVar[str] = "document_submitted.v1"
    kind: MaterialKind
    sha256: Sha256Hex = Field(description="of the sealed file; its name in the blob store")
    plain_sha256: StatementText = Field(
        default=None, description="of the plain bytes; null: a photo"
    )
    photo_sha256: CertificateText = Field(
        default=None, description="of the plain bytes of a photo; null: another document"
    )
    size_bytes: int = Field(ge=1, le=10_485_760, description="bytes")
    media_type: ShortText
    taken_on: date | None = Field(default=None, description="photos: the day it was taken")


class DocumentsSubmitted(ApplicationFact):
    """The complete set of documents was sent into review. Source: 3.1, 3.2, 3.2(2)."""

    TOPIC: ClassVar[str] = "documents_submitted.v1"
    round: int = Field(ge=1, le=99, description="1 for the first hand-in, +1 per supplement")
    kinds: tuple[MaterialKind, ...]


class Stage(StrEnum):
    """The three reviews, in order. Source: 3.2(2)."""

    INITIAL = "initial"  # 初审, 报名机构
    SECOND = "second"  # 复审, 巨量认证
    FINAL = "final"  # 终审, 省职业技能等级认定管理系统


class _Review(ApplicationFact):
    """Fields that every review outcome has. Not a fact of its own."""

    round: int = Field(ge=1, le=99, description="the hand-in that was reviewed")


class _ReviewReturned(_Review):
    missing: tuple[MaterialKind, ...] = ()
    reason: Remark


class _ReviewRejected(_Review):
    reason: Remark


class InitialReviewPassed(_Review):
    """初审 passed. Source: 3.2(2)."""

    TOPIC: ClassVar[str] = "initial_review_passed.v1"


class InitialReviewReturned(_ReviewReturned):
    """初审 asks for a supplement. Source: 3.2(2)."""

    TOPIC: ClassVar[str] = "initial_review_returned.v1"


class InitialReviewRejected(_ReviewRejected):
    """初审 rejected: 报考未成功. Source: 3.2(2), 2.4(1)."""

    TOPIC: ClassVar[str] = "initial_review_rejected.v1"


class SecondReviewPassed(_Review):
    """复审 passed. Source: 3.2(2)."""

    TOPIC: ClassVar[str] = "second_review_passed.v1"


class SecondReviewReturned(_ReviewReturned):
    """复审 asks for a supplement. Source: 3.2(2)."""

    TOPIC: ClassVar[str] = "second_review_returned.v1"


class SecondReviewRejected(_ReviewRejected):
    """复审 rejected: 报考未成功. Source: 3.2(2), 2.4(1)."""

    TOPIC: ClassVar[str] = "second_review_rejected.v1"


class FinalReviewPassed(_Review):
    """终审 passed; this *is* 报考成功, there is no second fact for it.

    Source: 2.4(2), 2.4(3), 3.2(1), 3.2(2).
    """

    TOPIC: ClassVar[str] = "final_review_passed.v1"


class FinalReviewReturned(_ReviewReturned):
    """终审 asks for a supplement. Source: 3.2(2)."""

    TOPIC: ClassVar[str] = "final_review_returned.v1"


class FinalReviewRejected(_ReviewRejected):
    """终审 rejected: 报考未成功. Source: 3.2(2), 2.4(1)."""

    TOPIC: ClassVar[str] = "final_review_rejected.v1"


# --- refunds (退费) -------------------------------------------------------------------------------


class RefundLine(BaseModel):
    """The refundable amount of one component of one payment."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    payment_id: Id
    component: Component
    amount_fen: Fen


class RefundRefusal(StrEnum):
    """Why a component is not refundable."""

    FINAL_REVIEW_PASSED = "final_review_passed"  # 2.4(2)
    STUDY_MATERIAL_USED = "study_material_used"  # 2.4(1)


class NotRefundableLine(RefundLine):
    """One component of one payment that does not go back, and the rule that says so."""

    refusal: RefundRefusal
    clause: Literal["2.4(1)", "2.4(2)"]


class RefundEntitled(ApplicationFact):
    """The application failed, so a refund is due. Source: 2.4(1)."""

    TOPIC: ClassVar[str] = "refund_entitled.v1"
    lines: tuple[RefundLine, ...] = Field(min_length=1)
    not_refundable: tuple[NotRefundableLine, ...] = Field(description="paid, and not due back")
    clause: Literal["2.4(1)"] = "2.4(1)"


class RefundRefused(ApplicationFact):
    """A requested refund is not due by the rules; the candidate may appeal.

    Source: 2.4, 2.4(1), 2.4(2).
    """

    TOPIC: ClassVar[str] = "refund_refused.v1"
    payment_id: Id
    component: Component
    refusal: RefundRefusal
    clause: Literal["2.4(1)", "2.4(2)"]


class RefundOrdered(ApplicationFact):
    """A refund to the original payment was ordered, before any provider is called. Source: 2.4."""

    TOPIC: ClassVar[str] = "refund_ordered.v1"
    refund_no: Id = Field(description="R<payment>-<n>, the same on every retry")
    payment_id: Id
    component: Component
    amount_fen: Fen
    provider: Provider
    channel_id: Id = Field(description="the merchant account that the payment came to")
    provider_transaction_id: ShortText = Field(description="the payment it goes back to")
    clause: Literal["2.4(1)", "excess"]


class _Refund(ApplicationFact):
    """Fields that every step of a refund has. Not a fact of its own."""

    refund_no: Id


class RefundApproved(_Refund):
    """A second person approved the refund."""

    TOPIC: ClassVar[str] = "refund_approved.v1"


class RefundDeclined(_Refund):
    """A second person declined the refund; it may be ordered again."""

    TOPIC: ClassVar[str] = "refund_declined.v1"
    reason: Remark


class _RefundOutcome(_Refund, _Evidence):
    """Fields of everything that a provider says of a refund. Not a fact of its own."""

    provider_refund_fen: Fen | None = Field(
        default=None, description="fen that go back by the provider's account; null: not known"
    )
    fee_returned_fen: Fen | None = Field(
        default=None, description="fen of its fee that the provider gives back; null: not known"
    )
    received_account: MoneyText = Field(
        default=None,
        description="where the money goes or went, masked, as the provider names it; null: unknown",
    )


class RefundAccepted(_RefundOutcome):
    """The provider accepted the refund; the money has not arrived yet."""

    TOPIC: ClassVar[str] = "refund_accepted.v1"
    provider_refund_id: ShortText
    accepted_at: Instant | None = Field(
        default=None, description="by the provider's clock; null: not known"
    )


class RefundSettled(_RefundOutcome):
    """The money arrived. Source: 2.4(1)."""

    TOPIC: ClassVar[str] = "refund_settled.v1"
    provider_refund_id: ShortText
    channel: Literal["original", "balance", "other_balance", "other_bankcard", "bank_transfer"]
    settled_at: Instant = Field(description="by the provider's clock")


class RefundClosed(_RefundOutcome):
    """The provider closed the refund without paying; a new number is needed."""

    TOPIC: ClassVar[str] = "refund_closed.v1"
    closed_at: Instant | None = Field(
        default=None, description="by the provider's clock; null: not known"
    )
    reason: Remark


class RefundAbnormal(_RefundOutcome):
    """The provider could not reach the account; the debt stays open."""

    TOPIC: ClassVar[str] = "refund_abnormal.v1"
    abnormal_at: Instant | None = Field(
        default=None, description="by the provider's clock; null: not known"
    )
    reason: Remark


# --- step 4: the exam (学员考试) -----------------------------------------------------------------


class ExamRoom(BaseModel):
    """A room and how many seats it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    room: ShortText
    seats: int = Field(ge=1, le=1000, description="number of seats")


class ExamSessionScheduled(SessionFact):
    """Time and place of an exam were set. Source: 4.2, 4.3."""

    TOPIC: ClassVar[str] = "exam_session_scheduled.v1"
    name: ShortText
    occupation: ShortText
    level: Level
    place: ShortText
    address: ShortText
    theory_starts_at: Instant
    practical_starts_at: Instant
    subject_minutes: int = Field(ge=1, le=600, description="minutes a subject lasts")
    rooms: tuple[ExamRoom, ...] = Field(min_length=1, max_length=100)


class SeatAssigned(SessionFact):
    """A candidate got a seat. Source: 4.2."""

    TOPIC: ClassVar[str] = "seat_assigned.v1"
    application_id: Id
    person_id: Id = Field(description="the applicant")
    room: ShortText
    seat: int = Field(ge=1, le=1000, description="number within the room")
    ticket_number: Id


class AdmissionTicketIssued(ApplicationFact):
    """The admission ticket (准考证) is ready to download. Source: 4.1."""

    TOPIC: ClassVar[str] = "admission_ticket_issued.v1"
    session_id: Id
    ticket_number: Id
    room: ShortText
    seat: int = Field(ge=1, le=1000, description="number within the room")


class ExamSessionHeld(SessionFact):
    """The exam took place; its end starts the month for the public notice. Source: 5.1."""

    TOPIC: ClassVar[str] = "exam_session_held.v1"
    ended_at: Instant


class Subject(StrEnum):
    """The two subjects. Source: 4.3(1)."""

    THEORY = "theory"  # 理论知识考试
    PRACTICAL = "practical"  # 技能考核


class _Score(ApplicationFact):
    """Fields of one subject's score. Not a fact of its own."""

    session_id: Id
    marks: Marks | None = Field(default=None, description="0..100 in halves; None: absent (缺考)")


class TheoryScoreRecorded(_Score):
    """理论知识考试, as marked by the examiner. Source: 4.3(1), 4.3(2)."""

    TOPIC: ClassVar[str] = "theory_score_recorded.v1"


class PracticalScoreRecorded(_Score):
    """技能考核, as marked by the examiner. Source: 4.3(1), 4.3(2)."""

    TOPIC: ClassVar[str] = "practical_score_recorded.v1"


class ScoreCorrected(ApplicationFact):
    """A score was corrected; it needs verification and publication again. Source: 5.1."""

    TOPIC: ClassVar[str] = "score_corrected.v1"
    subject: Subject
    marks: Marks | None
    reason: Remark
    objection_id: Id | None = None


class ScoresVerified(ApplicationFact):
    """A second person compared both scores with the answer sheets. Source: 4.3(3)."""

    TOPIC: ClassVar[str] = "scores_verified.v1"
    theory: Marks | None
    practical: Marks | None
    passed: bool = Field(description="both 60 or more; absent is never a pass")


# --- step 5: public notice (成绩公示) -------------------------------------------------------------


class PublicNoticeOpened(NoticeFact):
    """Results were published for five working days. Source: 5.1."""

    TOPIC: ClassVar[str] = "public_notice_opened.v1"
    session_id: Id
    kind: Literal["main", "supplementary"]
    published_on: date
    ends_on: date = Field(description="last day, until 24:00 Asia/Shanghai")
    ends_on_is_provisional: bool = Field(description="past the calendar's last known day")
    working_days: int = Field(ge=1, le=30, description="working days")
    calendar_edition: ShortText
    deadline_on: date = Field(description="one month after the exam's end")
    late_reason: MatterRemark = None
    application_ids: tuple[Id, ...] = Field(min_length=1, max_length=1000)


class PublicNoticeExtended(NoticeFact):
    """A provisional end date was replaced once the year's calendar was known. Source: 5.1."""

    TOPIC: ClassVar[str] = "public_notice_extended.v1"
    ends_on: date
    ends_on_is_provisional: bool
    calendar_edition: ShortText


class ResultPublished(ApplicationFact):
    """A public notice lists the candidate's result. Source: 5.1."""

    TOPIC: ClassVar[str] = "result_published.v1"
    notice_id: Id
    session_id: Id
    ticket_number: Id
    theory: Marks | None
    practical: Marks | None
    passed: bool


class ObjectorNamed(PersonFact):
    """Who is not registered gave their name for an objection (异议人). Source: 5.1."""

    TOPIC: ClassVar[str] = "objector_named.v1"
    name: IdentityText = Field(description="of the person or the organisation that objects")
    contact: ContactText = Field(default=None, description="phone or address")


class ObjectionFiled(NoticeFact):
    """A person objected to a row within the period; the row waits for the outcome. Source: 5.1."""

    TOPIC: ClassVar[str] = "objection_filed.v1"
    objection_id: Id
    application_id: Id
    person_id: Id = Field(description="the applicant")
    objector_id: Id = Field(description="who objects; the text is sealed under their key")
    text: ObjectorRemark


class ObjectionDismissed(NoticeFact):
    """The check found the row correct."""

    TOPIC: ClassVar[str] = "objection_dismissed.v1"
    objection_id: Id
    application_id: Id
    person_id: Id = Field(description="the applicant")
    reason: Remark


class ObjectionUpheld(NoticeFact):
    """The check found the row wrong; it leaves this notice until it is corrected."""

    TOPIC: ClassVar[str] = "objection_upheld.v1"
    objection_id: Id
    application_id: Id
    person_id: Id = Field(description="the applicant")
    reason: Remark


class PublicNoticeClosed(NoticeFact):
    """The period is over and no objection is open; the remaining rows are final. Source: 5.1."""

    TOPIC: ClassVar[str] = "public_notice_closed.v1"
    final_count: int = Field(ge=0, le=1000, description="rows that became final")
    withheld: tuple[Id, ...] = ()


# --- step 5: certificates (获取证书) --------------------------------------------------------------


class CertificateKind(StrEnum):
    """The two certificates of 一试双证. Source: 0.2, 5.2."""

    NATIONAL = "national"  # 职业技能等级证书
    OMC = "omc"  # 巨量认证(OMC)证书


class SerialTaken(SeriesFact):
    """The next serial of a series was allocated, or one allocated by the authority was imported."""

    TOPIC: ClassVar[str] = "serial_taken.v1"
    kind: CertificateKind
    number: ShortText
    serial: int = Field(ge=1, le=9_999_999, description="counted within the series")
    application_id: Id
    person_id: Id = Field(description="the applicant")
    source: Literal["allocated", "imported"]


class _Certificate(ApplicationFact):
    """Fields that every step of a certificate has. Not a fact of its own."""

    kind: CertificateKind
    number: ShortText


class CertificateNumbered(_Certificate):
    """A certificate got its number. Source: 0.3, 5.3."""

    TOPIC: ClassVar[str] = "certificate_numbered.v1"
    source: Literal["allocated", "imported"]


class _CertificateText(_Certificate):
    """Fields of every fact that fixes what a certificate says. Not a fact of its own."""

    card_sha256: Sha256Hex = Field(description="of the public card under its salt")
    card_salt: CertificateText = Field(description="64 hex digits; given out with the card")


class CertificateIssued(_CertificateText):
    """A certificate was issued. Source: 5.2, 5.3, 5.4."""

    TOPIC: ClassVar[str] = "certificate_issued.v1"
    issued_on: date = Field(description="发证日期, as printed")
    version: int = Field(ge=1, le=999, description="1 for the first, +1 with each reissue")


class CertificateReported(_Certificate):
    """The number was reported to the authority. Source: 5.3."""

    TOPIC: ClassVar[str] = "certificate_reported.v1"
    report_id: Id


class CertificateAccepted(_Certificate):
    """The authority accepted the row. Source: 5.3."""

    TOPIC: ClassVar[str] = "certificate_accepted.v1"
    report_id: Id


class CertificateRejected(_Certificate):
    """The authority rejected the row. Source: 5.3."""

    TOPIC: ClassVar[str] = "certificate_rejected.v1"
    report_id: Id
    reason: Remark


class CertificateVisible(_Certificate):
    """The certificate was found in the public lookup. Source: 5.3."""

    TOPIC: ClassVar[str] = "certificate_visible.v1"
    scope: Literal["province", "nation"]
    seen_on: date


class CertificateCorrected(_CertificateText):
    """The certificate's text was corrected: same number, next version. Source: 3.2(3)."""

    TOPIC: ClassVar[str] = "certificate_corrected.v1"
    version: int = Field(ge=2, le=999, description="one more than the version before")
    reason: Remark


class CertificateReissued(_CertificateText):
    """A lost or damaged certificate was issued again: same number, next version. Source: 5.3."""

    TOPIC: ClassVar[str] = "certificate_reissued.v1"
    version: int = Field(ge=2, le=999, description="one more than the version before")
    reissued_on: date
    reason: Remark


class CertificateSuspended(_Certificate):
    """The certificate is not valid for the time being."""

    TOPIC: ClassVar[str] = "certificate_suspended.v1"
    version: int = Field(ge=1, le=999, description="the version that it concerns")
    reason: Remark


class CertificateReinstated(_Certificate):
    """A suspended certificate is valid again."""

    TOPIC: ClassVar[str] = "certificate_reinstated.v1"
    version: int = Field(ge=1, le=999, description="the version that it concerns")
    reason: Remark


class RevocationReason(StrEnum):
    """Why a certificate was revoked, as shown to the public."""

    FALSE_DOCUMENTS = "false_documents"  # 资料不实
    EXAM_FRAUD = "exam_fraud"  # 考试作弊
    ISSUED_IN_ERROR = "issued_in_error"  # 误发
    HOLDER_REQUEST = "holder_request"  # 本人申请


class CertificateRevoked(_Certificate):
    """The certificate is permanently void. Source: 3.2(3)."""

    TOPIC: ClassVar[str] = "certificate_revoked.v1"
    version: int = Field(ge=0, le=999, description="the version that it concerns; 0: none issued")
    reason_class: RevocationReason
    reason: Remark


# --- the report to the authority (上报) -----------------------------------------------------------


class ReportRow(BaseModel):
    """One certificate of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    application_id: Id
    number: ShortText


class ReportFrozen(ReportFact):
    """The rows of the eleven-column report were stored; their hash fixes them. Source: 5.3.

    The blob store has a line a row, in order of number, each sealed under its person's key.
    """

    TOPIC: ClassVar[str] = "report_frozen.v1"
    batch_type: Literal["new", "correction", "addendum"] = Field(description="新增, 更正, 补录")
    file_sha256: Sha256Hex = Field(description="of the sealed rows; their name in the blob store")
    rows: tuple[ReportRow, ...] = Field(min_length=1, max_length=500)


# --- groups of facts, for readers that treat a part of the procedure alike -----------------------

KEY = (KeyIntroduced, KeyRetired)
LEDGER = (LedgerOpened, ServiceOpened, IssuerUrlSet, *KEY, LogContinuedElsewhere)
EDITION = (EditionProposed, EditionAdopted, EditionCopied)
ACTOR = (ActorNamed,)
REGISTRATION = (PersonRegistered, RegistrationContested)
SETTLEMENT = (PersonRecognised, RegistrationJoined, LoginAssigned, RegistrationRejected)
ERASURE = (ErasureConfirmed, ErasureContinued, ErasureRepeated)
FORGETTING = (ErasureConfirmed, ErasureRepeated)
"""The facts from which on document and login of a person are free."""
PERSON = (*REGISTRATION, *SETTLEMENT, PersonCorrected, ErasureProposed, *ERASURE)
ELIGIBILITY = (EligibilityConfirmed, EligibilityRefused)
APPLICATION = (ApplicationOpened, ApplicationWithdrawn)
PAYMENT = (FeePaid, ExcessPaymentReceived, FeeItemUsed)
DOCUMENT = (DocumentSubmitted, DocumentsSubmitted)
INITIAL_REVIEW = (InitialReviewPassed, InitialReviewReturned, InitialReviewRejected)
SECOND_REVIEW = (SecondReviewPassed, SecondReviewReturned, SecondReviewRejected)
FINAL_REVIEW = (FinalReviewPassed, FinalReviewReturned, FinalReviewRejected)
REVIEW = (*INITIAL_REVIEW, *SECOND_REVIEW, *FINAL_REVIEW)
REFUND = (
    *(RefundEntitled, RefundRefused, RefundOrdered, RefundApproved, RefundDeclined),
    *(RefundAccepted, RefundSettled, RefundClosed, RefundAbnormal),
)
EXAM_SESSION = (ExamSessionScheduled, ExamSessionHeld)
SEAT = (SeatAssigned, AdmissionTicketIssued)
SCORE = (TheoryScoreRecorded, PracticalScoreRecorded, ScoreCorrected, ScoresVerified)
NOTICE = (PublicNoticeOpened, PublicNoticeExtended, PublicNoticeClosed)
OBJECTION = (ObjectorNamed, ObjectionFiled, ObjectionDismissed, ObjectionUpheld)
CERTIFICATE_TEXT = (CertificateIssued, CertificateCorrected, CertificateReissued)
CERTIFICATE = (
    *(CertificateNumbered, CertificateIssued, CertificateReported, CertificateAccepted),
    *(CertificateRejected, CertificateVisible, CertificateCorrected, CertificateReissued),
    *(CertificateSuspended, CertificateReinstated, CertificateRevoked),
)


def _catalogue() -> dict[str, type[Fact]]:
    found: dict[str, type[Fact]] = {}
    waiting = [Fact]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        # A fact of two base classes is met twice.
        if "TOPIC" in vars(cls) and found.setdefault(cls.TOPIC, cls) is not cls:
            raise ValueError(f"two facts have the topic {cls.TOPIC}")
    return dict(sorted(found.items()))


CATALOGUE: dict[str, type[Fact]] = _catalogue()
"""Topic -> class of every fact."""

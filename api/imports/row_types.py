"""What can be imported: for each type of row its columns and the commands it may become.

A row's command is the one that the HTTP service would make of it, so every rule applies to it. The
types are in the order of a journey; rows of the same moment are sent in this order. A row becomes
its command by naming its values, with the row's own id as `id_field`; where that is not enough,
`build` (`api.imports.row_commands`) makes the command.
Reading order: RowType, the shared columns, ROW_TYPES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from api.files.tables import Column, Schema, fold_of
from api.imports import cell_parsers as v
from api.imports import qualification_parser as claims
from api.imports import row_commands as build
from api.imports.row_commands import RowCommand, RowContext
from domain.actors import Role
from domain.command_spec import CommandSpec
from domain.steps import (
    authority_report,
    certificate,
    contested_registration,
    edition_adoption,
    enrolment,
    erasure,
    exam,
    ledger_setup,
    number_allocation,
    payment,
    public_notice,
    refund,
    review,
)

Builder = Callable[[dict[str, Any], RowContext], RowCommand]
"""Makes the command of a row from its values by column."""

fold_title = fold_of(r"\s_\-*:")
"""The fold of import headers and file names: spaces, underscores and hyphens never count."""


@dataclass(frozen=True)
class RowType:
    """One type of row, and of file.

    name, titles: how the name of such a file begins. specs: the commands a row may become, all for
    the same roles. columns: in addition to COMMON. id_field: the field of the command that the
    row's own id fills. build: makes the command; None: by naming its values. own: candidates do it
    themselves, so a login missing from the staff list is taken for a candidate.
    """

    name: str
    titles: tuple[str, ...]
    specs: tuple[CommandSpec[Any], ...]
    columns: tuple[Column, ...]
    id_field: str | None = None
    build: Builder | None = None
    own: bool = False
    schema: Schema = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", Schema((*COMMON, *self.columns), fold_title))

    @property
    def roles(self) -> frozenset[Role]:
        """Who may do it."""
        return self.specs[0].roles

    def command(self, values: dict[str, Any], row: RowContext) -> RowCommand:
        """The command of a row. Raises: CellFault, ValidationError, LedgerError, OSError."""
        if self.build is not None:
            return self.build(values, row)
        own_id = {} if self.id_field is None else {self.id_field: row.id}
        return RowCommand(self.specs[0].command(**own_id, **values))

    def column_of_field(self, field: str) -> Column | None:
        """The column that fills a field of the command."""
        if field == self.id_field:
            return ID
        named = (c for c in (*self.columns, ID) if field in (c.name, *c.fields))
        return next(named, None)


ID = Column("id", ("编号", "序号", "row id"), required=True)
OCCURRED_AT = Column("occurred_at", ("发生时间", "办理时间", "time"), v.moment, required=True)
BY = Column("by", ("经办人", "操作人", "actor"), required=True)
COMMON = (
    ID,
    OCCURRED_AT,
    BY,
    Column("role", ("角色",), v.role),
    Column("organisation", ("机构", "所属机构", "organization")),
    Column("on_behalf_of", ("代办对象",), v.on_behalf_of),
)
"""Columns of every row type."""

APPLICATION = Column("application_id", ("报考编号", "申请编号"), required=True)
PERSON = Column("person_id", ("人员编号", "考生编号"), required=True)
SESSION = Column("session_id", ("考试场次", "场次编号"), required=True)
NOTICE = Column("notice_id", ("公示编号",), required=True)
OCCUPATION = Column("occupation", ("职业编码", "职业"), required=True)
LEVEL = Column("level", ("等级", "职业技能等级"), v.level, required=True)
REASON = Column("reason", ("原因", "事由"))
EDITION = (
    Column("kind", ("规则类别",), v.edition_kind, required=True),
    Column("path", ("文件", "文件路径"), required=True),
)
"""The kind of an edition, and its file."""
AMOUNTS = tuple(
    column
    for name, title in (("certification_fee", "认证费用"), ("study_material_fee", "学员资料"))
    for column in (
        Column(f"{name}_yuan", (f"{title}(元)", title), v.yuan, fields=(f"{name}_fen", "lines")),
        Column(f"{name}_fen", (f"{title}(分)",), v.whole),
    )
)
"""The two components of the fee, in yuan or in fen."""
DOCUMENT = (
    Column("document_type", ("证件类型",), v.document_type, required=True),
    Column("document_country", ("签发国", "签发国家")),
    Column("document_number", ("证件号码", "身份证号"), required=True, personal=True),
    Column("name", ("姓名",), required=True, personal=True),
)


def claims_column(name: str, title: str) -> Column:
    """The column of one field of the stated qualifications."""
    return Column(name, (title,), lambda cell: claims.parse_entries(name, cell), personal=True)


def required(column: Column) -> Column:
    """The same column, required."""
    return column._replace(required=True)


ROW_TYPES = (
    RowType(
        "ledger",
        ("账本", "评价机构"),
        (ledger_setup.OPEN_LEDGER,),
        (
            Column("organisation_name", ("评价机构", "机构名称"), required=True),
            Column("issuer_name", ("发证机构",), required=True),
            Column("unified_social_credit_code", ("统一社会信用代码",), required=True),
            Column("site_code", ("站点编码", "机构编码"), required=True),
            Column("log_origin", ("日志名称",), required=True),
        ),
        build=build.open_ledger,
    ),
    RowType(
        "issuer_urls",
        ("发证地址",),
        (ledger_setup.SET_ISSUER_URL,),
        (
            Column("url", ("地址",), required=True),
            Column("valid_from", ("生效日期",), v.day),
        ),
    ),
    RowType(
        "editions",
        ("规则版本", "规则拟定"),
        (edition_adoption.PROPOSE_EDITION,),
        EDITION,
        build=build.propose_edition,
    ),
    RowType(
        "edition_adoptions",
        ("规则启用",),
        (edition_adoption.ADOPT_EDITION,),
        EDITION,
        build=build.adopt_edition,
    ),
    RowType(
        "persons",
        ("人员", "考生", "people"),
        (enrolment.REGISTER_PERSON,),
        (
            *DOCUMENT,
            Column("phone", ("电话", "手机"), personal=True),
            Column("subject", ("登录名", "login")),
        ),
        own=True,
        id_field="person_id",
    ),
    RowType(
        "joined_registrations",
        ("并入登记",),
        (contested_registration.JOIN_REGISTRATION,),
        (PERSON,),
    ),
    RowType(
        "rejected_registrations",
        ("登记驳回",),
        (contested_registration.REJECT_REGISTRATION,),
        (PERSON, required(REASON)),
    ),
    RowType(
        "person_corrections",
        ("人员更正",),
        (enrolment.CORRECT_PERSON,),
        (PERSON, *DOCUMENT, required(REASON)),
    ),
    RowType(
        "applications",
        ("报考", "报名", "申请"),
        (enrolment.OPEN_APPLICATION,),
        (
            PERSON,
            OCCUPATION,
            Column("edition", ("标准版本",), required=True),
            LEVEL,
            Column("job_type", ("工种", "职业方向")),
            Column("agency", ("报名机构",)),
            Column("as_of", ("计算截止日",), v.day),
            Column("birth_date", ("出生日期",), v.day, personal=True),
            claims_column("work_periods", "工作经历"),
            claims_column("certificates", "已有证书"),
            claims_column("titles", "职称"),
            claims_column("trainings", "培训"),
            claims_column("education", "学历"),
            claims_column("apprenticeships", "学徒"),
            Column("intends_to_work", ("拟从业",), v.yes, personal=True),
            Column("qualifications", ("报考条件",), claims.parse_object, personal=True),
        ),
        own=True,
        id_field="application_id",
        build=build.open_application,
    ),
    RowType(
        "payments",
        ("缴费", "支付"),
        (payment.RECORD_PAYMENT,),
        (
            APPLICATION,
            Column("provider", ("支付渠道",), v.provider, required=True),
            Column("channel_id", ("商户号",)),
            Column("provider_transaction_id", ("渠道交易号", "交易号"), required=True),
            Column("merchant_order_no", ("商户订单号",), required=True),
            Column("paid_at", ("支付时间",), v.moment, required=True),
            *AMOUNTS,
            Column("source", ("消息来源",), v.evidence_source),
            Column("evidence_sha256", ("凭据指纹",)),
        ),
        id_field="payment_id",
        build=build.record_payment,
    ),
    RowType(
        "item_uses",
        ("资料使用", "学习记录"),
        (payment.USE_ITEM,),
        (
            APPLICATION,
            Column("item", ("项目",), v.item, required=True),
            Column("used_at", ("使用时间",), v.moment),
        ),
        own=True,
    ),
    RowType(
        "documents",
        ("资料", "材料"),
        (review.SUBMIT_DOCUMENT,),
        (
            APPLICATION,
            Column("kind", ("材料类型",), v.material, required=True, fields=("material",)),
            Column("path", ("文件",), required=True, personal=True),
            Column("file_name", ("文件名",), personal=True),
            Column("taken_on", ("拍摄日期",), v.day),
        ),
        own=True,
        build=build.submit_document,
    ),
    RowType(
        "submissions",
        ("提交审核", "资料提交"),
        (review.SUBMIT_DOCUMENTS,),
        (APPLICATION,),
        own=True,
    ),
    RowType(
        "reviews",
        ("审核", "资料审核"),
        (review.REVIEW,),
        (
            APPLICATION,
            Column("stage", ("环节", "审核环节"), v.stage, required=True),
            Column("verdict", ("结论", "审核结论"), v.verdict, required=True),
            Column("round", ("轮次",), v.whole),
            Column("missing", ("需补材料",), v.listed(v.material)),
            REASON,
        ),
    ),
    RowType(
        "withdrawals",
        ("放弃报考", "撤回"),
        (enrolment.WITHDRAW_APPLICATION,),
        (APPLICATION, required(REASON)),
        own=True,
    ),
    RowType(
        "refunds",
        ("退费", "退费申请"),
        (refund.ORDER_REFUND,),
        (
            APPLICATION,
            Column("payment_id", ("缴费编号",), required=True),
            Column("component", ("费用项目",), v.component, required=True),
        ),
        own=True,
    ),
    RowType(
        "refund_decisions",
        ("退费审批",),
        (refund.APPROVE_REFUND, refund.DECLINE_REFUND),
        (
            APPLICATION,
            Column("refund_no", ("退费单号",), required=True),
            Column("decision", ("审批结论",), v.refund_decision, required=True),
            REASON,
        ),
        build=build.decide_refund,
    ),
    RowType(
        "refund_outcomes",
        ("退费结果",),
        (refund.RECORD_REFUND_OUTCOME,),
        (
            APPLICATION,
            Column("refund_no", ("退费单号",), required=True),
            Column("outcome", ("结果",), v.refund_outcome, required=True),
            Column("provider_refund_id", ("渠道退款号",)),
            Column("channel", ("退款渠道",), v.refund_channel),
            Column("accepted_at", ("受理时间",), v.moment),
            Column("settled_at", ("到账时间",), v.moment),
            Column("closed_at", ("关闭时间",), v.moment),
            Column("abnormal_at", ("异常时间",), v.moment),
            Column("source", ("消息来源",), v.evidence_source),
            Column("evidence_sha256", ("凭据指纹",)),
            Column("provider_refund_fen", ("渠道退款金额(分)",), v.whole),
            Column("fee_returned_fen", ("退回手续费(分)",), v.whole),
            Column("received_account", ("退款入账账户",), personal=True),
            REASON,
        ),
    ),
    RowType(
        "sessions",
        ("考试", "考试场次", "考试安排"),
        (exam.SCHEDULE_SESSION,),
        (
            Column("name", ("名称", "场次名称"), required=True),
            OCCUPATION,
            LEVEL,
            Column("place", ("考点",), required=True),
            Column("address", ("地址",), required=True),
            Column("theory_starts_at", ("理论开始时间",), v.moment, required=True),
            Column("practical_starts_at", ("技能开始时间",), v.moment, required=True),
            Column("rooms", ("考场",), build.rooms, required=True),
        ),
        id_field="session_id",
    ),
    RowType(
        "seats",
        ("座位", "准考证"),
        (exam.ASSIGN_SEAT,),
        (APPLICATION, SESSION, Column("room", ("考场",)), Column("seat", ("座位号",), v.whole)),
    ),
    RowType(
        "sessions_held",
        ("考试结束",),
        (exam.CLOSE_SESSION,),
        (SESSION, Column("ended_at", ("结束时间",), v.moment, required=True)),
    ),
    RowType(
        "scores",
        ("成绩",),
        (exam.RECORD_SCORE,),
        (
            SESSION,
            Column("ticket_number", ("准考证号",), required=True),
            Column("subject", ("科目",), v.subject, required=True),
            Column("marks", ("成绩", "分数"), v.marks, required=True),
        ),
    ),
    RowType(
        "score_corrections",
        ("成绩更正",),
        (exam.CORRECT_SCORE,),
        (
            APPLICATION,
            Column("subject", ("科目",), v.subject, required=True),
            Column("marks", ("成绩", "分数"), v.marks, required=True),
            Column("objection_id", ("异议编号",)),
            required(REASON),
        ),
    ),
    RowType(
        "verifications",
        ("成绩复核",),
        (exam.VERIFY_SCORES,),
        (
            APPLICATION,
            Column("theory", ("理论", "理论成绩"), v.marks, required=True),
            Column("practical", ("技能", "实操", "技能成绩"), v.marks, required=True),
        ),
    ),
    RowType(
        "notices",
        ("公示",),
        (public_notice.OPEN_NOTICE,),
        (SESSION, Column("late_reason", ("逾期原因",))),
        id_field="notice_id",
    ),
    RowType("notice_extensions", ("公示延期",), (public_notice.EXTEND_NOTICE,), (NOTICE,)),
    RowType(
        "objections",
        ("异议",),
        (public_notice.FILE_OBJECTION,),
        (
            NOTICE,
            APPLICATION,
            Column("objector_id", ("异议人编号", "人员编号", "考生编号")),
            Column("objector_name", ("异议人姓名",), personal=True),
            Column("objector_contact", ("异议人联系方式",), personal=True),
            Column("text", ("异议内容",), required=True, personal=True),
        ),
        own=True,
        id_field="objection_id",
    ),
    RowType(
        "objection_outcomes",
        ("异议处理",),
        (public_notice.RESOLVE_OBJECTION,),
        (
            NOTICE,
            Column("objection_id", ("异议编号",), required=True),
            Column("outcome", ("处理结论", "结论"), v.objection_outcome, required=True),
            required(REASON),
        ),
    ),
    RowType("notice_closings", ("公示结束",), (public_notice.CLOSE_NOTICE,), (NOTICE,)),
    RowType(
        "certificates",
        ("证书编号", "证书"),
        (number_allocation.IMPORT_NUMBER, number_allocation.NUMBER_CERTIFICATES),
        (APPLICATION, Column("number", ("证书编号", "下发编号"))),
        build=build.number_certificates,
    ),
    RowType(
        "issues",
        ("发证", "证书发放"),
        (certificate.ISSUE_CERTIFICATES,),
        (APPLICATION, Column("issued_on", ("发证日期",), v.day)),
    ),
    RowType(
        "reports",
        ("上报", "上报批次"),
        (authority_report.FREEZE_REPORT,),
        (
            Column("batch_type", ("批次类型",), v.batch_type, required=True),
            Column("file", ("文件",), required=True, fields=("file_sha256",)),
            Column("application_ids", ("报考编号",), v.listed(v.text), required=True),
        ),
        id_field="report_id",
        build=build.freeze_report,
    ),
    RowType(
        "report_answers",
        ("上报结果", "上报回执"),
        (authority_report.ANSWER_REPORT_ROW,),
        (
            Column("report_id", ("批次编号",), required=True),
            Column("number", ("证书编号",), required=True),
            Column("accepted", ("受理", "受理结果"), v.yes, required=True),
            REASON,
        ),
    ),
    RowType(
        "visibility",
        ("查询可见", "联网查询"),
        (authority_report.RECORD_VISIBILITY,),
        (
            APPLICATION,
            Column("scope", ("范围",), v.scope, required=True),
            Column("seen_on", ("查到日期",), v.day),
        ),
    ),
    RowType(
        "certificate_changes",
        ("证书变更",),
        build.CERTIFICATE_CHANGES,
        (
            APPLICATION,
            Column("kind", ("证书类型",), v.certificate_kind, required=True),
            Column("change", ("变更类型",), v.certificate_change, required=True),
            Column("reason_class", ("撤销类别",), v.revocation_reason),
            Column("reissued_on", ("补发日期",), v.day),
            required(REASON),
        ),
        build=build.change_certificate,
    ),
    RowType(
        "erasures",
        ("个人信息删除", "信息删除"),
        (erasure.PROPOSE_ERASURE,),
        (PERSON, Column("reason", ("原因", "事由"), v.erasure_reason, required=True)),
        id_field="proposal",
    ),
    RowType(
        "erasure_confirmations",
        ("个人信息删除确认", "信息删除确认"),
        (erasure.CONFIRM_ERASURE,),
        (PERSON, Column("proposal", ("删除编号",), required=True)),
    ),
)
"""Every row type, in the order of a journey."""

ORDER = {row_type.name: place for place, row_type in enumerate(ROW_TYPES)}
_fold_name = fold_of(r"\s_.\-", "_")
_BY_NAME = {
    _fold_name(title): row_type
    for row_type in ROW_TYPES
    for title in (row_type.name, *row_type.titles)
}


def row_type_named(name: str) -> RowType | None:
    """The row type that a file's name begins with, such as `applications-autumn` or 缴费2026.

    The longest match: `notice_closings` is not `notices`. After an English name no further letter
    may follow.
    """
    folded = _fold_name(name)
    fitting = [
        title
        for title in _BY_NAME
        if folded.startswith(title) and not _continues_name(title, folded[len(title) :])
    ]
    return _BY_NAME[max(fitting, key=len)] if fitting else None


def _continues_name(title: str, rest: str) -> bool:
    return title.isascii() and rest[:1].isascii() and rest[:1].isalpha()

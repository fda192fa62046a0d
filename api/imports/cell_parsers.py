"""Parsers of import cells, written in Chinese or English by people.

Every parser takes a cell (text, or a number or date of a spreadsheet) and raises `CellFault` with a
reason that never repeats the cell. Reading order: days and moments, numbers, then the vocabularies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any

from api.files.tables import plain as plain
from api.files.tables import text as text
from domain import events as e
from domain.actors import Role
from domain.documents.materials import MaterialKind
from domain.editions.edition import EditionKind
from domain.eligibility import qualifications as q
from domain.values.identity_documents import DocumentType
from domain.values.opaque_ids import OPAQUE_ID_PATTERN
from domain.values.primitives import Level, Marks, parse_instant
from domain.values.working_days import SHANGHAI

Parser = Callable[[Any], Any]


class CellFault(Exception):
    """Why a cell can't be parsed, in words and without its content."""


# --- days and moments -----------------------------------------------------------------------------

_DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{4})(\d{2})(\d{2})")
_ID = re.compile(OPAQUE_ID_PATTERN)
_CLOCK = re.compile(r"(\d{1,2})[:时](\d{2})(?:[:分](\d{2})?)?秒?")


def day(value: Any) -> date:
    """A day: 2026-03-02, 2026/3/2, 2026.3.2, 20260302, 2026年3月2日 or a spreadsheet's date."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    match = _DAY.fullmatch(plain(value))
    if match is None:
        raise CellFault("is not a day; write 2026-03-02")
    return _date(match)


def _date(match: re.Match[str]) -> date:
    numbers = [int(group) for group in match.groups() if group]
    try:
        return date(*numbers)
    except ValueError:
        raise CellFault("is not a day of the calendar") from None


def moment(value: Any) -> datetime:
    """A moment, in UTC. Without a zone it is Chinese time; without a time of day it is refused."""
    if isinstance(value, datetime):
        return parse_instant(value if value.tzinfo else value.replace(tzinfo=SHANGHAI))
    words = plain(value)
    try:
        return parse_instant(words)
    except ValueError:
        pass
    head, _, tail = words.replace("T", " ").partition(" ")
    written, clock = _DAY.fullmatch(head), _CLOCK.fullmatch(tail.strip())
    if written is None or clock is None:
        raise CellFault("is not a moment; write 2026-03-02 09:30 or 2026-03-02T09:30:00+08:00")
    hour, minute, second = (int(group or 0) for group in clock.groups())
    try:
        at = datetime.combine(_date(written), time(hour, minute, second), SHANGHAI)
    except ValueError:
        raise CellFault("is not a time of the clock") from None
    return parse_instant(at)


# --- numbers --------------------------------------------------------------------------------------


def on_behalf_of(value: Any) -> str:
    """The id of a person, or a pseudonym; never a name or a number of theirs."""
    text = plain(value)
    if not _ID.fullmatch(text):
        raise CellFault("is not the id of a person")
    return text


def whole(value: Any) -> int:
    """A whole number."""
    words = plain(value)
    if not re.fullmatch(r"[+-]?\d{1,15}", words):
        raise CellFault("is not a whole number")
    return int(words)


def yuan(value: Any) -> int:
    """An amount in yuan with at most two decimals, as fen."""
    words = plain(value).removeprefix("¥").removesuffix("元").replace(",", "")
    match = re.fullmatch(r"(\d{1,13})(?:\.(\d+))?", words)
    if match is None:
        raise CellFault("is not an amount in yuan")
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > 2:
        raise CellFault("has more than two decimals; amounts end at the fen")
    return 100 * int(match[1]) + int(fraction.ljust(2, "0"))


def marks(value: Any) -> Marks | None:
    """Marks 0..100 in half points, or absent (缺考): None."""
    words = plain(value)
    if words.lower() in ("缺考", "absent"):
        return None
    try:
        return Marks(words)
    except ValueError:
        raise CellFault("is not 0 to 100 in half points, nor 缺考 (absent)") from None


def listed(parse: Parser) -> Parser:
    """A parser of several values: a list, or text with semicolons, commas or new lines between."""

    def values(value: Any) -> tuple[Any, ...]:
        parts = re.split(r"[;；,，、\n]", value) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise CellFault("is no list")
        found = []
        for place, part in enumerate((p for p in parts if p not in (None, "")), start=1):
            try:
                found.append(parse(part))
            except CellFault as fault:
                raise CellFault(f"entry {place} {fault}") from None
        return tuple(found)

    return values


# --- vocabularies ---------------------------------------------------------------------------------


def words(meaning: Mapping[str, Any]) -> Parser:
    """A parser that accepts these words, and the values themselves."""
    known = {key.lower(): value for key, value in meaning.items()}
    for value in list(meaning.values()):
        known.setdefault(str(getattr(value, "value", value)).lower(), value)
    first: dict[str, str] = {}
    for key, value in meaning.items():
        first.setdefault(str(getattr(value, "value", value)), key)
    shown = ", ".join(f"{value} {key}" for value, key in first.items())

    def parse(value: Any) -> Any:
        found = known.get(plain(value).lower())
        if found is None:
            raise CellFault(f"is none of: {shown}")
        return found

    return parse


def yes(value: Any) -> bool:
    """Yes or no."""
    if isinstance(value, bool):
        return value
    written = plain(value).lower()
    if written in ("yes", "true", "1", "y", "是", "有", "√", "通过", "接收", "accepted"):
        return True
    if written in ("no", "false", "0", "n", "否", "无", "×", "退回", "rejected"):
        return False
    raise CellFault("is neither yes (是) nor no (否)")


def _inverse(named: Mapping[str, str], **more: str) -> dict[str, str]:
    return {zh: key for key, zh in named.items()} | more


_LEVELS = {
    name: grade
    for grade in Level
    for name in (
        grade.chinese_name,
        *grade.chinese_name.split("/"),
        f"{int(grade)}级",
        str(int(grade)),
    )
}
level = words(_LEVELS)

role = words(
    {
        "报考者": Role.CANDIDATE,
        "报名机构": Role.AGENCY,
        "认证机构": Role.CERTIFIER,
        "省级": Role.PROVINCE,
        "考评员": Role.EXAMINER,
        "成绩复核": Role.SCORE_VERIFIER,
        "证书管理": Role.REGISTRAR,
        "财务": Role.FINANCE,
        "监管": Role.REGULATOR,
        "运维": Role.OPERATOR,
    }
)

document_type = words(
    {
        "居民身份证": DocumentType.RESIDENT_ID,
        "身份证": DocumentType.RESIDENT_ID,
        "201": DocumentType.RESIDENT_ID,
        "港澳台居民居住证": DocumentType.HMT_RESIDENCE_PERMIT,
        "外国人永久居留身份证": DocumentType.FOREIGN_PERMANENT_RESIDENT_ID,
        "永居证": DocumentType.FOREIGN_PERMANENT_RESIDENT_ID,
        "港澳居民来往内地通行证": DocumentType.HOME_RETURN_PERMIT,
        "回乡证": DocumentType.HOME_RETURN_PERMIT,
        "台湾居民来往大陆通行证": DocumentType.TAIWAN_PERMIT,
        "台胞证": DocumentType.TAIWAN_PERMIT,
        "香港居民身份证": DocumentType.HONG_KONG_ID,
        "澳门居民身份证": DocumentType.MACAO_ID,
        "台湾地区身份证": DocumentType.TAIWAN_ID,
        "护照": DocumentType.PASSPORT,
        "军官证": DocumentType.MILITARY_ID,
        "士兵证": DocumentType.MILITARY_ID,
        "杭州市社保卡": DocumentType.HANGZHOU_SOCIAL_CARD,
        "社保卡": DocumentType.HANGZHOU_SOCIAL_CARD,
        "居住证": DocumentType.RESIDENCE_PERMIT,
    }
)
material = words({kind.chinese_name: kind for kind in MaterialKind})
provider = words(
    {
        "微信": e.Provider.WECHAT,
        "微信支付": e.Provider.WECHAT,
        "支付宝": e.Provider.ALIPAY,
        "银行": e.Provider.BANK,
        "银行转账": e.Provider.BANK,
    }
)
evidence_source = words(
    {
        "渠道应答": e.EvidenceSource.ANSWER,
        "渠道通知": e.EvidenceSource.NOTIFICATION,
        "主动查询": e.EvidenceSource.QUERY,
        "对账单": e.EvidenceSource.BILL,
        "人工登记": e.EvidenceSource.PERSON,
    }
)
edition_kind = words(
    {
        "工作日历": EditionKind.CALENDAR,
        "申报条件": EditionKind.ELIGIBILITY,
        "证件与资料": EditionKind.DOCUMENTS,
        "收费标准": EditionKind.FEES,
        "保存期限": EditionKind.RETENTION,
        "入账规则": EditionKind.POSTING,
        "退费规则": EditionKind.REFUND,
    }
)
component = words(
    {
        "认证费用": e.Component.CERTIFICATION_FEE,
        "学员资料": e.Component.STUDY_MATERIAL,
        "学习资料": e.Component.STUDY_MATERIAL,
    }
)
item = words(
    {
        "理论考试": e.Item.THEORY_EXAM,
        "实操考核": e.Item.PRACTICAL_EXAM,
        "职业测评": e.Item.CAREER_ASSESSMENT,
        "录播课": e.Item.RECORDED_COURSE,
        "模拟考试": e.Item.MOCK_EXAM,
        "学员手册": e.Item.HANDBOOK,
    }
)
stage = words({"初审": e.Stage.INITIAL, "复审": e.Stage.SECOND, "终审": e.Stage.FINAL})
verdict = words(
    {"通过": "pass", "退回": "return", "补正": "return", "不通过": "reject", "驳回": "reject"}
)
refund_decision = words(
    {"同意": "approve", "批准": "approve", "不同意": "decline", "驳回": "decline"}
)
refund_outcome = words(
    {"已受理": "accepted", "已到账": "settled", "已关闭": "closed", "异常": "abnormal"}
)
refund_channel = words(
    {
        "原路退回": "original",
        "余额": "balance",
        "其他余额": "other_balance",
        "其他银行卡": "other_bankcard",
        "银行转账": "bank_transfer",
    }
)
subject = words(
    {
        "理论": e.Subject.THEORY,
        "理论知识考试": e.Subject.THEORY,
        "实操": e.Subject.PRACTICAL,
        "技能": e.Subject.PRACTICAL,
        "技能考核": e.Subject.PRACTICAL,
    }
)
objection_outcome = words({"不成立": "dismissed", "成立": "upheld"})
certificate_kind = words(
    {"职业技能等级证书": e.CertificateKind.NATIONAL, "巨量认证证书": e.CertificateKind.OMC}
)
certificate_change = words(
    {"更正": "correct", "补发": "reissue", "暂停": "suspend", "恢复": "reinstate", "撤销": "revoke"}
)
revocation_reason = words(
    {
        "资料不实": e.RevocationReason.FALSE_DOCUMENTS,
        "考试作弊": e.RevocationReason.EXAM_FRAUD,
        "误发": e.RevocationReason.ISSUED_IN_ERROR,
        "本人申请": e.RevocationReason.HOLDER_REQUEST,
    }
)
erasure_reason = words(
    {
        "本人申请": e.ErasureReason.REQUEST,
        "保存期满": e.ErasureReason.RETENTION_ENDED,
        "重复登记": e.ErasureReason.DUPLICATE,
        "法院裁判": e.ErasureReason.COURT,
    }
)
batch_type = words({"新增": "new", "更正": "correction", "补录": "addendum"})
scope = words({"全省": "province", "省": "province", "全国": "nation", "国家": "nation"})

relation = words(
    _inverse(
        {"own": "本职业", "related": "相关职业", "other": "其他职业"},
        相关="related",
        其他="other",
        **{zh: key for key, zh in q.MAJORS.items()},
    )
)
held_kind = words(
    {
        "职业资格证书": "vocational_qualification",
        "技能等级证书": "skill_level",
        "职业技能等级证书": "skill_level",
        "预备技师证书": "prospective_technician",
    }
)
rank = words(_inverse(q.RANKS, 初级="junior", 中级="middle", 高级="senior"))
school = words(
    _inverse(
        q.SCHOOLS,
        技校="technical_school",
        中职="secondary_vocational",
        高职="higher_vocational",
        专科="college",
    )
)
programme = words(_inverse(q.PROGRAMMES))

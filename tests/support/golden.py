"""Samples of every fact, and the golden lines of new topics.

    python -m tests.support.golden

writes missing golden files and never changes an existing one, because stored events must remain
readable forever. Each topic gets a line with every field and, if it has optional fields, a line
without them.
"""

from __future__ import annotations

import types
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from domain.events import CATALOGUE, Fact
from domain.values.primitives import Marks

GOLDEN = Path(__file__).parents[1] / "golden"

TEXTS = {
    "organisation_name": "浙江今日头条科技有限公司",
    "issuer_name": "浙江今日头条科技有限公司",
    "unified_social_credit_code": "91330100MA00000000",
    "site_code": "S000033000123",
    "log_origin": "example.org/omc",
    "url": "https://cert.example.cn",
    "occupation": "4-01-02-07",
    "occupation_name": "互联网营销师",
    "edition": "2021",
    "job_type": "选品员",
    "name": "欧阳娜娜",
    "document_number": "330106199503151275",
    "document_country": "FRA",
    "phone": "13800000000",
    "contact": "0571-87654321",
    "received_account": "招商银行信用卡0403",
    "subject": "2c5ea4c0f4dd4a29a3e3c1b5f60718a2",
    "login": "ouyang@example.cn",
    "alternative": "1.2(2)",
    "nearest": "1.2(2)",
    "text": "应为82分",
    "predicate": "total_years",
    "qualifications": '{"work_periods":[{"started_on":"2021-01-01"}]}',
    "provider_transaction_id": "4200000000202603020000000001",
    "provider_refund_id": "50300000002026030200000000001",
    "merchant_order_no": "ORDER-1",
    "media_type": "application/pdf",
    "refund_no": "RPAY1-1",
    "room": "101",
    "place": "杭州考点",
    "address": "杭州市余杭区",
    "ticket_number": "S1-01-001",
    "calendar_edition": "cn-2026.1",
    "number": "S000033000123264000001",
    "reason": "单位证明未盖章",
    "late_reason": "系统故障",
    "old_origin": "certledger.example/omc",
    "old_head_size": 6556,
    "old_head_root": "5d" * 32,
    "old_head_note": "certledger.example/omc\n6556\nXV1d\n\n— certledger.example/omc AAEC\n",
    "first": "7d865e959b2466918c9863afca942d0f",
    "second": "1f40fc92da241694750979ee6cf582f2",
    "first_position": 6552,
    "positions_gone": 5,
    "new_origin": "certledger.example/omc/2",
    "proposed_by": "7d865e959b2466918c9863afca942d0f",
    "confirmed_by": "1f40fc92da241694750979ee6cf582f2",
    "key_id": "0a1b2c3d",
    "algorithm": "ed25519",
    "public_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "signature_old": "AAEC",
    "signature_new": "AwQF",
    "card_salt": "00" * 32,
}
CONTENT = {"source": "收费公示", "fees": []}
"""Of an edition of rules."""
SHA256 = "0123456789abcdef" * 4
DAY = date(2026, 9, 30)
MOMENT = "2026-09-05T07:00:00.000000Z"


def sample(fact: type[BaseModel], sparse: bool = False) -> dict[str, Any]:
    """Data of a fact as the journal stores it, with personal fields in clear.

    sparse: omit fields that have a default.
    """
    data = {}
    for name, info in fact.model_fields.items():
        left_out = info.default is not PydanticUndefined
        if sparse and left_out:
            continue
        data[info.alias or name] = _value(name, info.annotation, info)
    return fact.model_validate(data).model_dump(mode="json")


def _value(name: str, kind: Any, info: FieldInfo | None = None) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _value(name, next(a for a in arguments if a is not type(None)), info)
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return [_value(name, arguments[0])]
    if origin is dict:
        return CONTENT
    if origin is not None:  # Annotated
        return _value(name, arguments[0], info)
    return _plain_value(name, kind, info)


def _plain_value(name: str, kind: type, info: FieldInfo | None) -> Any:
    if issubclass(kind, BaseModel):
        return sample(kind)
    if issubclass(kind, tuple):  # of numbers with names, such as a length
        return [n + 1 for n in range(len(get_type_hints(kind)))]
    if issubclass(kind, Enum):
        return next(iter(kind)).value
    if kind is int:
        return _number(name, info)
    fixed = {Marks: "59.5", bool: True, datetime: MOMENT, date: str(DAY)}
    return fixed[kind] if kind in fixed else _text(name)


def _number(name: str, info: FieldInfo | None) -> int:
    least = max((m.ge for m in info.metadata if hasattr(m, "ge")), default=0) if info else 0
    return 30_000 if name.endswith("_fen") else least + 2


def _text(name: str) -> str:
    if name.endswith("sha256"):
        return SHA256
    if name in TEXTS:
        return TEXTS[name]
    return f"{name.removesuffix('s')}-1"


def lines(fact: type[Fact]) -> list[str]:
    """The golden lines of one fact: full, and sparse if that differs."""
    every = [sample(fact), sample(fact, sparse=True)]
    written = [orjson.dumps(each, option=orjson.OPT_SORT_KEYS).decode() for each in every]
    return list(dict.fromkeys(written))


def write_missing() -> list[str]:
    """Write a golden file for each topic that has none. Returns: those topics."""
    GOLDEN.mkdir(exist_ok=True)
    new = [topic for topic in CATALOGUE if not (GOLDEN / f"{topic}.jsonl").exists()]
    for topic in new:
        text = "".join(f"{line}\n" for line in lines(CATALOGUE[topic]))
        (GOLDEN / f"{topic}.jsonl").write_text(text, encoding="utf-8")
    return new


if __name__ == "__main__":
    for written in write_missing():
        print(written)

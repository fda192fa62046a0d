"""The content of an edition of retention (保存期限): how long what is kept, by which rule.

An erasure keeps a class of a person's data as long as a rule that names it demands
(`domain.steps.retention_findings`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.values.sealed_fields import DataClass


class RetentionKind(StrEnum):
    """What is kept."""

    ASSESSMENT_RECORDS = "assessment_records"  # 评价过程材料: 报名、审核、考试、成绩
    CERTIFICATES = "certificates"  # 证书数据
    ACCOUNTING_RECORDS = "accounting_records"  # 会计凭证、会计账簿
    BANK_STATEMENTS = "bank_statements"  # 银行对账单


class RetentionStart(StrEnum):
    """The event from which the years are counted."""

    APPLICATION_CLOSED = "application_closed"  # 报考结束: refused, withdrawn, rejected or final
    CERTIFICATE_ENDED = "certificate_ended"  # 证书失效: revoked; one in force is kept
    # 会计年度终了: 31 December of the year in which money last moved
    ACCOUNTING_YEAR_ENDED = "accounting_year_ended"


class RetentionRule(BaseModel):
    """One kind of record and how long it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: RetentionKind
    years: int = Field(strict=True, ge=0, le=100, description="years")
    basis: str = Field(min_length=1, max_length=500, description="the law or rule that demands it")
    starts: RetentionStart = Field(description="from when the years are counted")
    classes: tuple[DataClass, ...] = Field(min_length=1, description="personal data it keeps")
    confidence: Literal["high", "medium", "low"] = Field(description="low: confirm before use")


class RetentionRules(BaseModel):
    """How long every kind of record is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str = Field(min_length=1, max_length=2000, description="where it comes from")
    rules: tuple[RetentionRule, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        kinds = [rule.kind for rule in self.rules]
        for kind in RetentionKind:
            if kinds.count(kind) != 1:
                raise ValueError(f"{kind.value} must have exactly one rule")
        for rule in self.rules:
            if len(set(rule.classes)) != len(rule.classes):
                raise ValueError(f"{rule.kind.value} names a class twice")
        return self

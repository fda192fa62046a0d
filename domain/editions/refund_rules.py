"""The content of an edition of refunds (退费规则): what goes back beyond clause 2.4."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RefundRules(BaseModel):
    """What is refunded after 报考成功. Source: source-document 2.4(2).

    after_enrolment: `none`, as clause 2.4(2) says, is the only rule that the decisions have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str = Field(min_length=1, max_length=2000, description="where it comes from")
    after_enrolment: Literal["none"]

"""The content of an edition of posting (入账规则): when money is earned, and the tax in a price."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class VatRates(BaseModel):
    """The rate of value-added tax that the price of a component contains, basis points (0.01 %)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    certification_fee: int = Field(strict=True, ge=0, le=5000, description="认证费用, basis points")
    study_material: int = Field(strict=True, ge=0, le=5000, description="学员资料, basis points")


class PostingRules(BaseModel):
    """How the refund ledger posts. Source: source-document 2.1-2.4.

    certification_fee_earned: the fact with which the certification fee becomes revenue;
    `results_published` is the one that the posting rules have. Study material is earned with its
    first use, because that ends its refund.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str = Field(min_length=1, max_length=2000, description="where it comes from")
    certification_fee_earned: Literal["results_published"]
    vat_rate_bp: VatRates

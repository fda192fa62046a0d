"""The content of an edition of fees (收费标准): what every occupation and level costs.

Source: source-document 2.1-2.3.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.values.primitives import Fen, Level


class FeeLineRule(BaseModel):
    """What one occupation and level costs, fen. The two components have their own refund rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    occupation: str = Field(min_length=1, max_length=200, description="code, such as 4-01-02-07")
    level: Level
    certification_fee_fen: Fen = Field(description="认证费用, fen")
    study_material_fee_fen: Fen = Field(description="学员资料, fen")


class FeeTable(BaseModel):
    """Every fee of an organisation; what is not in it cannot be paid for. Source: 2.1-2.3."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str = Field(min_length=1, max_length=2000, description="where it comes from")
    fees: tuple[FeeLineRule, ...] = Field(max_length=1000)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[tuple[str, Level]] = set()
        for fee in self.fees:
            key = fee.occupation, fee.level
            if key in seen:
                raise ValueError(f"{fee.occupation}, level {int(fee.level)}, appears twice")
            seen.add(key)
        return self

    @cached_property
    def _by_key(self) -> dict[tuple[str, Level], FeeLineRule]:
        return {(fee.occupation, fee.level): fee for fee in self.fees}

    def fee_of(self, occupation: str, level: Level) -> FeeLineRule | None:
        """What an occupation and level costs; None if it is not offered."""
        return self._by_key.get((occupation, level))

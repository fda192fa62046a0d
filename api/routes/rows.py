"""Cuts the rows of a read model to the fields of a response model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def pick(row: Mapping[str, Any], model: type[BaseModel], *, without: str = "") -> dict[str, Any]:
    """The fields of a model out of a row. without: one field that the row does not have."""
    return {name: row[name] for name in model.model_fields if name != without}

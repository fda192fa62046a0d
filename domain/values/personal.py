"""Marks fields that hold personal data, for crypto-shredding.

The mapper encrypts a marked field under the data key of the person that the fact's `person_id`
names. Destroying that key erases the field: it then reads as None.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import BaseModel


class PersonalMark:
    """Marks a field as personal data (个人信息); see `Personal`."""


Personal = Annotated[str | None, PersonalMark()]
"""Text about a person. None: erased, or never given."""


@cache
def personal_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """Names of a model's fields that are encrypted before they are stored."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if any(isinstance(mark, PersonalMark) for mark in field.metadata)
    )

"""How a field says that it holds personal data.

A marked field never reaches the journal in clear: it is sealed under the key of the person that
the fact's `person_id` names, and comes back as None once that key has been destroyed.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import BaseModel


class PersonalMark:
    """Marks a field as personal data (个人信息); see `Personal`."""


Personal = Annotated[str | None, PersonalMark()]
"""Text about a person. None: erased at the person's request, or never given."""


@cache
def personal_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """Names of the fields of a model that are sealed before they are stored."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if any(isinstance(mark, PersonalMark) for mark in field.metadata)
    )

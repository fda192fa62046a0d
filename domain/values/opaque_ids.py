"""Ids of persons, applications, objections and payments, which tell nothing about a person.

Such an id stays in the journal, in logs and in addresses after the person was erased. The service
makes it, or the caller, who may send their own number of the case, but no name and no number of
somebody's document.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

OPAQUE_ID_PATTERN = r"^([A-Z]{1,4}[0-9]{1,10}|[0-9a-f]{32}|[0-9A-HJKMNP-TV-Z]{26}|[A-Z2-7]{26})$"
"""Base32 in either alphabet: Crockford's, as ULIDs have it, or that of RFC 4648."""

_FORM = re.compile(OPAQUE_ID_PATTERN)


def _check(text: str) -> str:
    if _FORM.fullmatch(text) is None:
        # With a code of its own, which selects the translated message.
        raise PydanticCustomError(
            "not_an_opaque_id",
            "an id is one to four capitals and one to ten digits, 32 hex digits, or 26 characters "
            "of base32",
        )
    return text


OpaqueId = Annotated[
    str,
    AfterValidator(_check),
    Field(json_schema_extra={"pattern": OPAQUE_ID_PATTERN}),
]
"""An id that a caller may choose: A26030031, a UUID without hyphens, a ULID."""

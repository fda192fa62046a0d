"""Logins: the names under which people sign in, and the form in which two of them are compared."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

SERVICE_SUBJECTS = "certledger/"
"""How the subjects of the service's own work begin; no login does."""
LOGIN_MAX = 200
"""Characters of a login."""


@lru_cache(4096)  # one login sends many commands
def normal_form(login: str) -> str:
    """The form in which two logins are compared: width, case and white space do not count."""
    while (form := _folded(login)) != login:  # signs that were apart may combine
        login = form
    return form


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", folded))


def is_service(login: str) -> bool:
    """Whether this is a name of the service itself, and not a person's login."""
    return normal_form(login).startswith(SERVICE_SUBJECTS)


def _check(text: str) -> str:
    if not normal_form(text) or is_service(text):
        # A name of the service is stored as it is, so that it must not come from a caller.
        raise PydanticCustomError(
            "not_a_login", "a login is not empty, and does not begin with certledger/"
        )
    return text


Login = Annotated[str, Field(max_length=LOGIN_MAX), AfterValidator(_check)]
"""A login that a command names: that of a person, never a name of the service."""

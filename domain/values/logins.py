"""Logins: the names under which people sign in, and the form in which two of them are compared."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

SERVICE_SUBJECTS = "certledger/"
"""How the subjects of the service's own work begin; no login does."""


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

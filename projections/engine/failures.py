"""What a failure means for a view and for its readers, and how health reports show it."""

from __future__ import annotations

import psycopg2

from domain.store.errors import SealBroken, ViewWrong
from domain.store.postgres.errors import is_missing_relation, is_transient
from projections.engine.progress_seals import VIEW_WRONG
from projections.engine.view import UnhandledTopic

__all__ = ["SEAL_MISSING", "VIEW_WRONG", "is_missing_relation", "is_transient", "safe_message"]

SEAL_MISSING = "seal_missing"
"""Code of a pause at an event without a right seal; the reason begins with it."""

_REASON_CHARACTERS = 300


def safe_message(error: Exception) -> str:
    """An error as health shows it: without rows or values, which may be personal data."""
    if isinstance(error, SealBroken):
        text = f"{SEAL_MISSING}: {error}"
    elif isinstance(error, ViewWrong):
        text = f"{VIEW_WRONG}: something is stored that no event made"
    elif isinstance(error, psycopg2.Error):
        text = f"{type(error).__name__}: {error.diag.message_primary or 'the database refused it'}"
    elif isinstance(error, UnhandledTopic | KeyError):
        text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return text[:_REASON_CHARACTERS]

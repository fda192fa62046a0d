"""Maps database failures to HTTP errors."""

from __future__ import annotations

import logging

from api.errors.request import DatabaseUnreachable, ViewBeingMade
from domain.errors import LedgerError
from projections.engine.failures import is_missing_relation, is_transient, safe_message

log = logging.getLogger(__name__)


def to_http_error(error: Exception) -> LedgerError | None:
    """The refusal of a transient failure; None if the query itself is at fault."""
    if is_transient(error):
        return DatabaseUnreachable()
    if is_missing_relation(error):
        # Logged, because without a rebuild in progress the query itself is wrong.
        log.warning("a view lacks a relation until its rebuild is done: %s", safe_message(error))
        return ViewBeingMade()
    return None

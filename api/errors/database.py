"""What callers are told of a question that the database did not answer."""

from __future__ import annotations

import logging

from api.errors.request import DatabaseUnreachable, ViewBeingMade
from domain.errors import LedgerError
from projections.engine.ledger_projector import is_not_made, is_transient, told

log = logging.getLogger(__name__)


def refusal_of(error: Exception) -> LedgerError | None:
    """The refusal, if the moment is to blame; None if it is what was asked."""
    if is_transient(error):
        return DatabaseUnreachable()
    if is_not_made(error):
        # Said aloud: should no view be under way, it is the program that asks for the wrong thing.
        log.warning("a view lacks what is asked for until it is made anew: %s", told(error))
        return ViewBeingMade()
    return None

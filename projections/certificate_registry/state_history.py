"""The history of a certificate: every state it was in, bound to its row by a digest.

The certificate's row has the digest of its whole history, and its seal covers it: a state that was
altered, deleted or planted makes another digest. Reading order: `extended`, `checked`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import orjson

from projections.certificate_registry.public_record import VIEW_NAME
from projections.engine.row_seals import ViewWrong
from projections.engine.tables import Row

_STATE = (
    *("application_id", "kind", "number", "position", "event", "progress", "standing"),
    *("reason_class", "version", "issued_on", "occurred_at", "recorded_at"),
)
"""What the digest is over, of each state: the columns of `certificate_states` as a fold writes
them."""

NO_HISTORY = ""
"""In place of the digest of a certificate without any state."""


def extended(digest: str, state: Row) -> str:
    """The digest of a history with one more state, 64 hex digits. digest: of the history before."""
    values = orjson.dumps([state[name] for name in _STATE])
    return hashlib.sha256(digest.encode() + values).hexdigest()


def checked(certificate: Row, states: Iterable[Row]) -> list[Row]:
    """All states of a certificate, in order, if they are as its events made them.

    certificate: its row, checked. states: as a fold writes them; what is later than the row's last
    event is left out, because the row was read before it came.
    Raises: ViewWrong.
    """
    shown = [state for state in states if state["position"] <= certificate["position"]]
    digest = NO_HISTORY
    for state in shown:
        digest = extended(digest, state)
    if digest != certificate["history_sha256"]:
        raise ViewWrong(view=VIEW_NAME)
    return shown


def for_page(state: Row) -> dict[str, Any]:
    """A state with its day as date and its times as aware datetimes."""
    moments = {name: datetime.fromisoformat(state[name]) for name in ("occurred_at", "recorded_at")}
    issued_on = state["issued_on"] and date.fromisoformat(state["issued_on"])
    return {**state, **moments, "issued_on": issued_on}

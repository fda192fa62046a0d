"""The health of views: position, head, lag, and why one is paused.

Read from the database, so that every process gives the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.store.postgres.connection import Cursor
from projections.engine.failures import SEAL_MISSING
from projections.engine.generations import SCHEMA
from projections.engine.view import View

_STATES = f"""
SELECT l.ledger, v.name, coalesce(t.position, 0), l.position, v.version, g.version,
       p.position, p.topic, p.reason, p.since
FROM certledger.ledgers l
CROSS JOIN unnest(%(names)s, %(versions)s) AS v (name, version)
LEFT JOIN {SCHEMA}.generations g ON g.view = v.name
LEFT JOIN certledger.tracking t ON t.ledger = l.ledger AND t.view = v.name
LEFT JOIN {SCHEMA}.pauses p ON p.ledger = l.ledger AND p.view = v.name
ORDER BY l.ledger, v.name
"""


@dataclass(frozen=True, slots=True)
class ViewState:
    """One view of one ledger.

    state: following; paused, at an event it cannot fold; rebuilding, while tables of an older
        version answer; outdated, when the tables are of a newer version than this program.
    reason, failing_position, failing_topic, since: of a pause.
    """

    ledger: str
    view: str
    position: int
    head: int
    state: str
    reason: str | None = None
    failing_position: int | None = None
    failing_topic: str | None = None
    since: datetime | None = None

    @property
    def is_seal_missing(self) -> bool:
        """Whether it is paused at an event that has no right seal."""
        return self.reason is not None and self.reason.startswith(SEAL_MISSING)

    @property
    def lag(self) -> int:
        """Events in the journal that are not yet in the view."""
        return max(0, self.head - self.position)


def view_states(cursor: Cursor, views: Sequence[View]) -> list[ViewState]:
    """The state of every view of every ledger, in order of ledger and view."""
    names, versions = [v.name for v in views], [v.version for v in views]
    cursor.execute(_STATES, {"names": names, "versions": versions})
    return [_state(row) for row in cursor.fetchall()]


def _state(row: tuple[Any, ...]) -> ViewState:
    ledger, view, position, head, version, stored, failing, topic, reason, since = row
    state = "following"
    if stored is None or stored < version:
        state = "rebuilding"
    elif stored > version:
        state = "outdated"
    elif failing is not None:
        state = "paused"
    return ViewState(ledger, view, position, head, state, reason, failing, topic, since)

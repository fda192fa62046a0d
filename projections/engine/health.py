"""The health of views: position, head, lag, and why one is paused.

Read from the database, so that every process gives the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.store.postgres.connection import Cursor
from projections.engine.failures import SEAL_MISSING, VIEW_WRONG
from projections.engine.generations import SCHEMA
from projections.engine.progress_seals import (
    COLUMNS,
    JOINED,
    StoredProgress,
    check_progress,
)
from projections.engine.row_seals import ViewWrong
from projections.engine.view import View

_STATES = f"""
SELECT l.ledger, v.name, coalesce(t.position, 0), l.position, v.version, g.version,
       p.position, p.topic, p.reason, p.since, g.generation, {COLUMNS}
FROM certledger.ledgers l
CROSS JOIN unnest(%(names)s, %(versions)s) AS v (name, version)
LEFT JOIN {SCHEMA}.generations g ON g.view = v.name
LEFT JOIN certledger.tracking t ON t.ledger = l.ledger AND t.view = v.name
{JOINED}
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
    def is_wrong(self) -> bool:
        """Whether it is paused because something is stored of it that no event made."""
        return self.reason is not None and self.reason.startswith(VIEW_WRONG)

    @property
    def lag(self) -> int:
        """Events in the journal that are not yet in the view."""
        return max(0, self.head - self.position)


def view_states(
    cursor: Cursor, views: Sequence[View], row_keys: Sequence[bytes] = ()
) -> list[ViewState]:
    """The state of every view of every ledger, in order of ledger and view.

    row_keys: check the seals of progress, see `vaults.row_keys_of`; none: they are not checked.
    """
    names, versions = [v.name for v in views], [v.version for v in views]
    cursor.execute(_STATES, {"names": names, "versions": versions})
    return [_state(row, row_keys) for row in cursor.fetchall()]


def _state(row: tuple[Any, ...], row_keys: Sequence[bytes]) -> ViewState:
    ledger, view, position, head, version, stored, failing, topic, reason, since, *progress = row
    state = "following"
    if stored is None or stored < version:
        state = "rebuilding"
    elif stored > version:
        state = "outdated"
    elif row_keys and position and not _is_right(row_keys, ledger, view, *progress):
        state, failing, reason = "paused", position, f"{VIEW_WRONG}: its progress was altered"
    elif failing is not None:
        state = "paused"
    return ViewState(ledger, view, position, head, state, reason, failing, topic, since)


def _is_right(
    row_keys: Sequence[bytes], ledger: str, view: str, generation: int, *stored: Any
) -> bool:
    try:
        check_progress(row_keys, ledger, view, generation, StoredProgress(*stored))
    except ViewWrong:
        return False
    return True

"""The last change of each certificate, as the journal has it, so that no earlier row is shown.

A row's seal says that the service made it, and not that it is the newest: an attacker who can write
to the database could put the row of a certificate back as it was before the revocation. Few
certificates ever change after their issue, so a process that answers lookups has the positions of
all changes in memory, and learns of new ones at most REFRESH_S after they were recorded.

Reading order: StandingChanges, then RecordChecks. Source: source-document 5.3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import NamedTuple

from projections.engine.row_seals import ViewBehind
from projections.engine.view import Cursor

REFRESH_S = 0.5
"""How long a lookup may go without asking the journal for new changes, seconds."""

PAGE = 10_000
"""Changes of one ledger that one query reads; the statement has the number too."""

Change = tuple[str, int, str | None, str | None]
"""(ledger, position, kind, number), in order of position for each ledger; a row without kind and
number says up to which position the ledger was read."""


class StandingChanges:
    """Position of the last event that changed an issued certificate. Thread-safe.

    Such an event suspends, reinstates, revokes, corrects or reissues it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._clock = clock
        self._last: dict[tuple[str, str, str], int] = {}
        self._read_to: dict[str, int] = {}
        self._due_at = float("-inf")
        self._lock = Lock()
        self._refreshing = Lock()

    @property
    def is_due(self) -> bool:
        """Whether the journal has to be asked before the next row is shown."""
        return self._clock() >= self._due_at

    def keys(self) -> list[str]:
        """What the statement `standing_changes` takes: how far each ledger was read."""
        with self._lock:
            return [f"{position}|{ledger}" for ledger, position in self._read_to.items()]

    def take(self, rows: Iterable[Sequence[object]], asked_at: float) -> bool:
        """Take note of the statement's rows. asked_at: by the clock, before it was asked.

        Returns: whether that was all; otherwise ask again.
        """
        counts: dict[str, int] = {}
        heads: dict[str, int] = {}
        with self._lock:
            for ledger, position, kind, number in rows:
                assert isinstance(ledger, str) and isinstance(position, int)
                if isinstance(kind, str) and isinstance(number, str):
                    counts[ledger] = counts.get(ledger, 0) + 1
                    named = ledger, kind, number
                    self._last[named] = max(position, self._last.get(named, 0))
                    self._read_to[ledger] = max(position, self._read_to.get(ledger, 0))
                else:
                    heads[ledger] = position
            whole = {ledger for ledger in heads if counts.get(ledger, 0) < PAGE}
            for ledger in whole:
                self._read_to[ledger] = max(heads[ledger], self._read_to.get(ledger, 0))
            if len(whole) < len(heads):
                return False
            self._due_at = asked_at + REFRESH_S
            return True

    def refresh(self, cursor: Cursor, statement: str) -> None:
        """Ask the journal if that is due; blocking. statement: `standing_changes`."""
        if not self.is_due:
            return
        with self._refreshing:
            while self.is_due:
                asked_at = self._clock()
                cursor.execute(statement, {"keys": self.keys()})
                self.take(cursor.fetchall(), asked_at)

    def now(self) -> float:
        """The clock, for `take`."""
        return self._clock()

    def check(self, ledger: str, kind: str, number: str, position: int) -> None:
        """Refuse the row of a certificate that has changed since.

        position: of the event that made the row. Raises: ViewBehind.
        """
        changed = self._last.get((ledger, kind, number))
        if changed is not None and changed > position:
            raise ViewBehind(position=changed)


class RecordChecks(NamedTuple):
    """What every row of the registry is checked with before it is shown.

    row_keys: that sealed the rows; see `domain.store.keys.seals.Sealer.row_keys`.
    """

    row_keys: tuple[bytes, ...]
    changes: StandingChanges

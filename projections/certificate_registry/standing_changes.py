"""The last change of each certificate, as the journal has it, so that no earlier row is shown.

A row's seal says that the service made it, and not that it is the newest: an attacker who can write
to the database could put the row of a certificate back as it was before the revocation. Few
certificates ever change after their issue, so a process that answers lookups has the positions of
all changes in memory, and learns of new ones at most REFRESH_S after they were recorded.

Reading order: StandingChanges, then RecordChecks. Source: source-document 5.3.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, NamedTuple

from projections.engine.row_seals import RecordOutdated
from projections.engine.view import Cursor

REFRESH_S = 0.5
"""How long a lookup may go without asking the journal for new changes, seconds."""

PAGE = 10_000
"""Changes of one ledger that one query reads; the statement has the number too."""

Change = tuple[Any, ...]
"""(ledger, position, kind, number), in order of position; after those of a ledger comes a row
without kind and number, with the position of its head."""


class _ReadTo(NamedTuple):
    """How far a ledger was read. change: position of its last change; head: of its head then.

    Only a head that is the same as before saves the question: one that was moved ahead and back
    must not hide what comes in between.
    """

    change: int = 0
    head: int = -1


class StandingChanges:
    """Position of the last event that changed an issued certificate. Thread-safe.

    Such an event suspends, reinstates, revokes, corrects or reissues it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self.clock = clock
        self._last: dict[tuple[str, str, str], int] = {}
        self._read_to: dict[str, _ReadTo] = {}
        self._due_at = float("-inf")
        self._lock = Lock()
        self._refreshing = Lock()

    @property
    def is_due(self) -> bool:
        """Whether the journal has to be asked before the next row is shown."""
        return self.clock() >= self._due_at

    def keys(self) -> list[str]:
        """What the statement `standing_changes` takes: how far each ledger was read."""
        with self._lock:
            return [f"{to.change}|{to.head}|{name}" for name, to in self._read_to.items()]

    def take(self, rows: Iterable[Change], asked_at: float) -> None:
        """Take note of the statement's rows; it stays due while a ledger has more.

        asked_at: by the clock, before the journal was asked.
        """
        counts: Counter[str] = Counter()
        is_whole = True
        with self._lock:
            for ledger, position, kind, number in rows:
                before = self._read_to.get(ledger, _ReadTo())
                if kind is not None and number is not None:
                    counts[ledger] += 1
                    self._last[ledger, kind, number] = position
                    self._read_to[ledger] = _ReadTo(position, before.head)
                elif counts[ledger] < PAGE:
                    self._read_to[ledger] = _ReadTo(before.change, position)
                else:
                    is_whole = False
            if is_whole:
                self._due_at = asked_at + REFRESH_S

    def refresh(self, cursor: Cursor, statement: str) -> None:
        """Ask the journal if that is due; blocking. statement: `standing_changes`."""
        if not self.is_due:
            return
        with self._refreshing:
            while self.is_due:
                asked_at = self.clock()
                cursor.execute(statement, {"keys": self.keys()})
                self.take(cursor.fetchall(), asked_at)

    def check(self, ledger: str, kind: str, number: str, position: int) -> None:
        """Refuse the row of a certificate that has changed since.

        position: of the event that made the row. Raises: RecordOutdated.
        """
        changed = self._last.get((ledger, kind, number))
        if changed is not None and changed > position:
            raise RecordOutdated()


class RecordChecks(NamedTuple):
    """What every row of the registry is checked with before it is shown.

    row_keys: that sealed the rows; see `domain.store.keys.seals.Sealer.row_keys`.
    """

    row_keys: tuple[bytes, ...]
    changes: StandingChanges

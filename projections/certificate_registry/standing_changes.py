"""The last change of each record, as the journal has it, so that no earlier row is shown.

A row's seal says that the service made it, and not that it is the newest: an attacker who can write
to the database could put the row of a certificate back as it was before the revocation, or before
its holder's data were erased. A process that answers lookups therefore has the position of the last
change of every certificate and holder in memory, and learns of new ones at most REFRESH_S after
they were recorded.

Reading order: StandingChanges, then RecordChecks. Source: source-document 5.3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, NamedTuple

from projections.certificate_registry.latest_positions import LatestPositions
from projections.engine.row_seals import RecordOutdated
from projections.engine.view import Cursor
from projections.engine.wrong_views import WrongViews

REFRESH_S = 0.5
"""How long a lookup may go without asking the journal for new changes, seconds."""

PAGE = 20_000
"""Events of one ledger of which one query reads the changes; the statement has the number too."""

LEDGERS = 20
"""Ledgers that one query reads; the statement has the number too."""

PERSON = "person"
"""In place of a kind: the change is one of a person, and the number is their id."""

Change = tuple[Any, ...]
"""(ledger, position, kind, number). The last row of each ledger has no kind: then the position is
the one up to which the ledger was read, and the number its head; no number if there is more."""


class _ReadTo(NamedTuple):
    """How far a ledger was read. event: position of the last event; head: of its head then.

    Only a head that is the same as before saves the question: one that was moved ahead and back
    must not hide what comes in between.
    """

    event: int = 0
    head: int = -1


class StandingChanges:
    """Position of the last event that changed an issued certificate or its holder. Thread-safe.

    Every event counts that writes the certificate's row again: also a report, visibility, and the
    correction or erasure of the holder's data.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self.clock = clock
        self._last = LatestPositions()
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
            return [f"{to.event}|{to.head}|{name}" for name, to in self._read_to.items()]

    def take(self, rows: Iterable[Change], asked_at: float) -> None:
        """Take note of the statement's rows; it stays due while there is more.

        asked_at: by the clock, before the journal was asked.
        """
        ledgers, is_whole = 0, True
        with self._lock:
            for ledger, position, kind, number in rows:
                if kind is not None:
                    self._last.advance((ledger, kind, number), position)
                    continue
                ledgers += 1
                self._read_to[ledger] = _ReadTo(position, -1 if number is None else int(number))
                is_whole = is_whole and number is not None
            if is_whole and ledgers < LEDGERS:
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

    def check(
        self,
        ledger: str,
        kind: str,
        number: str,
        position: int,
        person_id: str,
        holder_position: int,
    ) -> None:
        """Refuse the row of a certificate that has changed since, or whose holder has.

        position: of the event that led to the certificate's state. holder_position: of the one
        that the row has the holder's data from. Raises: RecordOutdated.
        """
        last = self._last.of
        if (
            last((ledger, kind, number)) > position
            or last((ledger, PERSON, person_id)) > holder_position
        ):
            raise RecordOutdated()


class RecordChecks(NamedTuple):
    """What every row of the registry is checked with before it is shown.

    row_keys: that sealed the rows; see `domain.store.keys.seals.Sealer.row_keys`.
    wrong: ledgers of which no row is shown, whatever its seal says.
    """

    row_keys: tuple[bytes, ...]
    changes: StandingChanges
    wrong: WrongViews

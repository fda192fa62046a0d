"""Keeps the views of one ledger up to date, batch by batch, on a connection it is given.

A batch goes into every view that stands at the same position, in one transaction. Where one of them
fails, each gets a transaction of its own: a view that fails again is paused at the very event that
it fails on, found by halving the batch; the others go on. A pause is kept in the database, shown in
health, and tried again from time to time; an event is never passed over.
Reading order: Follower.advance, _apply, _isolate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2

from projections.engine import generations as schema
from projections.engine.generation_writer import GenerationWriter, track
from projections.engine.journal_reader import Vault, read
from projections.engine.progress import CHANNEL, to_payload
from projections.engine.view import Entry, UnknownTopic, View

log = logging.getLogger(__name__)

_PASSING = ("08", "25", "40", "53", "57", "58")
"""Classes of SQLSTATE that speak of the server or of the moment: no connection, deadlock, no space,
cancelled, shut down. Everything else says that the view and the event do not fit."""

_REASON_CHARACTERS = 300

# One message. The locks come first, so that what is read after them is how things stand.
_BEGIN = f"""BEGIN; {schema.LOCK_SHARED};
SELECT t.view, t.position, g.generation
FROM certledger.tracking t JOIN {schema.SCHEMA}.generations g ON g.view = t.view
WHERE t.ledger = %s AND t.view = ANY(%s) ORDER BY t.view FOR UPDATE OF t"""

_END = f"""UPDATE certledger.tracking SET position = %s WHERE ledger = %s AND view = ANY(%s);
NOTIFY {CHANNEL}, %s; COMMIT"""


class Superseded(Exception):
    """Somebody else moved the views, or swapped their tables: look again."""


@dataclass(slots=True)
class Paused:
    """A view that cannot fold an event. retry_at: on the monotonic clock."""

    position: int
    retry_at: float
    retry_seconds: float


class LedgerProjector:
    """The views of one ledger. Used by one thread."""

    def __init__(
        self,
        ledger: str,
        vault: Vault,
        *,
        batch: int,
        retry_seconds: float,
    ) -> None:
        """batch: most events a transaction. retry_seconds: until a paused view is tried again;
        doubled with every failure up to twenty times as long.
        """
        self.ledger = ledger
        self._vault = vault
        self._batch = batch
        self._retry_seconds = retry_seconds
        self._positions: dict[str, int] = {}
        self._paused: dict[str, Paused] = {}

    def look(self, connection: Any, views: Sequence[View]) -> None:
        """Read where the views stand, and tell; what was paused is tried again at once."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT view, position FROM certledger.tracking WHERE ledger = %s", (self.ledger,)
            )
            tracked = dict(cursor.fetchall())
            cursor.execute(
                f"SELECT view, position FROM {schema.SCHEMA}.pauses WHERE ledger = %s",
                (self.ledger,),
            )
            self._positions = {view.name: tracked.get(view.name, 0) for view in views}
            self._paused = {
                name: Paused(position, 0.0, self._retry_seconds)
                for name, position in cursor.fetchall()
            }
            payload = to_payload(self.ledger, self._positions.items())
            cursor.execute(f"NOTIFY {CHANNEL}, %s", (payload,))

    def is_behind(self, head: int, targets: Sequence[GenerationWriter]) -> bool:
        """Whether a view that is not paused, or due to be tried again, is short of a position."""
        return any(self._positions.get(t.view.name, 0) < head for t in self._active(targets))

    def advance(
        self,
        connection: Any,
        targets: Sequence[GenerationWriter],
        batches: int = 2**31,
    ) -> bool:
        """Fold what there is, into every view that can; at most so many batches.

        Returns: whether there may be more.

        Raises: Displaced; errors of the moment (see `is_transient`), after which nothing of the
            last batch was written.
        """
        for _ in range(batches):
            active = self._active(targets)
            if not active:
                return False
            after = min(self._positions[t.view.name] for t in active)
            together = [t for t in active if self._positions[t.view.name] == after]
            ahead = [p for t in active if (p := self._positions[t.view.name]) > after]
            entries = self._read(connection, after, ahead)
            if not entries:
                return False
            for target, error in self._apply(connection, together, entries):
                self._isolate(connection, target, entries, error)
            if len(entries) < self._batch and not ahead:
                return False  # whatever has come since is told by a notification
        return True

    def _active(self, targets: Sequence[GenerationWriter]) -> list[GenerationWriter]:
        now = time.monotonic()
        return [
            t
            for t in targets
            if t.view.name not in self._paused or self._paused[t.view.name].retry_at <= now
        ]

    def _read(self, connection: Any, after: int, ahead: list[int]) -> list[Entry]:
        # Stop where the next view stands, so that from there on they go together.
        bound = {"upto": min(ahead)} if ahead else {}
        with connection.cursor() as cursor:
            return read(cursor, self.ledger, self._vault, after, self._batch, **bound)

    def _apply(
        self, connection: Any, targets: Sequence[GenerationWriter], entries: Sequence[Entry]
    ) -> list[tuple[GenerationWriter, Exception]]:
        """One transaction; one for each view if it fails.

        Returns: the views that failed, of which nothing was written.
        """
        names = [target.view.name for target in targets]
        last = entries[-1].position
        with connection.cursor() as cursor:
            # A view can be made again, but who was told its position goes on reading on the
            # strength of it: so its commit waits for the disk, as every other does.
            try:
                self._begin(cursor, targets)
                error = self._fold(cursor, targets, entries)
                if error is None:
                    self._end(cursor, names, last)
                else:
                    cursor.execute("ROLLBACK")
            except BaseException:
                if not connection.closed:
                    cursor.execute("ROLLBACK")
                raise
        if error is None:
            for name in names:
                self._positions[name] = last
                self._paused.pop(name, None)
            return []
        if len(targets) == 1:
            return [(targets[0], error)]
        return [failed for one in targets for failed in self._apply(connection, [one], entries)]

    def _begin(self, cursor: Any, targets: Sequence[GenerationWriter]) -> None:
        """Keep swaps and other runners out. Raises: Displaced if one was here before."""
        names = [t.view.name for t in targets]
        cursor.execute(_BEGIN, (sorted(names), self.ledger, names))
        expected = {(t.view.name, self._positions[t.view.name], t.number) for t in targets}
        if set(cursor.fetchall()) == expected:
            return
        # Its first batch, or somebody was here.
        made = schema.in_force(cursor, names)
        for target in targets:
            found = made.get(target.view.name)
            if found is None or found.number != target.number:
                raise Superseded
        if track(cursor, self.ledger, names) != {n: self._positions[n] for n in names}:
            raise Superseded

    def _fold(
        self, cursor: Any, targets: Sequence[GenerationWriter], entries: Sequence[Entry]
    ) -> Exception | None:
        try:
            for target in targets:
                target.apply(cursor, self.ledger, entries, self._vault.blind_index)
        except Exception as error:
            if is_transient(error):
                raise
            return error
        return None

    def _end(self, cursor: Any, names: Sequence[str], position: int) -> None:
        """Move the views whose rows were written, tell, and commit: one message."""
        resumed = [name for name in names if name in self._paused]
        if resumed:
            cursor.execute(
                f"DELETE FROM {schema.SCHEMA}.pauses WHERE ledger = %s AND view = ANY(%s)",
                (self.ledger, resumed),
            )
        payload = to_payload(self.ledger, [(name, position) for name in names])
        cursor.execute(_END, (position, self.ledger, list(names), payload))

    def _isolate(
        self, connection: Any, target: GenerationWriter, entries: Sequence[Entry], error: Exception
    ) -> None:
        """Fold what comes before the event a view fails on, and pause the view there."""
        if len(entries) == 1:
            self._pause(connection, target.view, entries[0], error)
            return
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            failed = self._apply(connection, [target], half)
            if failed:
                self._isolate(connection, target, half, failed[0][1])
                return

    def _pause(self, connection: Any, view: View, entry: Entry, error: Exception) -> None:
        before = self._paused.get(view.name)
        seconds = self._retry_seconds
        if before is not None and before.position == entry.position:
            seconds = min(before.retry_seconds * 2, self._retry_seconds * 20)
        self._paused[view.name] = Paused(entry.position, time.monotonic() + seconds, seconds)
        reason = told(error)
        log.error(
            "view %s of ledger %s is paused at position %d (%s): %s",
            view.name, self.ledger, entry.position, entry.topic, reason,
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {schema.SCHEMA}.pauses (ledger, view, position, topic, reason) "
                "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (ledger, view) DO UPDATE SET "
                "position = excluded.position, topic = excluded.topic, reason = excluded.reason, "
                "since = CASE WHEN pauses.position = excluded.position THEN pauses.since "
                "ELSE excluded.since END",
                (self.ledger, view.name, entry.position, entry.topic, reason),
            )


_NOT_MADE = frozenset({"42703", "42P01"})
"""No such column, no such table."""


def is_transient(error: Exception) -> bool:
    """Whether trying the same again can help, because the server or the moment is to blame."""
    if not isinstance(error, psycopg2.Error):
        return False
    if error.pgcode is None:
        # A server that vanishes in the middle of an answer gives a plain DatabaseError.
        lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return lost or type(error) is psycopg2.DatabaseError
    return error.pgcode[:2] in _PASSING or error.pgcode == "55P03"  # a lock not granted in time


def is_not_made(error: Exception) -> bool:
    """Whether a view was asked for what only its next generation has."""
    return isinstance(error, psycopg2.Error) and error.pgcode in _NOT_MADE


def told(error: Exception) -> str:
    """An error as health shows it: without rows or values, which may be personal."""
    if isinstance(error, psycopg2.Error):
        text = f"{type(error).__name__}: {error.diag.message_primary or 'the database refused it'}"
    elif isinstance(error, (UnknownTopic, KeyError)):
        text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return text[:_REASON_CHARACTERS]

"""Folds the journal of one ledger into its views, batch by batch, on the caller's connection.

A batch goes into every view at the same position, in one transaction. If one of them fails, each
view gets a transaction of its own. A view that fails again is paused at the event it fails on,
found by halving the batch, while the others continue. An event without a right seal pauses all
of them, and none is handed it. A pause is stored in the database, shown in
health and retried with a back-off; no event is ever skipped. A view whose stored progress has no
right seal is paused too, and its progress is read again at each retry.
Reading order: LedgerProjector.advance, _apply, _isolate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.store.errors import SealBroken, ViewWrong
from domain.store.postgres.connection import Connection, Cursor
from projections.engine import generations, progress_seals
from projections.engine.failures import is_transient, safe_message
from projections.engine.generation_writer import GenerationWriter, lock_positions
from projections.engine.journal_reader import NO_LIMIT, FieldOpener, read
from projections.engine.progress import PROGRESS_CHANNEL, to_payload
from projections.engine.view import Entry, View

log = logging.getLogger(__name__)

_RETRY_GROWTH, _RETRY_LIMIT = 2, 20
"""A pause is retried after twice the time with every failure, up to so many times the first."""

# One message. The locks are taken first, so that the positions read after them are current.
_BEGIN = f"""BEGIN; {generations.LOCK_SHARED};
SELECT t.view, t.position, g.generation
FROM certledger.tracking t JOIN {generations.SCHEMA}.generations g ON g.view = t.view
WHERE t.ledger = %s AND t.view = ANY(%s) ORDER BY t.view FOR UPDATE OF t"""

_END = f"""UPDATE certledger.tracking t
SET position = %s, leaf_hash = %s, seal = decode(done.seal, 'hex')
FROM unnest(%s, %s::text[]) AS done (view, seal) WHERE t.ledger = %s AND t.view = done.view;
NOTIFY {PROGRESS_CHANNEL}, %s; COMMIT"""

_PROGRESS = f"""SELECT t.view, g.version, g.generation, {progress_seals.COLUMNS}
FROM certledger.tracking t JOIN {generations.SCHEMA}.generations g ON g.view = t.view
{progress_seals.JOINED}
WHERE t.ledger = %s"""


class Superseded(Exception):
    """Another process advanced these views or swapped their tables; reload positions."""


@dataclass(slots=True)
class Pause:
    """A view that cannot fold an event. retry_at: on the monotonic clock."""

    position: int
    retry_at: float
    retry_seconds: float


class LedgerProjector:
    """The views of one ledger. Used by one thread."""

    def __init__(
        self,
        ledger: str,
        vault: FieldOpener,
        *,
        batch: int,
        retry_seconds: float,
        row_keys: Sequence[bytes] = (),
    ) -> None:
        """batch: most events in a transaction. retry_seconds: first back-off of a paused view.

        row_keys: check the seals of progress, see `vaults.row_keys_of`; none: not checked.
        """
        self.ledger = ledger
        self._row_keys = row_keys
        self._vault = vault
        self._batch = batch
        self._retry_seconds = retry_seconds
        self._positions: dict[str, int] = {}
        self._paused: dict[str, Pause] = {}

    def reload_positions(self, connection: Connection, views: Sequence[View]) -> None:
        """Read the views' positions and announce them; paused views are retried at once.

        Those whose progress has no right seal are paused, and have no position.
        """
        before = self._paused
        with connection.cursor() as cursor:
            cursor.execute(_PROGRESS, (self.ledger,))
            rows = cursor.fetchall()
            tracked = {view: stored[0] for view, _, _, *stored in rows}
            wrong = [view for view in views if not self._is_right(view, rows)]
            cursor.execute(
                f"SELECT view, position FROM {generations.SCHEMA}.pauses WHERE ledger = %s",
                (self.ledger,),
            )
            self._positions = {
                view.name: tracked.get(view.name, 0) for view in views if view not in wrong
            }
            self._paused = {
                name: Pause(position, 0.0, self._retry_seconds)
                for name, position in cursor.fetchall()
            }
            payload = to_payload(self._row_keys, self.ledger, self._positions.items())
            cursor.execute(f"NOTIFY {PROGRESS_CHANNEL}, %s", (payload,))
        for view in wrong:
            if view.name in before:
                self._paused[view.name] = before[view.name]  # for its back-off
            error = ViewWrong(view=view.name)
            self._pause(connection, view, tracked[view.name], None, error)

    def _is_right(self, view: View, rows: Iterable[tuple[Any, ...]]) -> bool:
        """Whether the stored progress of a view has a right seal; tables of other versions are not
        ours."""
        for name, version, generation, *stored in rows:
            if name == view.name and version == view.version and self._row_keys:
                progress = progress_seals.StoredProgress(*stored)
                try:
                    progress_seals.check_progress(
                        self._row_keys, self.ledger, name, generation, progress
                    )
                except ViewWrong:
                    return False
        return True

    def is_behind(self, head: int, targets: Sequence[GenerationWriter]) -> bool:
        """Whether a view that is not paused, or is due for a retry, is short of a position."""
        return any(self._positions.get(t.view.name, 0) < head for t in self._active(targets))

    def advance(
        self, connection: Connection, targets: Sequence[GenerationWriter], batches: int = 2**31
    ) -> bool:
        """Fold new events into every view that is not paused; at most so many batches.

        Returns: whether there may be more.
        Raises: Superseded, also to have the progress of a paused view read again; transient errors
            (see `is_transient`), after which nothing of the last batch was written.
        """
        for _ in range(batches):
            active = self._active(targets)
            if not active:
                return False
            if any(t.view.name not in self._positions for t in active):
                raise Superseded
            after = min(self._positions[t.view.name] for t in active)
            group = [t for t in active if self._positions[t.view.name] == after]
            ahead = [p for t in active if (p := self._positions[t.view.name]) > after]
            try:
                entries = self._read(connection, after, ahead)
            except SealBroken as broken:
                self._pause_all(connection, group, broken)
                continue
            if not entries:
                return False
            for target, error in self._apply(connection, group, entries):
                self._isolate(connection, target, entries, error)
            if len(entries) < self._batch and not ahead:
                return False  # a notification announces whatever came since
        return True

    def _active(self, targets: Sequence[GenerationWriter]) -> list[GenerationWriter]:
        now = time.monotonic()
        return [
            t
            for t in targets
            if t.view.name not in self._paused or self._paused[t.view.name].retry_at <= now
        ]

    def _read(self, connection: Connection, after: int, ahead: list[int]) -> list[Entry]:
        """The next batch. Raises: SealBroken if the first event of it has no right seal."""
        # Stop at the position of the next view, so that both share the batches from there on.
        upto = min(ahead, default=NO_LIMIT)
        with connection.cursor() as cursor:
            try:
                return read(cursor, self._vault, after, self._batch, upto=upto)
            except SealBroken as broken:
                before = broken.fields["position"] - 1
                if before <= after:
                    raise
            return read(cursor, self._vault, after, self._batch, upto=before)

    def _apply(
        self, connection: Connection, targets: Sequence[GenerationWriter], entries: Sequence[Entry]
    ) -> list[tuple[GenerationWriter, Exception]]:
        """Fold a batch in one transaction; in one for each view if that fails.

        Returns: the views that failed, of which nothing was written.
        """
        names = [target.view.name for target in targets]
        last = entries[-1].position
        with connection.cursor() as cursor:
            # A view could be rebuilt after a crash, but a client that was given its position goes
            # on to read from it: so this commit waits for the disk like every other.
            try:
                self._begin(cursor, targets)
                error = self._fold(cursor, targets, entries)
                if error is None:
                    self._end(cursor, targets, entries[-1])
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

    def _begin(self, cursor: Cursor, targets: Sequence[GenerationWriter]) -> None:
        """Lock out swaps and other runners. Raises: Superseded if one was faster."""
        names = [t.view.name for t in targets]
        cursor.execute(_BEGIN, (sorted(names), self.ledger, names))
        expected = {(t.view.name, self._positions[t.view.name], t.number) for t in targets}
        if set(cursor.fetchall()) == expected:
            return
        # Either it is the first batch of a view, or another process was faster.
        current = generations.in_force(cursor, names)
        for target in targets:
            found = current.get(target.view.name)
            if found is None or found.number != target.number:
                raise Superseded
        if lock_positions(cursor, self.ledger, names) != {n: self._positions[n] for n in names}:
            raise Superseded

    def _fold(
        self, cursor: Cursor, targets: Sequence[GenerationWriter], entries: Sequence[Entry]
    ) -> Exception | None:
        try:
            for target in targets:
                target.apply(cursor, self.ledger, entries, self._vault)
        except Exception as error:
            if is_transient(error):
                raise
            return error
        return None

    def _end(self, cursor: Cursor, targets: Sequence[GenerationWriter], last: Entry) -> None:
        """Store the new position, announce it and commit, in one message."""
        names = [target.view.name for target in targets]
        resumed = [name for name in names if name in self._paused]
        if resumed:
            cursor.execute(
                f"DELETE FROM {generations.SCHEMA}.pauses WHERE ledger = %s AND view = ANY(%s)",
                (self.ledger, resumed),
            )
        reached = [(name, last.position) for name in names]
        payload = to_payload(self._row_keys, self.ledger, reached)
        leaf = last.leaf
        seals = [self._seal(target, last.position, leaf) for target in targets]
        cursor.execute(_END, (last.position, leaf, names, seals, self.ledger, payload))

    def _seal(self, target: GenerationWriter, position: int, leaf: bytes) -> str | None:
        """The seal of a view's progress in hex; None without a key."""
        seal = progress_seals.progress_seal(
            target.row_keys, self.ledger, target.view.name, target.number, position, leaf
        )
        return None if seal is None else seal.hex()

    def _isolate(
        self,
        connection: Connection,
        target: GenerationWriter,
        entries: Sequence[Entry],
        error: Exception,
    ) -> None:
        """Fold the entries before the one that a view fails on, and pause the view there."""
        if len(entries) == 1:
            self._pause(connection, target.view, entries[0].position, entries[0].topic, error)
            return
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            failed = self._apply(connection, [target], half)
            if failed:
                self._isolate(connection, target, half, failed[0][1])
                return

    def _pause_all(
        self, connection: Connection, targets: Sequence[GenerationWriter], broken: SealBroken
    ) -> None:
        """Pause views at an event that none of them may see."""
        for target in targets:
            self._pause(connection, target.view, broken.fields["position"], None, broken)

    def _pause(
        self,
        connection: Connection,
        view: View,
        position: int,
        topic: str | None,
        error: Exception,
    ) -> None:
        before = self._paused.get(view.name)
        seconds = self._retry_seconds
        if before is not None and before.position == position:
            longest = self._retry_seconds * _RETRY_LIMIT
            seconds = min(before.retry_seconds * _RETRY_GROWTH, longest)
        self._paused[view.name] = Pause(position, time.monotonic() + seconds, seconds)
        reason = safe_message(error)
        log.error(
            "view %s of ledger %s is paused at position %d%s: %s",
            view.name, self.ledger, position, f" ({topic})" if topic else "", reason,
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {generations.SCHEMA}.pauses (ledger, view, position, topic, reason) "
                "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (ledger, view) DO UPDATE SET "
                "position = excluded.position, topic = excluded.topic, reason = excluded.reason, "
                "since = CASE WHEN pauses.position = excluded.position THEN pauses.since "
                "ELSE excluded.since END",
                (self.ledger, view.name, position, topic, reason),
            )

"""The positions of all views, as this process knows them, and futures that wait for a position.

A position that is too large would end the wait for it, and a reader would be shown what was there
before their own write. So nothing is believed without a seal: neither a notification, which anybody
can send who may connect to the database, nor what is stored.
Reading order: ProgressTracker, Positions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

from domain.store.errors import SealBroken, ViewWrong
from domain.store.keys.seals import check_row, row_seal
from domain.store.postgres.connection import Connection, connect
from domain.store.postgres.notifications import Notification, NotificationListener
from projections.engine import generations, progress_seals
from projections.engine.view import View

Progress = tuple[str, str, int]
"""(ledger, view, position)"""

PROGRESS_CHANNEL = "certledger_views"
"""NOTIFY channel on which a runner announces to every process what it committed."""

POLL_SECONDS = 1.0
"""How long a change that no runner announces, such as the swap of a rebuild, may go unnoticed."""


_POSITIONS = f"""SELECT t.ledger, t.view, g.generation, {progress_seals.COLUMNS}
FROM certledger.tracking t JOIN {generations.SCHEMA}.generations g ON g.view = t.view
{progress_seals.JOINED}
WHERE t.view = ANY(%s)"""

_UNCHECKED = "SELECT ledger, view, position FROM certledger.tracking WHERE view = ANY(%s)"

_NO_SEAL = "-"
_NOTIFIED = ("", "", "progress notification")
"""In place of ledger, view and key of a row: what the seal of a notification is over."""


def to_payload(row_keys: Sequence[bytes], ledger: str, positions: Iterable[tuple[str, int]]) -> str:
    """The notification of one commit: `seal ledger view=position …`; `-` without a key."""
    text = " ".join([ledger, *(f"{view}={position}" for view, position in positions)])
    seal = row_seal(row_keys[0], *_NOTIFIED, text.encode()).hex() if row_keys else _NO_SEAL
    return f"{seal} {text}"


def from_payload(row_keys: Sequence[bytes], payload: str) -> list[Progress]:
    """The progress in a payload; nothing if it has no right seal. No keys: it is not checked.

    Only the active key is good: what was announced before an accepted loss of events says nothing.
    """
    seal, _, text = payload.partition(" ")
    try:
        if row_keys:
            check_row(row_keys[:1], *_NOTIFIED, text.encode(), bytes.fromhex(seal))
        ledger, *parts = text.split(" ")
        named = (part.rpartition("=") for part in parts)
        return [(ledger, view, int(position)) for view, _, position in named]
    except (SealBroken, ValueError):
        return []


class ProgressTracker:
    """Follows the positions of every view of every ledger, whichever process folds it.

    One for each process.
    """

    def __init__(
        self,
        dsn: str,
        views: Sequence[View],
        row_keys: Sequence[bytes] = (),
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Opens nothing yet.

        dsn: any login that is a member of certledger_app. row_keys: check what is announced and
        stored, see `vaults.row_keys_of`; the tables of views must exist then. None: not checked.
        """
        self._row_keys = tuple(row_keys)
        self._names = [view.name for view in views]
        self._positions = Positions()
        self._listener = NotificationListener(
            lambda: connect(dsn, name="certledger view progress"),
            (PROGRESS_CHANNEL,),
            self._on_notifications,
            self._read_positions,
            poll_seconds,
        )

    def start(self) -> None:
        """Start listening in the background; an unreachable database is retried."""
        self._listener.start()

    def stop(self) -> None:
        """Stop listening; pending futures stay pending."""
        self._listener.stop()

    def __enter__(self) -> ProgressTracker:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def when_reached(self, ledger: str, view: str, position: int) -> Future[int]:
        """A future of the view's position once it is at least `position`; cancel it to give up.

        For an event loop: `asyncio.wrap_future`.
        """
        return self._positions.when_reached(ledger, view, position)

    def wait_until(
        self, ledger: str, view: str, position: int, timeout_seconds: float = 5.0
    ) -> bool:
        """Block until a view has folded a position (read your writes). False: not in time."""
        future = self.when_reached(ledger, view, position)
        try:
            future.result(timeout_seconds)
        except FutureTimeout:
            future.cancel()
            return False
        return True

    def forget(self, ledger: str) -> None:
        """Forget the positions of a ledger, which the next poll reads again."""
        self._positions.forget(ledger)

    def _on_notifications(self, received: list[Notification]) -> None:
        for _, payload in received:
            self._positions.advance(from_payload(self._row_keys, payload))

    def _read_positions(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            if not self._row_keys:
                cursor.execute(_UNCHECKED, (self._names,))
                self._positions.advance(cursor.fetchall())
                return
            cursor.execute(_POSITIONS, (self._names,))
            self._positions.advance(list(filter(None, map(self._checked, cursor.fetchall()))))

    def _checked(self, row: tuple[Any, ...]) -> Progress | None:
        """The progress in a row of _POSITIONS, if it is new and has a right seal."""
        ledger, view, generation, *stored = row
        progress = progress_seals.StoredProgress(*stored)
        if progress.position <= self._positions.known(ledger, view):
            return None
        try:
            progress_seals.check_progress(self._row_keys, ledger, view, generation, progress)
        except ViewWrong:
            return None  # it is not shown, see `health`
        return ledger, view, progress.position


class Positions:
    """Positions of views, and futures that wait for them. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], list[tuple[int, Future[int]]]] = {}
        self._lock = threading.Lock()

    def known(self, ledger: str, view: str) -> int:
        """The position that is known of a view; 0 if none is."""
        with self._lock:
            return self._known.get((ledger, view), 0)

    def when_reached(self, ledger: str, view: str, position: int) -> Future[int]:
        """A future of the view's position once it is at least `position`; cancel it to give up."""
        future: Future[int] = Future()
        key = (ledger, view)
        with self._lock:
            known = self._known.get(key, 0)
            if known < position:
                self._waiting.setdefault(key, []).append((position, future))
                return future
        future.set_result(known)
        return future

    def forget(self, ledger: str) -> None:
        """Forget the positions of a ledger: the only way in which one goes back."""
        with self._lock:
            for key in [key for key in self._known if key[0] == ledger]:
                del self._known[key]

    def advance(self, progress: Iterable[Progress]) -> None:
        """Record progress and resolve the futures that waited for it; positions never go back."""
        resolved: list[tuple[Future[int], int]] = []
        with self._lock:
            for ledger, view, position in progress:
                key = (ledger, view)
                if position <= self._known.get(key, -1):
                    continue
                self._known[key] = position
                waiting = self._waiting.pop(key, None)
                if waiting:
                    resolved += [(f, position) for wanted, f in waiting if wanted <= position]
                    rest = [(w, f) for w, f in waiting if w > position and not f.cancelled()]
                    if rest:
                        self._waiting[key] = rest
        # Outside the lock: a callback may ask for positions itself.
        for future, position in resolved:
            with suppress(InvalidStateError):  # cancelled meanwhile
                future.set_result(position)

"""The positions of all views, as this process knows them, and futures that wait for a position.

Reading order: ProgressTracker, Positions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

from domain.store.postgres.connection import Connection, connect
from domain.store.postgres.notifications import Notification, NotificationListener
from projections.engine.view import View

Progress = tuple[str, str, int]
"""(ledger, view, position)"""

PROGRESS_CHANNEL = "certledger_views"
"""NOTIFY channel on which a runner announces to every process what it committed."""

POLL_SECONDS = 1.0
"""How long a change that no runner announces, such as the swap of a rebuild, may go unnoticed."""


def to_payload(ledger: str, positions: Iterable[tuple[str, int]]) -> str:
    """The notification of one commit: `ledger view=position …`."""
    return " ".join([ledger, *(f"{view}={position}" for view, position in positions)])


def from_payload(payload: str) -> list[Progress]:
    """The progress in a payload; parts of another form are ignored."""
    ledger, *parts = payload.split(" ")
    found = []
    for part in parts:
        view, _, position = part.partition("=")
        if position.isdigit():
            found.append((ledger, view, int(position)))
    return found


class ProgressTracker:
    """Follows the positions of every view of every ledger, whichever process folds it.

    One for each process.
    """

    def __init__(
        self, dsn: str, views: Sequence[View], *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Opens nothing yet. dsn: any login that is a member of certledger_app."""
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
            self._positions.advance(from_payload(payload))

    def _read_positions(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT ledger, view, position FROM certledger.tracking WHERE view = ANY(%s)",
                (self._names,),
            )
            self._positions.advance(cursor.fetchall())


class Positions:
    """Positions of views, and futures that wait for them. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], list[tuple[int, Future[int]]]] = {}
        self._lock = threading.Lock()

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

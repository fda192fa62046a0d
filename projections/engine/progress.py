"""How far the views are, as this process knows it, and whoever waits for more.

Reading order: Lookout, Positions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import Any

from domain.store.postgres.connection import connect
from projections.engine.listening import NotificationListener
from projections.engine.view import View

Progress = tuple[str, str, int]
"""(ledger, view, position)"""

CHANNEL = "certledger_views"
"""NOTIFY channel on which a runner tells every process what it committed."""

POLL_SECONDS = 1.0
"""How long what no runner told, such as a rebuild's swap, may go unnoticed."""


def to_payload(ledger: str, positions: Iterable[tuple[str, int]]) -> str:
    """What is told of one commit: `ledger view=position …`."""
    return " ".join([ledger, *(f"{view}={position}" for view, position in positions)])


def from_payload(payload: str) -> list[Progress]:
    """The progress in a payload; nothing if it is not one of ours."""
    ledger, *parts = payload.split(" ")
    found = []
    for part in parts:
        view, _, position = part.partition("=")
        if position.isdigit():
            found.append((ledger, view, int(position)))
    return found


class ProgressTracker:
    """Knows how far every view of every ledger is, whichever process folds it; one a process."""

    def __init__(
        self, dsn: str, views: Sequence[View], *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Nothing is opened yet. dsn: any login that is a member of certledger_app."""
        self._names = [view.name for view in views]
        self._positions = Positions()
        self._ear = NotificationListener(
            lambda: connect(dsn, name="certledger view lookout"),
            (CHANNEL,),
            self._heard,
            self._look,
            poll_seconds,
        )

    def start(self) -> None:
        """Begin to listen, in the background; a database that is away is waited for."""
        self._ear.start()

    def stop(self) -> None:
        """Listen no more; whoever waits goes on waiting."""
        self._ear.stop()

    def __enter__(self) -> ProgressTracker:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def reached(self, ledger: str, view: str, position: int) -> Future[int]:
        """A future of the view's position once it is at least `position`; cancel it to give up.

        For an event loop: `asyncio.wrap_future`.
        """
        return self._positions.when(ledger, view, position)

    def wait_for(self, ledger: str, view: str, position: int, timeout_seconds: float = 5.0) -> bool:
        """Wait until a view has folded a position (read your writes). False: not in time."""
        future = self.reached(ledger, view, position)
        try:
            future.result(timeout_seconds)
        except NotInTime:
            future.cancel()
            return False
        return True

    def _heard(self, heard: list[tuple[str, str]]) -> None:
        for _, payload in heard:
            self._positions.advance(from_payload(payload))

    def _look(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT ledger, view, position FROM certledger.tracking WHERE view = ANY(%s)",
                (self._names,),
            )
            self._positions.advance(cursor.fetchall())


class Positions:
    """Positions of views, and futures that wait for them. Thread-safe."""

    def __init__(self) -> None:
        self._reached: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], list[tuple[int, Future[int]]]] = {}
        self._lock = threading.Lock()

    def reached(self, ledger: str, view: str) -> int:
        """Last position known to be in the view; 0 if nothing is known."""
        with self._lock:
            return self._reached.get((ledger, view), 0)

    def when(self, ledger: str, view: str, position: int) -> Future[int]:
        """A future of the position a view is at once it is at least `position`.

        Cancel it when nobody waits for it any more.
        """
        future: Future[int] = Future()
        key = (ledger, view)
        with self._lock:
            known = self._reached.get(key, 0)
            if known < position:
                self._waiting.setdefault(key, []).append((position, future))
                return future
        future.set_result(known)
        return future

    def advance(self, progress: Iterable[Progress]) -> None:
        """Take note of progress; positions never go back. Whoever waited for it is woken."""
        woken: list[tuple[Future[int], int]] = []
        with self._lock:
            for ledger, view, position in progress:
                key = (ledger, view)
                if position <= self._reached.get(key, -1):
                    continue
                self._reached[key] = position
                waiting = self._waiting.pop(key, None)
                if waiting:
                    woken += [(f, position) for wanted, f in waiting if wanted <= position]
                    rest = [(w, f) for w, f in waiting if w > position and not f.cancelled()]
                    if rest:
                        self._waiting[key] = rest
        # Outside the lock: a callback may ask for positions itself.
        for future, position in woken:
            _resolve(future, position)


def _resolve(future: Future[int], position: int) -> None:
    # Whoever waited may have given up meanwhile.
    with suppress(InvalidStateError):
        future.set_result(position)

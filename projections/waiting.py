"""How far the views are, as this process knows it, and whoever waits for more."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

Progress = tuple[str, str, int]
"""(ledger, view, position)"""

CHANNEL = "certledger_views"
"""NOTIFY channel on which a runner tells every process what it committed."""


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

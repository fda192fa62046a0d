"""What a background worker did and could not do, as far as it has to know for its next round.

In memory only: another process, or the same one after a restart, tries what is due at once, and
what is done already gets its first receipt again. Reading order: RefusedItem, Outcomes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from projections.worklist.queries import ItemKey, WorkItem

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Back-off of one item, seconds: doubled with each refusal in a row."""

Key = tuple[str, ItemKey]
"""The work, and the item."""


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """Why an item is not done. code: of the refusal. count: refusals in a row.

    retry_at: monotonic seconds.
    """

    code: str
    count: int
    retry_at: float


class Outcomes:
    """The outcomes of the items that are still due, as the worklist last said. Thread-safe."""

    def __init__(self) -> None:
        self._refused: dict[Key, RefusedItem] = {}
        self._done: dict[Key, int] = {}
        self._lock = threading.Lock()

    def refuse(self, work: str, item: ItemKey, code: str) -> float:
        """Note a refusal. Returns: seconds until the next attempt."""
        with self._lock:
            known = self._refused.get((work, item))
            count = 1 if known is None else known.count + 1
            pause = min(FIRST_PAUSE_S * 2.0 ** min(count - 1, 20), LONGEST_PAUSE_S)
            self._refused[work, item] = RefusedItem(code, count, time.monotonic() + pause)
            return pause

    def done(self, work: str, item: ItemKey, position: int) -> None:
        """Note that an item is done. position: of the last fact; the worklist follows."""
        with self._lock:
            self._refused.pop((work, item), None)
            self._done[work, item] = position

    def resting(self, work: str) -> list[ItemKey]:
        """The items of a work that were refused and are not to be tried again yet."""
        now = time.monotonic()
        with self._lock:
            return [
                item
                for (name, item), refusal in self._refused.items()
                if name == work and refusal.retry_at > now
            ]

    def open(self, work: str, found: list[WorkItem], ledgers: frozenset[str]) -> list[WorkItem]:
        """Of the items that the worklist found in these ledgers, those to do now.

        Left out is what is done and not folded yet. What was not found any more is forgotten.
        """
        due = {item.key for item in found}
        now = time.monotonic()
        with self._lock:
            for name, key in [*self._refused, *self._done]:
                if name == work and key[0] in ledgers and key not in due:
                    self._done.pop((name, key), None)
                    refusal = self._refused.get((name, key))
                    if refusal is not None and refusal.retry_at <= now:
                        del self._refused[name, key]
            return [i for i in found if self._done.get((work, i.key), 0) <= i.folded]

    def refused(self, ledger: str, work: str) -> tuple[int, str | None]:
        """How many items of a ledger are refused, and the code of the last refusal."""
        with self._lock:
            found = [
                refusal
                for (name, item), refusal in self._refused.items()
                if name == work and item[0] == ledger
            ]
        last = max(found, key=lambda refusal: refusal.retry_at, default=None)
        return len(found), None if last is None else last.code

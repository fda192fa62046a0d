"""The views whose rows are known not to be those of the events; none of them is shown.

The background audit finds them, and so does a reader of their progress. Each process that answers
reads or lookups has one `WrongViews`.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from domain.store.errors import ViewWrong

Place = tuple[str, str]
"""(view, ledger)"""

EVERY_LEDGER = "*"
"""In place of a ledger; none has this name."""


class WrongViews:
    """Where views are wrong, by who found it. Thread-safe."""

    def __init__(self) -> None:
        self._found: dict[str, frozenset[Place]] = {}
        self._all: frozenset[Place] = frozenset()
        self._lock = Lock()

    @property
    def all(self) -> frozenset[Place]:
        """Whatever was found by anybody."""
        return self._all

    def set(self, finder: str, found: Iterable[Place]) -> None:
        """Take note of all that one finder finds wrong now."""
        with self._lock:
            self._found[finder] = frozenset(found)
            self._all = frozenset().union(*self._found.values())

    def concerns(self, view: str, ledger: str) -> bool:
        """Whether the view of this ledger is wrong."""
        wrong = self._all
        return bool(wrong) and ((view, ledger) in wrong or (view, EVERY_LEDGER) in wrong)

    def check(self, view: str, ledger: str) -> None:
        """Raises: ViewWrong if the view of this ledger is wrong."""
        if self._all and self.concerns(view, ledger):
            raise ViewWrong(view=view)

    def check_absence(self, view: str) -> None:
        """Check before it is said that no ledger has a row: it may be one that is missing.

        Raises: ViewWrong if the view of any ledger is wrong.
        """
        if any(wrong == view for wrong, _ in self._all):
            raise ViewWrong(view=view)

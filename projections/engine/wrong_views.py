"""The views whose rows are known not to be those of the events; none of them is shown.

The background audit finds them, and so does a reader of their progress; of a ledger that lacks
erasures no view is shown. Each process that answers reads or lookups has one `WrongViews`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from threading import Lock

from domain.store.errors import ErasuresMissing, ViewWrong

Place = tuple[str, str]
"""(view, ledger)"""

EVERY_LEDGER = "*"
"""In place of a ledger; none has this name."""

ERASURES_MISSING = "*"
"""In place of a view; none has this name: what the ledger shows may have been erased."""


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
        return bool(wrong) and any(
            each in wrong for each in product((view, ERASURES_MISSING), (ledger, EVERY_LEDGER))
        )

    def check(self, view: str, ledger: str) -> None:
        """Raises: ErasuresMissing, ViewWrong if the view of this ledger is not shown."""
        if self._all and self.concerns(view, ledger):
            if self.concerns(ERASURES_MISSING, ledger):
                raise ErasuresMissing(ledger=ledger)
            raise ViewWrong(view=view)

    def check_absence(self, view: str) -> None:
        """Check before it is said that no ledger has a row: it may be one that is missing.

        Raises: ErasuresMissing, ViewWrong if the view of any ledger is not shown.
        """
        for wrong, ledger in sorted(self._all):
            if wrong == ERASURES_MISSING:
                raise ErasuresMissing(ledger=ledger)
            if wrong == view:
                raise ViewWrong(view=view)

"""What is wrong with a running service, as the closed list of codes that `/health` reports.

Begin with `HealthProblems`. Whatever finds something wrong raises its code and clears it when it is
right again; `/health` and `/ready` show the list.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

CODES = frozenset(
    {
        *("clock_uncertain", "clock_unwitnessed", "database_unreachable", "disk_full"),
        *(
            "erasures_missing",
            "head_place_silent",
            "log_not_continued",
            "seal_missing",
            "view_paused",
        ),
        *("view_wrong", "work_overdue", "wrong_key"),
    }
)
"""The codes; what one is about follows after a colon, as in `wrong_key:journal`."""


@dataclass(frozen=True, slots=True)
class HealthProblem:
    """One thing that is wrong. position: of the event it is about. since: aware, UTC."""

    code: str
    since: datetime
    ledger: str | None = None
    view: str | None = None
    position: int | None = None


class HealthProblems:
    """The problems of a service. Thread-safe."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None, str | None], HealthProblem] = {}
        self._lock = threading.Lock()

    def raise_(
        self,
        code: str,
        *,
        ledger: str | None = None,
        view: str | None = None,
        position: int | None = None,
    ) -> None:
        """Report a problem; one that is reported already keeps its time and its position.

        Raises: ValueError for a code that is not in the list.
        """
        if code.partition(":")[0] not in CODES:
            raise ValueError(f"{code} is not a code of /health")
        with self._lock:
            found = HealthProblem(code, datetime.now(UTC), ledger, view, position)
            self._found.setdefault((code, ledger, view), found)

    def clear(self, code: str, *, ledger: str | None = None, view: str | None = None) -> None:
        """Report that a problem is no more; nothing happens if it was none."""
        with self._lock:
            self._found.pop((code, ledger, view), None)

    def __iter__(self) -> Iterator[HealthProblem]:
        """The problems of this moment, the oldest first."""
        with self._lock:
            return iter(sorted(self._found.values(), key=lambda problem: problem.since))

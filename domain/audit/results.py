"""What a check reports: how much it compared, and what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from domain.store.tlog.findings import Finding

FINDINGS_MAX = 100
"""Findings that one check keeps; all are counted."""


@dataclass(slots=True)
class CheckResult:
    """The result of one check.

    counts: what was compared, by its name in the plural. findings: the first FINDINGS_MAX.
    found: how many there are. skipped: why nothing was checked; None if it was.
    """

    check: str
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    skipped: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong; also if it was skipped."""
        return not self.found

    def count(self, what: str, number: int = 1) -> None:
        """Count something that was compared."""
        self.counts[what] = self.counts.get(what, 0) + number

    def find(
        self, what: str, position: int | None = None, row: str | None = None, clause: str = ""
    ) -> None:
        """Add a finding."""
        self.found += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(position, what, self.check, row, clause or None))

    def __str__(self) -> str:
        if self.skipped is not None:
            return f"not checked: {self.skipped}"
        counted = ", ".join(f"{number} {what}" for what, number in self.counts.items())
        wrong = f"; {self.found} WRONG" if self.found else ""
        return f"{counted or 'nothing to compare'}{wrong}"


Pace = Callable[[int], None]
"""Called after each piece of work with the position that was reached; may sleep, or raise to
stop."""


def at_once(position: int) -> None:
    """The pace of an audit that nobody else waits for."""

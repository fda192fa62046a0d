"""Names events that no decision could have made; see `domain.lawfulness`."""

from __future__ import annotations

from collections.abc import Sequence

from domain.audit.events import Event
from domain.audit.results import CheckResult, Pace
from domain.lawfulness.judge import Judge
from domain.store.privacy.field_encryption import Vault


class LawfulnessCheck:
    """Judges every event of a ledger."""

    def __init__(self, ledger: str, vault: Vault) -> None:
        self.result = CheckResult("lawfulness")
        self._judge = Judge(ledger, vault.open, vault.blind_index)

    def page(self, events: Sequence[Event]) -> None:
        """Judge the commands of a page."""
        for event in events:
            self._judge.next(event.position, event.envelope)

    def finish(self, upto: int, pace: Pace) -> None:
        """Judge the last command, and report."""
        judge = self._judge
        judge.close()
        self.result.count("events judged", judge.judged)
        for reason, number in sorted(judge.reasons.items()):
            self.result.count(f"not judged ({reason})", number)
        for found in judge.unlawful:
            self.result.find(str(found), found.position)
        self.result.found = judge.unlawful_count

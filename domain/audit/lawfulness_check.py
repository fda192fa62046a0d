"""Names events that no decision could have made; see `domain.lawfulness`."""

from __future__ import annotations

from collections.abc import Sequence

from domain.audit.events import Event
from domain.audit.results import CheckResult, Pace
from domain.lawfulness.judge import Judge
from domain.store.errors import WrongKey
from domain.store.privacy.field_encryption import Vault


class LawfulnessCheck:
    """Judges every event of a ledger.

    A field that no key opens is a finding of its own, once for each person; what rests on it is not
    judged, so that one exchanged key does not make a whole journey unlawful.
    """

    def __init__(self, ledger: str, vault: Vault) -> None:
        self.result = CheckResult("lawfulness")
        self._vault = vault
        self._closed: set[str] = set()
        self._judge = Judge(ledger, self._open, vault.blind_index)

    def _open(self, person: str, stream: str, version: int, field: str, sealed: str) -> str | None:
        try:
            return self._vault.open(person, stream, version, field, sealed)
        except WrongKey:
            if person not in self._closed:
                self._closed.add(person)
                what = f"{field} at version {version} of {stream} does not open, and is not judged"
                self.result.find(what, row=f"person {person}")
            return None

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
        kept = len(judge.unlawful)
        for found in judge.unlawful:
            self.result.find(str(found), found.position)
        self.result.found += judge.unlawful_count - kept

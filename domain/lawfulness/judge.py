"""Judges a ledger event by event; what `certledger verify` and the background audit call.

    judge = Judge("omc", vault.open, vault.blind_index)
    for event in events:                      # every event, in order of position
        judge.next(event.position, event.parsed)
    judge.close()
    judge.unlawful, judge.judged, judge.not_judged

Two processes share the work: each reads every event and judges the commands of its share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from domain.lawfulness.history import History
from domain.lawfulness.verdict import BlindIndex, Unlawful

Opener = Callable[[str, str, int, str, str], "str | None"]
"""`open(person, stream, version, field, sealed)`: the text, None if the person's key is gone; as
`domain.store.privacy.vault.Vault.open`. Raises: a LedgerError for a value that does not open."""

UNLAWFUL_MAX = 1000
"""Findings that are kept; all are counted."""


class Judge:
    """Judges the events of one ledger in order of position.

    unlawful: what no decision could have made, at most UNLAWFUL_MAX, in order of position.
    unlawful_count: how many there are. judged, not_judged: events, of this judge's share.
    reasons: of what was not judged, with the number of events.
    """

    def __init__(
        self,
        ledger: str,
        opener: Opener,
        blind_index: BlindIndex,
        *,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Start before the first event.

        blind_index: as `domain.store.privacy.blind_index.BlindIndexes.blind_index`.
        share: (index, of): judge every command of this share; all are folded. The shares
            0 … of - 1 together judge every command once.
        """
        self.ledger = ledger
        self.unlawful: list[Unlawful] = []
        self.unlawful_count = 0
        self.judged = 0
        self.not_judged = 0
        self.reasons: Counter[str] = Counter()
        self.history = History()
        self._opener = opener
        self._blind_index = blind_index
        self._share = share

    def next(self, position: int, envelope: Mapping[str, Any]) -> None:
        """The next event. envelope: parsed, with its personal fields sealed."""

    def close(self) -> None:
        """Judge the last command; there are no more events."""

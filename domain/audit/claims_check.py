"""Compares the table of claims with the claims that follow from the events.

The table is read in order of position next to the events, a page at a time. Reading order:
ClaimsCheck.page, `_take`, `_compare`.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.audit.events import Event, fact_of
from domain.audit.results import CheckResult, Pace
from domain.claims import Claim, EarlierFacts, NotOpened, claims_of
from domain.errors import LedgerError
from domain.store.journal.journal import Journal
from domain.store.mapper import Catalogue

Taken = tuple[str, str, int]
"""(kind, key, position): a row of the table; the position of the command that took the claim."""
Released = tuple[str, str, int]
"""(kind, key, position of the command that released it)."""

_ROWS = """SELECT kind, key, position, released_position FROM certledger.claims
WHERE ledger = %s AND position > %s AND position <= %s"""
_RELEASED = """SELECT 1 FROM certledger.claims
WHERE ledger = %s AND kind = %s AND key = %s AND released_position = %s"""
_BEYOND = """SELECT kind, key, position FROM certledger.claims
WHERE ledger = %s AND position > (SELECT position FROM certledger.ledgers WHERE ledger = %s)
LIMIT 100"""


def _row(claim: Claim) -> str:
    """The row in words. Its key names nobody: persons are in it by id or pseudonym."""
    kind, key = claim
    return f"claim {kind} {key}"


class ClaimsCheck:
    """Missing claims, claims that no event took, and releases that no event, or no row, knows."""

    def __init__(self, journal: Journal, catalogue: Catalogue) -> None:
        self.result = CheckResult("claims")
        self._journal = journal
        self._catalogue = catalogue
        self._earlier = EarlierFacts()
        self._command = ""
        self._first = 0  # position of the first event of the present command
        self._takes: set[Taken] = set()
        self._releases: list[Released] = []
        self._compared = 0
        self._released_rows: dict[Released, int] = {}  # by a later event, to the row's position

    def page(self, events: Sequence[Event]) -> None:
        """Compare the claims of every command that ended before the last one of the page."""
        for event in events:
            command = event.envelope["command_id"]
            if command != self._command:
                self._command, self._first = command, event.position
            if event.topic in EarlierFacts.TOPICS:
                self._take(event)
        self._compare(self._first - 1)

    def finish(self, upto: int, pace: Pace) -> None:
        """Compare the rest, and look for rows beyond the last event."""
        self._compare(upto)
        ledger = self._journal.ledger
        for kind, key, position in self._journal.query(_BEYOND, (ledger, ledger)):
            self.result.find("no event took it", position, _row((kind, key)))

    def _take(self, event: Event) -> None:
        try:
            fact = fact_of(self._catalogue, event)
            change = claims_of(fact, self._earlier)
            self._earlier.add(fact)
        except NotOpened as missing:
            what = f"its claims cannot be derived: no event before it opened {missing.args[0]!r}"
            self.result.find(what, event.position)
            return
        except LedgerError as error:
            self.result.find(f"its claims cannot be derived: {error}", event.position)
            return
        self._takes.update((*claim, self._first) for claim in change.takes)
        self._releases += [(*claim, self._first) for claim in change.releases]

    def _compare(self, upto: int) -> None:
        """Compare rows and events with `_compared` < position <= upto."""
        if upto <= self._compared:
            return
        expected = {taken for taken in self._takes if taken[2] <= upto}
        self._takes -= expected
        arguments = (self._journal.ledger, self._compared, upto)
        for kind, key, position, released in self._journal.query(_ROWS, arguments):
            self.result.count("claims")
            taken = (kind, key, position)
            if taken not in expected:
                self.result.find("no event took it", position, _row(taken[:2]))
                continue
            expected.remove(taken)
            if released is not None:
                self._released_rows[kind, key, released] = position
        for kind, key, position in sorted(expected, key=lambda taken: taken[2]):
            self.result.find("is missing; this event took it", position, _row((kind, key)))
        self._compare_releases(upto)
        self._compared = upto

    def _compare_releases(self, upto: int) -> None:
        due = [released for released in self._releases if released[2] <= upto]
        self._releases = self._releases[len(due) :]
        for released in due:
            if self._released_rows.pop(released, None) is None and not self._is_released(released):
                kind, key, position = released
                self.result.find(
                    "is not released; this event released it", position, _row((kind, key))
                )
        wrong = [released for released in self._released_rows if released[2] <= upto]
        for kind, key, position in wrong:
            taken = self._released_rows.pop((kind, key, position))
            what = f"is released; no event at position {position} released it"
            self.result.find(what, taken, _row((kind, key)))

    def _is_released(self, released: Released) -> bool:
        """Whether the row is released by now: it was read before the release was recorded."""
        return bool(self._journal.query(_RELEASED, (self._journal.ledger, *released)))

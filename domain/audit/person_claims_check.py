"""Compares the table of person claims with the blind indexes that follow from the opened events.

A row that is missing lets a registered number pass for a free one; one that is too many identifies
somebody whose data were erased, or gives a document to another person.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from domain.audit.events import Event, events_since
from domain.audit.results import CheckResult, Pace
from domain.events import FORGETTING
from domain.person_claims import TOPICS
from domain.service.person_index import opened_claims
from domain.store.errors import WrongEpochKey
from domain.store.journal.journal import Journal
from domain.store.privacy.field_encryption import Vault
from domain.store.privacy.index_ciphers import StoredIndexes

_PAGE = 5000
_ERASING = frozenset(fact.TOPIC for fact in FORGETTING)
_ROWS = """SELECT kind, index, person_id FROM certledger.person_claims
WHERE ledger = %s AND (kind, index, person_id) > (%s, %s, %s)
ORDER BY kind, index, person_id LIMIT %s"""
_AGAIN = """SELECT kind, index, person_id FROM certledger.person_claims
WHERE ledger = %s AND person_id = ANY(%s)"""


class PersonClaimsCheck:
    """Indexes that are missing, that no event gives, and that are left after an erasure."""

    def __init__(self, journal: Journal, vault: Vault, indexes: StoredIndexes) -> None:
        self.result = CheckResult("person claims")
        self._journal = journal
        self._vault = vault
        self._indexes = indexes
        # By person: position and hashes, for the texts of all indexes would fill the memory.
        self._expected: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._erased: set[str] = set()

    def page(self, events: Sequence[Event]) -> None:
        """Note the indexes of persons whose facts are on the page."""
        changing = [event for event in events if event.topic in TOPICS]
        positions = {str(each.data.get("person_id")): each.position for each in changing}
        self._erased |= {
            str(each.data.get("person_id")) for each in changing if each.topic in _ERASING
        }
        for person, indexes in opened_claims(self._vault, [each.envelope for each in changing]):
            self._expected[person] = positions[person], tuple(map(hash, indexes))

    def finish(self, upto: int, pace: Pace) -> None:
        """Compare every row. Raises: Unavailable; what `pace` raises.

        Where no key of an epoch opens, which the check of keys names, nothing can be compared.
        """
        with suppress(WrongEpochKey):
            self._compare(upto, pace)

    def _compare(self, upto: int, pace: Pace) -> None:
        missing = {
            (person, index) for person, (_, indexes) in self._expected.items() for index in indexes
        }
        unexpected: list[tuple[str, str]] = []
        closed: set[str] = set()
        after = ("", "", "")
        while rows := self._journal.query(_ROWS, (self._journal.ledger, *after, _PAGE)):
            for kind, index, person in rows:
                self.result.count("person claims")
                row = self._row(kind, index, person)
                if row is None:
                    closed.add(person)
                    continue
                missing.discard(row)
                if row[1] not in self._expected.get(person, (0, ()))[1]:
                    unexpected.append((kind, person))
            after = rows[-1]
            pace(upto)
        # Asked again: a row may have come under another epoch while rows were read.
        found, closed = self._rows_of(sorted({person for person, _ in missing} | closed))
        missing -= found
        for person in sorted(closed):
            self.result.find("has a blind index that no epoch opens", row=f"person {person}")
        # Asked after the rows were read: what changed one of them is committed by now.
        since = events_since(self._journal, TOPICS, upto)
        changed = {str(event.data.get("person_id")) for event in since}
        for kind, person in unexpected:
            if person not in changed:
                self._unexpected(kind, person)
        for person, _ in sorted(missing):
            if person not in changed | closed:
                what = "has no blind index that its event gives"
                self.result.find(what, self._expected[person][0], f"person {person}")

    def _row(self, kind: str, stored: str, person: str) -> tuple[str, int] | None:
        """A row as `missing` has it; None for an index that no epoch opens."""
        index = self._indexes.opened(stored)
        return None if index is None else (person, hash((kind, index)))

    def _rows_of(self, persons: Sequence[str]) -> tuple[set[tuple[str, int]], set[str]]:
        """The rows of persons now, and those persons of whom no epoch opens a row."""
        found: set[tuple[str, int]] = set()
        closed: set[str] = set()
        for begin in range(0, len(persons), _PAGE):
            page = list(persons[begin : begin + _PAGE])
            for kind, index, person in self._journal.query(_AGAIN, (self._journal.ledger, page)):
                row = self._row(kind, index, person)
                if row is None:
                    closed.add(person)
                else:
                    found.add(row)
        return found, closed

    def _unexpected(self, kind: str, person: str) -> None:
        """Named without the index, which identifies the person."""
        position, indexes = self._expected.get(person, (None, ()))
        if person in self._erased:
            what = f"was erased, and their blind index of kind {kind} is still there"
        elif position is not None and not indexes:
            what = f"has a blind index of kind {kind}, and the event that gives it does not open"
        else:
            what = f"has a blind index of kind {kind} that no event gives"
        self.result.find(what, position, f"person {person}")

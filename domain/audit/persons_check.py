"""Checks the keys of persons: the living have one that opens their fields, the erased have none.

One sealed field of each person is opened, which tells a key that was exchanged or lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from domain.audit.events import Event, sealed_fields
from domain.audit.results import CheckResult, Pace
from domain.errors import LedgerError
from domain.events import PersonalDataErased
from domain.store.journal.journal import Journal
from domain.store.privacy.field_encryption import Vault, stored_keys

_KEPT = """SELECT person FROM certledger.person_keys
WHERE ledger = %s AND wrapped IS NOT NULL AND person = ANY(%s) ORDER BY person"""
_ERASED_SINCE = """SELECT convert_from(envelope, 'UTF8')::json -> 'data' ->> 'person_id'
FROM certledger.journal WHERE ledger = %s AND topic = %s AND position > %s"""


class _Sample(NamedTuple):
    """The first sealed field of a person."""

    position: int
    stream: str
    version: int
    field: str
    text: str


class PersonsCheck:
    """Keys that open nothing, keys destroyed without an erasure, and keys left after one."""

    def __init__(self, journal: Journal, vault: Vault) -> None:
        """vault: of its own, because its cached keys are dropped."""
        self.result = CheckResult("keys")
        self._journal = journal
        self._vault = vault
        self._read_keys = stored_keys(journal)
        self._seen: set[str] = set()
        self._destroyed: dict[str, int] = {}
        self._erased: dict[str, int] = {}

    def page(self, events: Sequence[Event]) -> None:
        """Open one field of each person who is new."""
        samples: dict[str, _Sample] = {}
        for event in events:
            if event.topic == PersonalDataErased.TOPIC:
                self._erased[str(event.data.get("person_id"))] = event.position
            person = event.data.get("person_id")
            if type(person) is not str or person in self._seen:
                continue
            for name, text in sealed_fields(event.data).items():
                self._seen.add(person)
                stream, version = event.envelope["stream"], event.envelope["version"]
                samples[person] = _Sample(event.position, stream, version, name, text)
                break
        if samples:
            self._open(samples)

    def _open(self, samples: dict[str, _Sample]) -> None:
        self._vault.forget()
        keys = self._read_keys(samples)
        for person, sample in samples.items():
            key = keys.get(person)
            if key is None:
                self.result.find("has no key", sample.position, f"person {person}")
                continue
            if key.wrapped is None:
                self._destroyed[person] = sample.position
                continue
            try:
                self._vault.cache_key(key)
                self._vault.open(person, sample.stream, sample.version, sample.field, sample.text)
            except LedgerError:
                what = "has a key that does not open what was sealed for them"
                self.result.find(what, sample.position, f"person {person}")
                continue
            self.result.count("keys opened")

    def finish(self, upto: int, pace: Pace) -> None:
        """Compare the destroyed keys with the erasures."""
        ledger = self._journal.ledger
        since = self._journal.query(_ERASED_SINCE, (ledger, PersonalDataErased.TOPIC, upto))
        late = {person for (person,) in since}
        for person, position in self._destroyed.items():
            if person not in self._erased and person not in late:
                what = "has lost their key, and no event erased them"
                self.result.find(what, position, f"person {person}")
        for (person,) in self._journal.query(_KEPT, (ledger, list(self._erased))):
            what = "was erased and has a key again"
            self.result.find(what, self._erased[person], f"person {person}")
        self.result.count("persons erased", len(self._erased))

"""Checks the data keys: those of the living open what they sealed, those of the erased are gone.

One value of each key is opened, which tells a key that was exchanged or lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from domain.audit.events import Event
from domain.audit.results import CheckResult, Pace
from domain.errors import LedgerError
from domain.events import PersonalDataErased
from domain.store.journal.journal import Journal
from domain.store.privacy.field_encryption import Vault
from domain.values.sealed_fields import KEY, parse_key_name, person_owner, sealed_values

_LEFT = """SELECT owner, class, generation FROM certledger.data_keys
WHERE ledger = %s AND wrapped IS NOT NULL AND owner = ANY(%s) ORDER BY owner, class, generation"""
_ERASED_SINCE = """SELECT convert_from(envelope, 'UTF8')::json -> 'data' ->> 'person_id'
FROM certledger.journal WHERE ledger = %s AND topic = %s AND position > %s"""


class _Sample(NamedTuple):
    """The first value that a key sealed."""

    position: int
    stream: str
    version: int
    path: str
    sealed: dict[str, str]


class PersonsCheck:
    """Keys that open nothing, keys destroyed without an erasure, and keys left after one."""

    def __init__(self, journal: Journal, vault: Vault) -> None:
        """vault: of its own, because its cached keys are dropped."""
        self.result = CheckResult("keys")
        self._journal = journal
        self._vault = vault
        self._seen: set[int] = set()  # hashes: the names of all keys would fill the memory
        self._destroyed: dict[str, int] = {}
        self._erased: dict[str, int] = {}

    def page(self, events: Sequence[Event]) -> None:
        """Open one value of each key that is new."""
        samples: dict[str, _Sample] = {}
        for event in events:
            if event.topic == PersonalDataErased.TOPIC:
                owner = person_owner(str(event.data.get("person_id")))
                self._erased[owner] = event.position
            stream, version = event.envelope["stream"], event.envelope["version"]
            for path, sealed in sealed_values(event.data):
                name = sealed[KEY]
                if hash(name) not in self._seen:
                    self._seen.add(hash(name))
                    samples[name] = _Sample(event.position, stream, version, path, sealed)
        if samples:
            self._open(samples)

    def _open(self, samples: dict[str, _Sample]) -> None:
        self._vault.forget()
        keys = self._vault.current_keys(sample.sealed for sample in samples.values())
        for name, sample in samples.items():
            if name not in keys:
                self.result.find("is missing", sample.position, f"key {name}")
                continue
            if keys[name].wrapped is None:
                self._destroyed[name] = sample.position
                continue
            try:
                self._vault.open(sample.stream, sample.version, sample.path, sample.sealed)
            except LedgerError:
                what = "does not open what was sealed under it"
                self.result.find(what, sample.position, f"key {name}")
                continue
            self.result.count("keys opened")

    def finish(self, upto: int, pace: Pace) -> None:
        """Compare the destroyed keys with the erasures."""
        ledger = self._journal.ledger
        since = self._journal.query(_ERASED_SINCE, (ledger, PersonalDataErased.TOPIC, upto))
        late = {person_owner(person) for (person,) in since}
        for name, position in self._destroyed.items():
            owner = parse_key_name(name).owner
            if owner not in self._erased and owner not in late:
                what = "was destroyed, and no event erased what it sealed"
                self.result.find(what, position, f"key {name}")
        for owner, data_class, generation in self._journal.query(
            _LEFT, (ledger, list(self._erased))
        ):
            what = "is there although its owner was erased"
            row = f"key {owner}/{data_class}/{generation}"
            self.result.find(what, self._erased[owner], row)
        self.result.count("persons erased", len(self._erased))

"""Checks the data keys: those of the living open what they sealed, those of the erased are gone.

One value of each key is opened, which tells a key that was exchanged or lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from domain.audit.events import Event
from domain.audit.results import CheckResult, Pace
from domain.errors import LedgerError
from domain.events import ERASURE
from domain.store.journal.data_keys import KeyClass
from domain.store.journal.journal import Journal
from domain.store.privacy.field_encryption import Vault
from domain.values.sealed_fields import KEY, parse_key_name, person_owner, sealed_values

# A later generation is of what was written since.
_LEFT = """SELECT k.owner, k.class, k.generation FROM certledger.data_keys k
JOIN unnest(%s::text[], %s::text[], %s::timestamptz[]) AS e (owner, class, at)
    ON k.owner = e.owner AND k.class = e.class AND k.created_at < e.at
WHERE k.ledger = %s AND k.wrapped IS NOT NULL ORDER BY k.owner, k.class, k.generation"""
_ERASED_SINCE = """SELECT convert_from(envelope, 'UTF8')::json -> 'data'
FROM certledger.journal WHERE ledger = %s AND topic = ANY(%s) AND position > %s"""
_ERASURES = [fact.TOPIC for fact in ERASURE]


class _Sample(NamedTuple):
    """The first value that a key sealed."""

    position: int
    stream: str
    version: int
    path: str
    sealed: dict[str, str]


class _Erased(NamedTuple):
    """The last event that destroyed a class of somebody's keys. recorded_at: as in the envelope."""

    position: int
    recorded_at: str


class PersonsCheck:
    """Keys that open nothing, keys destroyed without an erasure, and keys left after one."""

    def __init__(self, journal: Journal, vault: Vault) -> None:
        """vault: of its own, because its cached keys are dropped."""
        self.result = CheckResult("keys")
        self._journal = journal
        self._vault = vault
        self._seen: set[int] = set()  # hashes: the names of all keys would fill the memory
        self._destroyed: dict[str, int] = {}
        self._erased: dict[KeyClass, _Erased] = {}

    def page(self, events: Sequence[Event]) -> None:
        """Open one value of each key that is new."""
        samples: dict[str, _Sample] = {}
        for event in events:
            if event.topic in _ERASURES:
                last = _Erased(event.position, event.envelope["recorded_at"])
                self._erased.update(dict.fromkeys(_destroyed(event.data), last))
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
        since = self._journal.query(_ERASED_SINCE, (ledger, _ERASURES, upto))
        late = {each for (data,) in since for each in _destroyed(data)}
        for name, position in self._destroyed.items():
            key = parse_key_name(name)[:2]
            if key not in self._erased and key not in late:
                what = "was destroyed, and no event erased what it sealed"
                self.result.find(what, position, f"key {name}")
        gone = [(*key, last.recorded_at) for key, last in self._erased.items()]
        columns = [list(column) for column in zip(*gone, strict=True)] or [[], [], []]
        for owner, data_class, generation in self._journal.query(_LEFT, (*columns, ledger)):
            what = "is there although its owner was erased"
            row = f"key {owner}/{data_class}/{generation}"
            self.result.find(what, self._erased[owner, data_class].position, row)
        self.result.count("persons erased", len({owner for owner, _ in self._erased}))


def _destroyed(data: Any) -> list[KeyClass]:
    """The keys that an event destroyed, as far as its data have the form."""
    if not isinstance(data, dict) or not isinstance(data.get("destroyed"), list):
        return []
    return [(person_owner(str(data.get("person_id"))), str(each)) for each in data["destroyed"]]

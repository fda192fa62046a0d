"""Checks the data keys: those of the living open what they sealed, those of the erased are gone.

One value of each key is opened, which tells a key that was exchanged or lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from domain.audit.events import Event, events_since
from domain.audit.results import CheckResult, Pace
from domain.errors import LedgerError
from domain.events import ERASURE
from domain.store.journal.data_keys import KeyClass
from domain.store.journal.journal import Journal
from domain.store.privacy.field_encryption import Vault
from domain.values.sealed_fields import (
    KEY,
    KeyName,
    parse_key_name,
    person_owner,
    sealed_values,
)

_LEFT = """SELECT k.owner, k.class, k.generation FROM certledger.data_keys k
JOIN unnest(%s::text[], %s::text[]) AS e (owner, class) ON k.owner = e.owner AND k.class = e.class
WHERE k.ledger = %s AND k.wrapped IS NOT NULL ORDER BY k.owner, k.class, k.generation"""
_ERASURES = [fact.TOPIC for fact in ERASURE]


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
        # The last event that destroyed a class of keys, and the keys of it that came after. By
        # position: the times in the table are as easily changed as the keys.
        self._erased: dict[KeyClass, int] = {}
        self._later: dict[KeyClass, set[str]] = {}

    def page(self, events: Sequence[Event]) -> None:
        """Open one value of each key that is new."""
        samples: dict[str, _Sample] = {}
        for event in events:
            if event.topic in _ERASURES:
                for each in _destroyed(event.data):
                    self._erased[each] = event.position
                    self._later.pop(each, None)
            stream, version = event.envelope["stream"], event.envelope["version"]
            for path, sealed in sealed_values(event.data):
                name = sealed[KEY]
                if hash(name) not in self._seen:
                    self._seen.add(hash(name))
                    samples[name] = _Sample(event.position, stream, version, path, sealed)
                    self._note_later(name)
        if samples:
            self._open(samples)

    def _note_later(self, name: str) -> None:
        """A key that is used for the first time."""
        each = _class_of(name)
        if each in self._erased:
            self._later.setdefault(each, set()).add(name)

    def _open(self, samples: dict[str, _Sample]) -> None:
        self._vault.forget_data_keys()  # bucket keys are compared by a check of their own
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
        since = events_since(self._journal, _ERASURES, upto)
        late = {each for event in since for each in _destroyed(event.data)}
        for name, position in self._destroyed.items():
            each = _class_of(name)
            is_erased = each in self._erased and name not in self._later.get(each, ())
            if not is_erased and each not in late:
                what = "was destroyed, and no event erased what it sealed"
                self.result.find(what, position, f"key {name}")
        columns = [list(column) for column in zip(*self._erased, strict=True)] or [[], []]
        for row in self._journal.query(_LEFT, (*columns, self._journal.ledger)):
            key = KeyName(*row)
            each, name = (key.owner, key.data_class), str(key)
            # A key that was not seen was first used since.
            if hash(name) in self._seen and name not in self._later.get(each, ()):
                what = "is there although its owner was erased"
                self.result.find(what, self._erased[each], f"key {name}")
        self.result.count("persons erased", len({owner for owner, _ in self._erased}))


def _class_of(name: str) -> KeyClass:
    """The owner and the class of a key; empty for what no key is called."""
    try:
        return parse_key_name(name)[:2]
    except ValueError:
        return "", ""


def _destroyed(data: dict[str, Any]) -> list[KeyClass]:
    """The keys that an event destroyed, as far as its data have the form."""
    if not isinstance(data.get("destroyed"), list):
        return []
    return [(person_owner(str(data.get("person_id"))), str(each)) for each in data["destroyed"]]

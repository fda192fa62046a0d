"""Keeps personal data readable only as long as its person's key exists.

Each person has a data key of their own, stored wrapped under a master key that is not in the
database. To erase a person is to destroy that one key: the journal's bytes, hashes and proofs stay,
and what was sealed can no longer be read. A backup of the database still holds the wrapped key, so
an erasure is complete only when the backups from before it have expired.
Reading order: MasterKeys, Vault.open, Vault.sealer and Sealer, Vault.rewrap.
"""

import base64
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from domain.store.errors import PersonErased, WrongKey
from domain.store.journal.journal import Journal
from domain.store.journal.records import PersonKey
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.cipher_suites import AES, KEY_BYTES, forget_derived, suite_named

CACHE_SECONDS = 15.0
"""Another process may have destroyed a key: nobody goes on reading with it for longer."""

_CACHE_PERSONS = 20_000


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The keys that wrap the persons' keys. active: id of the one new keys are wrapped under.

    keys: id -> 32 bytes; old ones stay until everything under them was re-wrapped.
    """

    active: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.active not in self.keys:
            raise ValueError(f"there is no master key {self.active!r}")
        for name, key in self.keys.items():
            if len(key) != KEY_BYTES:
                raise ValueError(f"master key {name!r} must have {KEY_BYTES} bytes")


class KeyLookup(Protocol):
    """Where a sealer finds a person's key row under the head lock: a View or a Batch."""

    def person_key(self, person: str) -> PersonKey | None: ...


@dataclass(frozen=True, slots=True)
class _Held:
    """A key in memory. key: None once it was destroyed. wrapped: the row it came from."""

    key: bytes | None = field(repr=False)
    wrapped: bytes | None
    until: float


class Vault(BlindIndexes):
    """Seals and opens one ledger's personal data. Thread-safe."""

    def __init__(
        self,
        ledger: str,
        master_keys: MasterKeys,
        index_key: bytes,
        read_keys: Callable[[Iterable[str]], dict[str, PersonKey]],
        *,
        algorithm: str = AES.name,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        """Hold the keys; nothing is read yet.

        index_key: at least 32 bytes; losing or changing it makes every blind index useless.
        read_keys: committed key rows of persons; see `stored_keys`.
        algorithm: aes-256-gcm or sm4-gcm, for what is sealed from now on.
        Raises: ValueError for a short index key, WrongKey for an unknown algorithm.
        """
        super().__init__(index_key, algorithm)
        self.ledger = ledger
        self._master_keys = master_keys
        self._read_keys = read_keys
        self._cache_seconds = cache_seconds
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    # --- opening ---------------------------------------------------------------------------------

    def preload(self, persons: Iterable[str]) -> None:
        """Read the keys of many persons at once, before opening what is sealed under them."""
        now = time.monotonic()
        with self._lock:
            missing = {p for p in persons if p not in self._held or self._held[p].until < now}
        if missing:
            self._fetch(missing)

    def open(self, person: str, stream: str, version: int, field: str, sealed: str) -> str | None:
        """What was sealed there; None once the person was erased.

        Raises: WrongKey if the value was moved, altered or sealed under another key.
        """
        name, _, encoded = sealed.partition(":")
        suite = suite_named(name)
        try:
            body = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise WrongKey(reason="it is not base64") from None
        context = self._context(stream, version, field)
        with self._lock:
            held = self._held.get(person)
        fresh = held is None or held.until < time.monotonic()
        if fresh:
            held = self._fetch({person})[person]
        assert held is not None
        if held.key is None:
            return None
        try:
            return suite.decrypt(held.key, body, context).decode()
        except WrongKey:
            if fresh:
                raise
        # The key in memory may be of a command that was refused in the end.
        held = self._fetch({person})[person]
        return None if held.key is None else suite.decrypt(held.key, body, context).decode()

    def take(self, row: PersonKey) -> None:
        """Hold a key whose row was just read, so that opening need not ask for it."""
        key = self._key_of(row)
        self._hold(row.person, key, row.wrapped)

    # --- sealing ---------------------------------------------------------------------------------

    def sealer(self, lookup: KeyLookup) -> "FieldEncryptor":
        """Seals for one append. lookup: the view of the job, under the head lock."""
        return FieldEncryptor(self, lookup)

    def forget(self, person: str | None = None) -> None:
        """Drop a person's key from memory, or everybody's; call it when an erasure committed."""
        with self._lock:
            if person is None:
                self._held.clear()
            else:
                self._held.pop(person, None)
        forget_derived()

    # --- the keys themselves ---------------------------------------------------------------------

    def rewrap(self, journal: Journal, limit: int = 1000) -> int:
        """Wrap keys that stand under an older master key or algorithm anew.

        Returns: how many were re-wrapped; call until it is 0, then the old master key may go.
        """
        rows = journal.query(
            "SELECT person, algorithm, master_key_id, wrapped FROM certledger.person_keys "
            "WHERE ledger = %s AND wrapped IS NOT NULL AND master_key_id <> %s LIMIT %s",
            (self.ledger, self._master_keys.active, limit),
        )
        for person, algorithm, master_key_id, wrapped in rows:
            old = PersonKey(person, algorithm, master_key_id, bytes(wrapped))
            key = self._unwrap(old)
            # The algorithm column cannot be changed: a key stays under the suite it began with.
            new = suite_named(algorithm).encrypt(
                self._master_keys.keys[self._master_keys.active], key, self._key_context(person)
            )
            journal.change(
                "UPDATE certledger.person_keys SET wrapped = %s, master_key_id = %s "
                "WHERE ledger = %s AND person = %s AND wrapped = %s",
                (new, self._master_keys.active, self.ledger, person, old.wrapped),
            )
        self.forget()
        return len(rows)

    def _new_key(self, person: str) -> tuple[PersonKey, bytes]:
        key = os.urandom(KEY_BYTES)
        active = self._master_keys.active
        wrapped = self._suite.encrypt(
            self._master_keys.keys[active], key, self._key_context(person)
        )
        return PersonKey(person, self._suite.name, active, wrapped), key

    def _unwrap(self, row: PersonKey) -> bytes:
        assert row.wrapped is not None
        master = self._master_keys.keys.get(row.master_key_id)
        if master is None:
            raise WrongKey(reason=f"master key {row.master_key_id!r} is not configured")
        context = self._key_context(row.person)
        return suite_named(row.algorithm).decrypt(master, row.wrapped, context)

    def _key_of(self, row: PersonKey) -> bytes | None:
        """The key of a row known to be current; from memory if it is the same row."""
        with self._lock:
            held = self._held.get(row.person)
        if held is not None and held.wrapped == row.wrapped:
            return held.key
        key = None if row.wrapped is None else self._unwrap(row)
        self._hold(row.person, key, row.wrapped)
        return key

    def _fetch(self, persons: set[str]) -> dict[str, _Held]:
        rows = self._read_keys(persons)
        for person in persons:
            if person not in rows:
                raise WrongKey(reason=f"person {person} has no key")
        return {
            person: self._hold(person, self._unwrap(row) if row.wrapped else None, row.wrapped)
            for person, row in rows.items()
        }

    def _hold(self, person: str, key: bytes | None, wrapped: bytes | None) -> _Held:
        held = _Held(key, wrapped, time.monotonic() + self._cache_seconds)
        with self._lock:
            if len(self._held) >= _CACHE_PERSONS:
                self._held.clear()
            self._held[person] = held
        return held

    def _context(self, stream: str, version: int, field: str) -> bytes:
        return f"{self.ledger}|{stream}|{version}|{field}".encode()

    def _key_context(self, person: str) -> bytes:
        return f"{self.ledger}|{person}".encode()


class FieldEncryptor:
    """Seals the personal fields of one append, making keys for persons who have none.

    `fresh_keys` goes into the Append: a key is stored by the transaction that first uses it.
    """

    def __init__(self, vault: Vault, lookup: KeyLookup) -> None:
        self._vault = vault
        self._lookup = lookup
        self._fresh: dict[str, PersonKey] = {}
        self._keys: dict[str, bytes] = {}

    @property
    def fresh_keys(self) -> tuple[PersonKey, ...]:
        """Keys made here, to be stored with the events."""
        return tuple(self._fresh.values())

    def seal(self, person: str, stream: str, version: int, field: str, text: str) -> str:
        """ "<algorithm>:<base64>", to be opened at that very place only.

        Raises: PersonErased if the person's key was destroyed.
        """
        key = self._keys.get(person) or self._key_for(person)
        context = self._vault._context(stream, version, field)
        suite = self._vault._suite
        sealed = suite.encrypt(key, text.encode(), context)
        return f"{suite.name}:{base64.b64encode(sealed).decode()}"

    def _key_for(self, person: str) -> bytes:
        row = self._lookup.person_key(person)
        if row is None:
            row, key = self._vault._new_key(person)
            self._fresh[person] = row
            # A later job of the same batch may open this before the key is committed.
            self._vault._hold(person, key, row.wrapped)
        else:
            found = self._vault._key_of(row)
            if found is None:
                raise PersonErased(person=person)
            key = found
        self._keys[person] = key
        return key


def stored_keys(journal: Journal) -> Callable[[Iterable[str]], dict[str, PersonKey]]:
    """Reads key rows of a ledger's persons; the usual `read_keys` of a Vault."""

    def read(persons: Iterable[str]) -> dict[str, PersonKey]:
        rows = journal.query(
            "SELECT person, algorithm, master_key_id, wrapped FROM certledger.person_keys "
            "WHERE ledger = %s AND person = ANY(%s)",
            (journal.ledger, list(persons)),
        )
        return {
            person: PersonKey(person, algorithm, master, None if w is None else bytes(w))
            for person, algorithm, master, w in rows
        }

    return read

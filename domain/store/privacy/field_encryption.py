"""Crypto-shredding: encrypts personal fields under one data key per person.

The database stores each data key wrapped under a master key that is not in the database. Erasing a
person destroys their data key: the journal's bytes, hashes and proofs stay, and the sealed fields
can no longer be decrypted. `domain.steps.erasure` decides it, `DESTROY_KEYS` of
`domain.store.journal.person_keys` destroys the key. A backup of the database still holds the
wrapped key, so an erasure is complete only when the backups from before it have expired.
Reading order: MasterKeys, PersonKeys, Vault.open, FieldEncryptor.seal, Vault.rewrap, stored_keys.
"""

import base64
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from domain.store.errors import DataKeyDestroyed, WrongKey
from domain.store.journal.journal import Journal
from domain.store.journal.person_keys import (
    SELECT_ERASED,
    SELECT_KEYS,
    PersonKey,
    key_from_row,
    person_streams,
)
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.cipher_suites import AES, KEY_BYTES, forget_derived, suite_named

CACHE_SECONDS = 15.0
"""How long a key is cached: the longest time a key destroyed by another process stays in use."""

_CACHE_PERSONS = 20_000


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The keys that wrap the persons' keys. active: id of the key that wraps new ones.

    keys: id -> 32 bytes; an old key is needed until everything under it is re-wrapped.
    """

    active: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.active not in self.keys:
            raise ValueError(f"there is no master key {self.active!r}")
        for name, key in self.keys.items():
            if len(key) != KEY_BYTES:
                raise ValueError(f"master key {name!r} must have {KEY_BYTES} bytes")


class PersonKeys(Protocol):
    """The key rows as an append sees them; `BatchView`, `Transaction` and `Batch` implement it."""

    def person_key(self, person: str) -> PersonKey | None: ...


@dataclass(frozen=True, slots=True)
class _CachedKey:
    """A key in memory. key: None after it was destroyed. wrapped: of the row it came from."""

    key: bytes | None = field(repr=False)
    wrapped: bytes | None
    until: float


class Vault(BlindIndexes):
    """Encrypts and decrypts one ledger's personal fields. Thread-safe."""

    def __init__(
        self,
        ledger: str,
        master_keys: MasterKeys,
        index_key: bytes,
        read_keys: Callable[[Iterable[str]], dict[str, PersonKey]],
        *,
        algorithm: str = AES.name,
        cache_seconds: float = CACHE_SECONDS,
        erased: Callable[[Iterable[str]], set[str]] | None = None,
    ) -> None:
        """Keep the keys; reads nothing from the database yet.

        index_key: at least 32 bytes; losing or changing it makes every blind index useless.
        read_keys: committed key rows of persons; see `stored_keys`.
        algorithm: aes-256-gcm or sm4-gcm, for fields sealed from now on.
        erased: those of some persons whom an event erased, see `erased_persons`; then nothing opens
            for a person whose key was destroyed without one. None believes every destroyed key.
        Raises: ValueError for a short index key, WrongKey for an unknown algorithm.
        """
        super().__init__(index_key, algorithm)
        self.ledger = ledger
        self._master_keys = master_keys
        self._read_keys = read_keys
        self._erased = erased
        self._cache_seconds = cache_seconds
        self._cache: dict[str, _CachedKey] = {}
        self._lock = threading.Lock()

    # --- opening ---------------------------------------------------------------------------------

    def preload(self, persons: Iterable[str]) -> None:
        """Read the keys of many persons in one query, before opening their fields."""
        now = time.monotonic()
        with self._lock:
            missing = {p for p in persons if p not in self._cache or self._cache[p].until < now}
        if missing:
            self._fetch(missing)

    def open(self, person: str, stream: str, version: int, field: str, sealed: str) -> str | None:
        """Decrypt a field. Returns: None after the person was erased.

        Raises: WrongKey if the value was moved, altered or sealed under another key, or the key was
            destroyed and nobody erased the person.
        """
        name, _, encoded = sealed.partition(":")
        suite = suite_named(name)
        try:
            body = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise WrongKey(reason="it is not base64") from None
        context = self._context(stream, version, field)
        with self._lock:
            cached = self._cache.get(person)
        fresh = cached is None or cached.until < time.monotonic()
        if fresh:
            cached = self._fetch({person})[person]
        assert cached is not None
        if cached.key is None:
            return None
        try:
            return suite.decrypt(cached.key, body, context).decode()
        except WrongKey:
            if fresh:
                raise
        # The cached key may belong to a command that was refused in the end.
        cached = self._fetch({person})[person]
        return None if cached.key is None else suite.decrypt(cached.key, body, context).decode()

    def cache_key(self, row: PersonKey) -> None:
        """Cache the key of a row that was just read, so that `open` need not read it again."""
        self._key_of(row)

    # --- sealing ---------------------------------------------------------------------------------

    def encryptor(self, keys: PersonKeys) -> "FieldEncryptor":
        """The encryptor of one append. keys: the read view of its command."""
        return FieldEncryptor(self, keys)

    def forget(self, person: str | None = None) -> None:
        """Drop one person's key from memory, or all; call it after the COMMIT of an erasure."""
        with self._lock:
            if person is None:
                self._cache.clear()
            else:
                self._cache.pop(person, None)
        forget_derived()

    # --- data keys -------------------------------------------------------------------------------

    def rewrap(self, journal: Journal, limit: int = 1000) -> int:
        """Wrap keys of an older master key under the active one; part of key rotation.

        Returns: how many were re-wrapped. Call until it is 0; then the old master key may go.
        """
        rows = journal.query(
            SELECT_KEYS
            + "WHERE ledger = %s AND wrapped IS NOT NULL AND master_key_id <> %s LIMIT %s",
            (self.ledger, self._master_keys.active, limit),
        )
        for old in map(key_from_row, rows):
            key = self._unwrap(old)
            # The algorithm column cannot be changed: a key keeps the suite of its first wrapping.
            new = suite_named(old.algorithm).encrypt(
                self._master_keys.keys[self._master_keys.active], key, self._key_context(old.person)
            )
            journal.change(
                "UPDATE certledger.person_keys SET wrapped = %s, master_key_id = %s "
                "WHERE ledger = %s AND person = %s AND wrapped = %s",
                (new, self._master_keys.active, self.ledger, old.person, old.wrapped),
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
        """The key of a row known to be current; from the cache if it is the same row.

        A destroyed one is not cached: `open` asks whether an event erased the person.
        """
        with self._lock:
            if row.wrapped is None:
                self._cache.pop(row.person, None)
                return None
            cached = self._cache.get(row.person)
        is_same = cached is not None and cached.wrapped == row.wrapped
        key = cached.key if cached is not None and is_same else self._unwrap(row)
        self._put(row.person, key, row.wrapped)
        return key

    def _fetch(self, persons: set[str]) -> dict[str, _CachedKey]:
        rows = self._read_keys(persons)
        for person in persons:
            if person not in rows:
                raise WrongKey(reason=f"person {person} has no key")
        self._ensure_erased({p for p, row in rows.items() if row.wrapped is None})
        return {
            person: self._put(person, self._unwrap(row) if row.wrapped else None, row.wrapped)
            for person, row in rows.items()
        }

    def _ensure_erased(self, destroyed: set[str]) -> None:
        """Raises: WrongKey for a person whose key was destroyed, and whom no event erased."""
        if destroyed and self._erased is not None:
            for person in sorted(destroyed - self._erased(destroyed)):
                reason = f"the key of person {person} was destroyed, and no event erased them"
                raise WrongKey(reason=reason)

    def _put(self, person: str, key: bytes | None, wrapped: bytes | None) -> _CachedKey:
        cached = _CachedKey(key, wrapped, time.monotonic() + self._cache_seconds)
        with self._lock:
            if len(self._cache) >= _CACHE_PERSONS:
                self._cache.clear()
            self._cache[person] = cached
        return cached

    def _context(self, stream: str, version: int, field: str) -> bytes:
        return f"{self.ledger}|{stream}|{version}|{field}".encode()

    def _key_context(self, person: str) -> bytes:
        return f"{self.ledger}|{person}".encode()


class FieldEncryptor:
    """Encrypts the personal fields of one append, making keys for persons who have none.

    `fresh_keys` goes into the AppendRequest: the transaction that first uses a key stores it.
    """

    def __init__(self, vault: Vault, keys: PersonKeys) -> None:
        self._vault = vault
        self._person_keys = keys
        self._fresh: dict[str, PersonKey] = {}
        self._keys: dict[str, bytes] = {}

    @property
    def fresh_keys(self) -> tuple[PersonKey, ...]:
        """Keys made here, to be stored with the events."""
        return tuple(self._fresh.values())

    def seal(self, person: str, stream: str, version: int, field: str, text: str) -> str:
        """Encrypt a field as "<algorithm>:<base64>", which opens only at that place.

        Raises: DataKeyDestroyed if the person's key was destroyed.
        """
        key = self._keys.get(person) or self._key_for(person)
        context = self._vault._context(stream, version, field)
        suite = self._vault._suite
        sealed = suite.encrypt(key, text.encode(), context)
        return f"{suite.name}:{base64.b64encode(sealed).decode()}"

    def _key_for(self, person: str) -> bytes:
        row = self._person_keys.person_key(person)
        if row is None:
            row, key = self._vault._new_key(person)
            self._fresh[person] = row
            # A later command of the same batch may open this before the key is committed.
            self._vault._put(person, key, row.wrapped)
        else:
            found = self._vault._key_of(row)
            if found is None:
                raise DataKeyDestroyed(person=person)
            key = found
        self._keys[person] = key
        return key


def stored_keys(journal: Journal) -> Callable[[Iterable[str]], dict[str, PersonKey]]:
    """A function that reads key rows of a ledger's persons; the `read_keys` of most Vaults."""

    def read(persons: Iterable[str]) -> dict[str, PersonKey]:
        rows = journal.query(
            SELECT_KEYS + "WHERE ledger = %s AND person = ANY(%s)",
            (journal.ledger, list(persons)),
        )
        return {key.person: key for key in map(key_from_row, rows)}

    return read


def erased_persons(journal: Journal) -> Callable[[Iterable[str]], set[str]]:
    """A function that reads which persons of a ledger an event erased; the `erased` of a Vault.

    It looks for the event only: that its seal is right is for the readers of the journal to check.
    """

    def read(persons: Iterable[str]) -> set[str]:
        rows = journal.query(SELECT_ERASED, (journal.ledger, person_streams(persons)))
        return {person for (person,) in rows}

    return read

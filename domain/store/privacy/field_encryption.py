"""Crypto-shredding: seals fields under data keys of persons and matters.

The database stores each data key wrapped by a bucket key, and that wrapped by the key of an epoch,
which is not in the database. An erasure destroys data keys: the journal's bytes, hashes and proofs
stay, and what they sealed can no longer be opened. `domain.steps.erasure` decides it,
`DESTROY_KEYS` of `domain.store.journal.data_keys` destroys the keys. An older copy of the database
still holds them, wrapped; it is of no use once the key of the epoch was destroyed (`epoch_keys`).
Owners, classes and names of keys: `domain.values.sealed_fields`.
Reading order: KeyRows, Vault.open, FieldEncryptor.seal, stored_keys.
"""

import base64
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Protocol

import orjson

from domain.store.errors import FileKeyChanged, WrongKey
from domain.store.journal.bucket_keys import bucket_of
from domain.store.journal.data_keys import (
    SELECT_ERASURES,
    SELECT_NAMED_KEYS,
    DataKey,
    KeyClass,
    erased_classes,
    key_from_row,
    named_keys,
    owner_streams,
)
from domain.store.journal.envelope import canonical_json
from domain.store.journal.journal import Journal
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.bucket_keys import BucketKeys
from domain.store.privacy.cipher_suites import AES, KEY_BYTES, Suite, forget_derived, suite_named
from domain.store.privacy.epoch_keys import EpochKeys
from domain.values.sealed_fields import (
    KEY,
    SEALED,
    DataClass,
    KeyName,
    Sealed,
    matter_owner,
    parse_key_name,
    person_owner,
)

CACHE_SECONDS = 15.0
"""How long a key is cached: the longest time a key destroyed by another process stays in use."""

GENERATION = timedelta(days=365)
"""How long a generation of a key is in use, from its first use on."""

PAD_BYTES = 32
"""A plaintext is padded to a multiple of this, so that its length tells little."""

OFFER_SECONDS = 60.0
"""How long a new key is remembered until a transaction stores it; then it is drawn again."""

_CACHE_KEYS = 40_000
_OFFERS = 40_000

Erased = Callable[[Iterable[str]], set[KeyClass]]
"""The keys of some owners, all generations, that an event destroyed."""

ReadKeys = Callable[[Iterable[KeyName]], Iterable[DataKey]]
"""Reads the committed rows of keys, as far as they exist."""


class KeyRows(Protocol):
    """The key rows as an append sees them; `BatchView` and `Batch` implement it."""

    @property
    def recorded_at(self) -> datetime: ...
    def data_keys(self, owner: str) -> Sequence[DataKey]: ...


@dataclass(frozen=True, slots=True)
class _CachedKey:
    """A key in memory. key: None after it was destroyed. wrapped: of the row it came from."""

    key: bytes | None = field(repr=False)
    wrapped: bytes | None
    until: float


@dataclass(frozen=True, slots=True)
class _Offer:
    """A key that was drawn, and that no transaction may have stored yet."""

    key: bytes = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that something outside the journal is sealed under: a file."""

    name: KeyName
    key: bytes = field(repr=False)


class Vault(BlindIndexes):
    """Seals and opens the fields of one ledger. Thread-safe."""

    def __init__(
        self,
        ledger: str,
        buckets: BucketKeys,
        index_key: bytes,
        read_keys: ReadKeys,
        *,
        algorithm: str = AES.name,
        cache_seconds: float = CACHE_SECONDS,
        erased: Erased | None = None,
    ) -> None:
        """Keep the keys; reads nothing from the database yet.

        buckets: of the ledger; they wrap its data keys.
        index_key: at least 32 bytes; losing or changing it makes every blind index useless.
        read_keys: committed key rows; see `stored_keys`.
        algorithm: aes-256-gcm or sm4-gcm, for fields sealed from now on.
        erased: see `erased_owners`; then nothing opens whose key was destroyed without an event.
            None believes every destroyed key.
        Raises: ValueError for a short index key, WrongKey for an unknown algorithm.
        """
        super().__init__(index_key, algorithm)
        self.ledger = ledger
        self._buckets = buckets
        self._read_keys = read_keys
        self._erased = erased
        self._cache_seconds = cache_seconds
        self._cache: dict[str, _CachedKey] = {}
        self._offered: dict[str, _Offer] = {}
        self._lock = threading.Lock()

    @property
    def suite(self) -> Suite:
        """What fields and files are sealed with from now on."""
        return self._suite

    # --- opening ---------------------------------------------------------------------------------

    def preload(self, sealed: Iterable[Mapping[str, str]]) -> None:
        """Read the keys of many sealed values in one query, before opening them.

        Raises: WrongKey if a key does not exist.
        """
        now = time.monotonic()
        names = {value[KEY] for value in sealed}
        with self._lock:
            missing = {n for n in names if n not in self._cache or self._cache[n].until < now}
        if missing:
            self._fetch(missing)

    def current_keys(self, sealed: Iterable[Mapping[str, str]]) -> dict[str, DataKey]:
        """The key rows of many sealed values as they are now, by name, as far as they exist.

        They are cached, except for those that were destroyed or cannot be unwrapped.
        """
        names = {value[KEY] for value in sealed}
        known: list[KeyName] = []
        for name in names:
            with suppress(ValueError):
                known.append(parse_key_name(name))
        rows = list(self._read_keys(known)) if known else []
        for row in rows:
            with suppress(WrongKey):
                self._key_of(row)
        return {str(row.name): row for row in rows}

    def open(self, stream: str, version: int, path: str, sealed: Mapping[str, str]) -> Any:
        """Open a sealed value. path: JSON pointer of its place in `data` as first stored.

        Returns: the JSON value; None after its key was destroyed.
        Raises: WrongKey if the value was moved, altered or sealed under another key, or the key was
            destroyed and no event erased its owner.
        """
        name = sealed[KEY]
        suite_name, _, encoded = sealed[SEALED].partition(":")
        suite = suite_named(suite_name)
        try:
            body = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise WrongKey(reason="it is not base64") from None
        plain = self.decrypt(name, suite, body, self._context(stream, version, path, name))
        return None if plain is None else _unpadded(plain)

    def decrypt(self, name: str, suite: Suite, body: bytes, context: bytes) -> bytes | None:
        """The plaintext of bytes sealed under a named key; None after it was destroyed.

        Raises: WrongKey as `open`.
        """
        with self._lock:
            cached = self._cache.get(name)
        fresh = cached is None or cached.until < time.monotonic()
        if fresh:
            cached = self._fetch({name})[name]
        assert cached is not None
        if cached.key is None:
            return None
        try:
            return suite.decrypt(cached.key, body, context)
        except WrongKey:
            if fresh:
                raise
        # The cached key may belong to a command that was refused in the end.
        cached = self._fetch({name})[name]
        return None if cached.key is None else suite.decrypt(cached.key, body, context)

    def is_destroyed(self, name: str) -> bool:
        """Whether a key is destroyed by now; asks the database.

        Raises: WrongKey if it does not exist, or no event erased its owner.
        """
        row = self.current_keys([{KEY: name}]).get(name)
        if row is None:
            raise WrongKey(reason=f"there is no key {name}")
        self._ensure_erased([row] if row.wrapped is None else [])
        return row.wrapped is None

    def cache_key(self, row: DataKey) -> None:
        """Cache the key of a row that was just read, so that `open` need not read it again."""
        self._key_of(row)

    # --- sealing ---------------------------------------------------------------------------------

    def encryptor(self, keys: KeyRows) -> "FieldEncryptor":
        """The encryptor of one append. keys: the read view of its command."""
        return FieldEncryptor(self, keys)

    def offering_encryptor(self, keys: KeyRows) -> "FieldEncryptor":
        """An encryptor of what is stored before its command is executed.

        It stores no key: the next append in this process that is the first to use one of its keys
        does. keys: committed rows.
        """
        return FieldEncryptor(self, keys, is_offering=True)

    def forget(self, owner: str | None = None) -> None:
        """Drop an owner's keys from memory, or all; call it after the COMMIT of an erasure."""
        if owner is None:
            self._buckets.forget()
        self.forget_data_keys(owner)

    def forget_data_keys(self, owner: str | None = None) -> None:
        """As `forget`, but for the bucket keys."""
        with self._lock:
            for known in (self._cache, self._offered):
                for name in [n for n in known if owner is None or n.startswith(owner + "/")]:
                    del known[name]
        forget_derived()

    # --- data keys -------------------------------------------------------------------------------

    @property
    def epoch_keys(self) -> EpochKeys:
        """The keys of epochs, under which all others are."""
        return self._buckets.epoch_keys

    def unreadable_from(self, now: datetime) -> date:
        """The day from which nothing opens what is erased now, in Asia/Shanghai.

        Raises: WrongEpochKey, Unavailable.
        """
        return self._buckets.unreadable_from(now)

    def _new_key(self, name: KeyName, now: datetime) -> tuple[DataKey, bytes]:
        key = self._drawn(name)
        suite = self._suite.name
        generation, bucket_key = self._buckets.newest(bucket_of(name.owner), suite)
        wrapped = bucket_key.encrypt(key, data_key_context(self.ledger, name))
        return DataKey(*name, suite, generation, wrapped, now), key

    def _drawn(self, name: KeyName) -> bytes:
        """A new key of this name: the one that was drawn in the last OFFER_SECONDS, else another.

        It may have sealed a file already, or belong to a command that is not committed yet.
        """
        now = time.monotonic()
        with self._lock:
            # Oldest first: a key that is drawn once more moves to the end.
            for old, offer in list(islice(self._offered.items(), 2)):
                if offer.until < now or len(self._offered) >= _OFFERS:
                    del self._offered[old]
            known = self._offered.pop(str(name), None)
            key = os.urandom(KEY_BYTES) if known is None else known.key
            self._offered[str(name)] = _Offer(key, now + OFFER_SECONDS)
        return key

    def _unwrap(self, row: DataKey) -> bytes:
        assert row.wrapped is not None
        bucket = bucket_of(row.owner)
        bucket_key = self._buckets.find(bucket, row.bucket_generation, row.algorithm)
        return bucket_key.decrypt(row.wrapped, data_key_context(self.ledger, row.name))

    def _key_of(self, row: DataKey) -> bytes | None:
        """The key of a row known to be current; from the cache if it is the same row.

        A destroyed one is not cached: `open` asks whether an event erased its owner.
        """
        with self._lock:
            if row.wrapped is None:
                self._cache.pop(str(row.name), None)
                return None
            cached = self._cache.get(str(row.name))
        is_same = cached is not None and cached.wrapped == row.wrapped
        return self._put(row, cached.key if cached is not None and is_same else None).key

    def _fetch(self, names: set[str]) -> dict[str, _CachedKey]:
        rows = {str(row.name): row for row in self._read_keys([*map(_key_name, names)])}
        for name in names:
            if name not in rows:
                raise WrongKey(reason=f"there is no key {name}")
        self._ensure_erased(row for row in rows.values() if row.wrapped is None)
        return {name: self._put(row) for name, row in rows.items()}

    def _ensure_erased(self, destroyed: Iterable[DataKey]) -> None:
        """Raises: WrongKey for a key that was destroyed, and by no event."""
        names = {(row.owner, row.data_class): str(row.name) for row in destroyed}
        if names and self._erased is not None:
            erased = self._erased({owner for owner, _ in names})
            for each in sorted(names.keys() - erased):
                reason = f"key {names[each]} was destroyed, and no event erased what it sealed"
                raise WrongKey(reason=reason)

    def _put(self, row: DataKey, key: bytes | None = None) -> _CachedKey:
        """Cache a key. key: of the row, where it is known."""
        if key is None and row.wrapped is not None:
            key = self._unwrap(row)
        cached = _CachedKey(key, row.wrapped, time.monotonic() + self._cache_seconds)
        with self._lock:
            if len(self._cache) >= _CACHE_KEYS:
                self._cache.clear()
            self._cache[str(row.name)] = cached
        return cached

    def _context(self, stream: str, version: int, path: str, key: str) -> bytes:
        return f"certledger field v1|{self.ledger}|{stream}|{version}|{path}|{key}".encode()


class FieldEncryptor:
    """Seals the fields of one append, making the keys that it is the first to use.

    `fresh_keys` goes into the AppendRequest: the transaction that first uses a key stores it.
    """

    def __init__(self, vault: Vault, keys: KeyRows, *, is_offering: bool = False) -> None:
        self._vault = vault
        self._rows = keys
        self._is_offering = is_offering
        self._fresh: list[DataKey] = []
        self._keys: dict[tuple[str, str], tuple[str, bytes]] = {}

    @property
    def fresh_keys(self) -> tuple[DataKey, ...]:
        """Keys made here, to be stored with the events."""
        return tuple(self._fresh)

    @property
    def held_keys(self) -> tuple[HeldKey, ...]:
        """Every key that was used."""
        return tuple(HeldKey(parse_key_name(name), key) for name, key in self._keys.values())

    def key(self, person: str | None, data_class: DataClass | None, stream: str) -> HeldKey:
        """The key of a class of somebody, or the stream's, as `seal` would take it."""
        if data_class is None or person is None:
            name, key = self._key(matter_owner(stream), "")
        else:
            name, key = self._key_about(person, data_class, stream)
        return HeldKey(parse_key_name(name), key)

    def hold(self, held: HeldKey) -> None:
        """Make sure that this append leaves a key in use, or stores it as an offered one.

        Raises: FileKeyChanged if another key is in use by now.
        """
        name, key = self._key(held.name.owner, held.name.data_class)
        if name != str(held.name) or key != held.key:
            raise FileKeyChanged()

    def seal(
        self, mark: Sealed, person: str | None, stream: str, version: int, path: str, value: Any
    ) -> dict[str, str]:
        """Seal a JSON value for one place in the journal, where alone it opens.

        person: whom the fact names. What is about somebody all of whose keys are destroyed is
            sealed under the stream's matter key.
        Raises: ValueError if the mark has a class and there is no person; NotCanonical.
        """
        if mark.data_class is None:
            name, key = self._key(matter_owner(stream), "")
        elif not person:
            raise ValueError(f"{path} is personal, and the fact names no person")
        else:
            name, key = self._key_about(person, mark.data_class, stream)
        suite = self._vault._suite
        context = self._vault._context(stream, version, path, name)
        sealed = suite.encrypt(key, _padded(canonical_json(value)), context)
        return {KEY: name, SEALED: f"{suite.name}:{base64.b64encode(sealed).decode()}"}

    def _key_about(self, person: str, data_class: DataClass, stream: str) -> tuple[str, bytes]:
        owner = person_owner(person)
        found = self._keys.get((owner, data_class.value))
        if found is None:
            rows = self._rows.data_keys(owner)
            if rows and all(row.wrapped is None for row in rows):
                return self._key(matter_owner(stream), "")
            found = self._key(owner, data_class.value)
        return found

    def _key(self, owner: str, data_class: str) -> tuple[str, bytes]:
        """The key in use of an owner and a class, with its name; a new one where there is none."""
        found = self._keys.get((owner, data_class))
        if found is not None:
            return found
        now = self._rows.recorded_at
        rows = [row for row in self._rows.data_keys(owner) if row.data_class == data_class]
        last = max(rows, default=None)
        key = None
        if last is not None and now - last.created_at <= GENERATION:
            key = self._vault._key_of(last)
        if last is None or key is None:
            generation = 1 if last is None else last.generation + 1
            last, key = self._vault._new_key(KeyName(owner, data_class, generation), now)
            self._fresh.append(last)
            if not self._is_offering:
                # A later command of the same batch may open this before the key is committed.
                self._vault._put(last, key)
        found = self._keys[owner, data_class] = str(last.name), key
        return found


def data_key_context(ledger: str, name: KeyName) -> bytes:
    """What a wrapped data key is bound to."""
    return f"certledger data key v1|{ledger}|{name}".encode()


def _key_name(text: str) -> KeyName:
    try:
        return parse_key_name(text)
    except ValueError:
        raise WrongKey(reason="its key is none that there can be") from None


def _padded(plain: bytes) -> bytes:
    """The bytes, then 0x80 and zeros up to a multiple of PAD_BYTES."""
    return plain + b"\x80" + bytes(-(len(plain) + 1) % PAD_BYTES)


def _unpadded(padded: bytes) -> Any:
    """The JSON value of padded bytes."""
    return orjson.loads(padded[: padded.rindex(b"\x80")])


def stored_keys(journal: Journal) -> ReadKeys:
    """A function that reads key rows of a ledger; the `read_keys` of most Vaults."""

    def read(names: Iterable[KeyName]) -> list[DataKey]:
        rows = journal.query(SELECT_NAMED_KEYS, named_keys(journal.ledger, names))
        return list(map(key_from_row, rows))

    return read


def erased_owners(journal: Journal) -> Erased:
    """A function that reads which keys of a ledger an event destroyed; the `erased` of a Vault.

    It looks for the event only: that its seal is right is for the readers of the journal to check.
    """

    def read(owners: Iterable[str]) -> set[KeyClass]:
        rows = journal.query(SELECT_ERASURES, (journal.ledger, owner_streams(owners)))
        return erased_classes(rows)

    return read

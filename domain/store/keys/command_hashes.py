"""Keyed hashes of what a caller sends: the request, and its idempotency key.

A request may hold a name and a document number, and the table of commands is never pruned. With a
plain hash, a reader of the table could try numbers until one fits. So what is stored is
HMAC-SHA-256 under keys that are not in the database. The key of requests may be replaced: a stored
hash names its key, and retired keys check old rows. It goes with its epoch, too: afterwards nobody
can try requests against an old row, and the service cannot compare one with it. The key of
idempotency keys is never replaced, because rows are found by it.

Texts are UTF-8, ledger is the ledger's name:

- idempotency key: "certledger idempotency v1", 0x00, canonical JSON of [ledger, principal, key]
- request: "certledger request v1", 0x00, ledger, 0x00, the request in one spelling, under
  HMAC-SHA-256(command key, "certledger command epoch v1" ‖ 0x00 ‖ key of the epoch)

Reading order: CommandHasher, LedgerCommandHasher, RequestHash.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Protocol

import orjson

from domain.store.errors import CommandKeyMissing, IdempotencyKeyExpired
from domain.values.key_ids import ID_BYTES, symmetric_key_id

COMMAND_PURPOSE, IDEMPOTENCY_PURPOSE = "command", "idempotency"
"""The purposes of the two keys."""

KEY_BYTES = 32
_EPOCH_BYTES = 4
_NAME_BYTES = ID_BYTES + _EPOCH_BYTES
REQUEST_HASH_BYTES = _NAME_BYTES + 32
"""Length of a stored request hash: the id of its key, the number of its epoch, then the MAC."""

_IDEMPOTENCY, _REQUEST = b"certledger idempotency v1\0", b"certledger request v1\0"
_EPOCH = b"certledger command epoch v1\0"


class EpochSecrets(Protocol):
    """The keys of epochs by number; `LiveEpochs` is one."""

    def writing_key(self) -> tuple[int, bytes]:
        """Number and key of the epoch to write under."""
        ...

    def key_of(self, number: int) -> bytes | None:
        """The key of an epoch; None if it is over."""
        ...

    def newest(self) -> int:
        """The number of the newest epoch."""
        ...


class CommandHasher:
    """The keys of a service for requests and idempotency keys. Immutable; see `of`."""

    __slots__ = ("_active", "_idempotency", "_keys")

    def __init__(self, active: bytes, idempotency: bytes, retired: Iterable[bytes] = ()) -> None:
        """active: hashes requests from now on. retired: of earlier requests, for comparing only.

        Each has 32 bytes. Raises: ValueError.
        """
        keys = (*retired, active)
        if any(len(key) != KEY_BYTES for key in (*keys, idempotency)):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._keys = {_id_of(key): key for key in keys}
        self._active = _id_of(active)
        self._idempotency = idempotency

    def __repr__(self) -> str:
        """Without the keys."""
        return f"CommandHasher({self._active.hex()})"

    def of(self, ledger: str, epochs: EpochSecrets) -> "LedgerCommandHasher":
        """The hasher of one ledger."""
        return LedgerCommandHasher(ledger, self._active, self._keys, self._idempotency, epochs)


class LedgerCommandHasher:
    """Hashes requests and idempotency keys of one ledger. Thread-safe."""

    __slots__ = ("_active", "_begin", "_begun", "_epochs", "_key_mac", "_keys", "_ledger")

    def __init__(
        self,
        ledger: str,
        active: bytes,
        keys: Mapping[bytes, bytes],
        idempotency: bytes,
        epochs: EpochSecrets,
    ) -> None:
        """Use `CommandHasher.of`. active: id of the key for new requests. keys: by id."""
        self._ledger = ledger
        self._active = active
        self._keys = keys
        self._epochs = epochs
        # What all messages begin with is hashed once. `hmac.digest` would release the interpreter
        # lock each time, and wait for it again.
        self._begin = _REQUEST + ledger.encode() + b"\0"
        self._begun: dict[tuple[bytes, int, bytes], hmac.HMAC] = {}
        self._key_mac = hmac.new(idempotency, _IDEMPOTENCY, "sha256")

    def key(self, principal: str, key: str) -> str:
        """What is stored of a principal's idempotency key: 43 characters of base64url."""
        mac = self._key_mac.copy()
        mac.update(orjson.dumps([self._ledger, principal, key]))
        return urlsafe_b64encode(mac.digest())[:-1].decode()

    def request(self, request: bytes) -> "RequestHash":
        """The hash of a request. request: the same bytes whenever the same is asked for.

        Raises: what the epochs raise.
        """
        return RequestHash(self, request)

    def hash_now(self, request: bytes) -> bytes:
        """A hash to store, under the active key and the epoch to write under."""
        number, key = self._epochs.writing_key()
        return self._hash((self._active, number), key, request)

    def hash_as(self, stored: bytes, request: bytes) -> bytes:
        """What a stored hash is if it is of this request.

        Raises: CommandKeyMissing; IdempotencyKeyExpired if its epoch is over.
        """
        key_id, epoch = stored[:ID_BYTES], stored[ID_BYTES:_NAME_BYTES]
        number = int.from_bytes(epoch, "big")
        key = self._epochs.key_of(number)
        if key_id not in self._keys or number > self._epochs.newest():
            raise CommandKeyMissing(ledger=self._ledger, key_id=key_id.hex())
        if key is None:
            raise IdempotencyKeyExpired(position=None)
        return self._hash((key_id, number), key, request)

    def _hash(self, name: tuple[bytes, int], epoch_key: bytes, request: bytes) -> bytes:
        begun = self._begun.get((*name, epoch_key))
        if begun is None:
            key = hmac.digest(self._keys[name[0]], _EPOCH + epoch_key, "sha256")
            begun = hmac.new(key, self._begin, "sha256")
            # With the key: after a failover another epoch may have the number of one that was lost.
            live = {one: mac for one, mac in self._begun.items() if _is_live(one, self._epochs)}
            self._begun = live | {(*name, epoch_key): begun}
        mac = begun.copy()
        mac.update(request)
        return name[0] + name[1].to_bytes(_EPOCH_BYTES, "big") + mac.digest()


class RequestHash:
    """The keyed hash of one request. stored: 40 bytes, ids of key and epoch and the MAC."""

    __slots__ = ("_hasher", "_request", "stored")

    def __init__(self, hasher: LedgerCommandHasher, request: bytes) -> None:
        self._hasher = hasher
        self._request = request
        self.stored = hasher.hash_now(request)

    def is_same(self, stored: bytes) -> bool:
        """Whether a stored hash is of this request, whichever key made it.

        Raises: CommandKeyMissing if that key is not known here; IdempotencyKeyExpired.
        """
        if stored[:_NAME_BYTES] == self.stored[:_NAME_BYTES]:
            return hmac.compare_digest(stored, self.stored)
        return hmac.compare_digest(stored, self._hasher.hash_as(stored, self._request))


def _is_live(name: tuple[bytes, int, bytes], epochs: EpochSecrets) -> bool:
    return epochs.key_of(name[1]) == name[2]


def _id_of(key: bytes) -> bytes:
    return bytes.fromhex(symmetric_key_id(COMMAND_PURPOSE, key))

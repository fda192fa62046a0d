"""Keyed hashes of what a caller sends: the request, and its idempotency key.

A request may hold a name and a document number, and the table of commands is never pruned. With a
plain hash, a reader of the table could try numbers until one fits. So what is stored is
HMAC-SHA-256 under keys that are not in the database. The key of requests may be replaced: a stored
hash names its key, and retired keys check old rows. The key of idempotency keys is never replaced,
because rows are found by it.

Texts are UTF-8, ledger is the ledger's name:

- idempotency key: "certledger idempotency v1", 0x00, canonical JSON of [ledger, principal, key]
- request: "certledger request v1", 0x00, ledger, 0x00, the request in one spelling

Reading order: CommandHasher, LedgerCommandHasher, RequestHash.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping

import orjson

from domain.store.errors import CommandKeyMissing
from domain.values.key_ids import ID_BYTES, symmetric_key_id

COMMAND_PURPOSE, IDEMPOTENCY_PURPOSE = "command", "idempotency"
"""The purposes of the two keys."""

KEY_BYTES = 32
REQUEST_HASH_BYTES = ID_BYTES + 32
"""Length of a stored request hash: the id of its key, then the MAC."""

_IDEMPOTENCY, _REQUEST = b"certledger idempotency v1\0", b"certledger request v1\0"


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

    def of(self, ledger: str) -> "LedgerCommandHasher":
        """The hasher of one ledger."""
        return LedgerCommandHasher(ledger, self._active, self._keys, self._idempotency)


class LedgerCommandHasher:
    """Hashes requests and idempotency keys of one ledger. Immutable and thread-safe."""

    __slots__ = ("_active", "_key_mac", "_ledger", "_request_macs")

    def __init__(
        self, ledger: str, active: bytes, keys: Mapping[bytes, bytes], idempotency: bytes
    ) -> None:
        """Use `CommandHasher.of`. active: id of the key for new requests. keys: by id."""
        self._ledger = ledger
        self._active = active
        # What all messages begin with is hashed once. `hmac.digest` would release the interpreter
        # lock each time, and wait for it again.
        begin = _REQUEST + ledger.encode() + b"\0"
        self._request_macs = {name: hmac.new(key, begin, "sha256") for name, key in keys.items()}
        self._key_mac = hmac.new(idempotency, _IDEMPOTENCY, "sha256")

    def key(self, principal: str, key: str) -> str:
        """What is stored of a principal's idempotency key: 43 characters of base64url."""
        mac = self._key_mac.copy()
        mac.update(orjson.dumps([self._ledger, principal, key]))
        return urlsafe_b64encode(mac.digest())[:-1].decode()

    def request(self, request: bytes) -> "RequestHash":
        """The hash of a request. request: the same bytes whenever the same is asked for."""
        return RequestHash(self, request)

    def hash_under(self, key_id: bytes, request: bytes) -> bytes:
        """A stored hash under a known key. Raises: CommandKeyMissing."""
        begun = self._request_macs.get(key_id)
        if begun is None:
            raise CommandKeyMissing(ledger=self._ledger, key_id=key_id.hex())
        mac = begun.copy()
        mac.update(request)
        return key_id + mac.digest()

    @property
    def active(self) -> bytes:
        """The id of the key for new requests, 4 bytes."""
        return self._active


class RequestHash:
    """The keyed hash of one request. stored: 36 bytes, the id of the key and the MAC."""

    __slots__ = ("_hasher", "_request", "stored")

    def __init__(self, hasher: LedgerCommandHasher, request: bytes) -> None:
        self._hasher = hasher
        self._request = request
        self.stored = hasher.hash_under(hasher.active, request)

    def is_same(self, stored: bytes) -> bool:
        """Whether a stored hash is of this request, whichever key made it.

        Raises: CommandKeyMissing if that key is not known here.
        """
        key_id = stored[:ID_BYTES]
        if key_id == self._hasher.active:
            return hmac.compare_digest(stored, self.stored)
        return hmac.compare_digest(stored, self._hasher.hash_under(key_id, self._request))


def _id_of(key: bytes) -> bytes:
    return bytes.fromhex(symmetric_key_id(COMMAND_PURPOSE, key))

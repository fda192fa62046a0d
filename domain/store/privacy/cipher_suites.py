"""The cipher suites for personal data, by the name stored with each ciphertext.

`aes-256-gcm` with HMAC-SHA-256 is the default; `sm4-gcm` with HMAC-SM3 replaces it where the
national algorithms are required. A name must never change its meaning: data sealed under it has to
stay readable when the default changes. Reading order: Suite, then AES and SM4 at the end.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import (
    BlockCipherAlgorithm,
    Cipher,
    CipherContext,
    algorithms,
    modes,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.store.errors import WrongKey

KEY_BYTES = 32
"""Length of every key given or made here; each suite derives its own key from it."""

_NONCE_BYTES = 12
_NONCES_DRAWN = 256
_TAG_BYTES = 16
_BLOCK_BYTES = 16


class _Sealing(Protocol):
    """An authenticated cipher under one key."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, which cached lookups need
class Suite:
    """An authenticated cipher and a keyed hash.

    name: stored with each ciphertext. index_name: stored with each blind index.
    """

    name: str
    index_name: str
    _digest: Callable[[], hashes.HashAlgorithm]
    _cipher_key_bytes: int
    _cipher: Callable[[bytes], _Sealing]
    _block: Callable[[bytes], BlockCipherAlgorithm]

    def encrypt(self, key: bytes, plaintext: bytes, context: bytes) -> bytes:
        """Returns: nonce ‖ ciphertext ‖ tag. key: 32 bytes; context: authenticated, not stored."""
        nonce = _fresh_nonce()
        return nonce + _keyed_cipher(self, key).encrypt(nonce, plaintext, context)

    def decrypt(self, key: bytes, sealed: bytes, context: bytes) -> bytes:
        """The plaintext. Raises: WrongKey if the key, the bytes or the context differ."""
        return _decrypt(_keyed_cipher(self, key), sealed, context)

    def keyed(self, key: bytes) -> "KeyedSuite":
        """The cipher under one key that is used again and again."""
        return KeyedSuite(self.name, self._cipher(suite_key(self, key)))

    def permutation(self, key: bytes) -> "Permutation":
        """The block cipher by itself, for keyed hashes. key: 32 bytes of nothing else."""
        return Permutation(Cipher(self._block(suite_key(self, key)), modes.ECB()))

    def mac(self, key: bytes, message: bytes) -> str:
        """Keyed hash, 64 hex digits."""
        maker = _keyed(self, key).copy()
        maker.update(message)
        return maker.finalize().hex()


@dataclass(frozen=True, slots=True)
class KeyedSuite:
    """The cipher of a suite under one key; see `Suite.encrypt` and `Suite.decrypt`."""

    name: str
    _cipher: _Sealing

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """Returns: nonce ‖ ciphertext ‖ tag."""
        nonce = _fresh_nonce()
        return nonce + self._cipher.encrypt(nonce, plaintext, context)

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """The plaintext. Raises: WrongKey."""
        return _decrypt(self._cipher, sealed, context)


class Permutation:
    """A block cipher that encrypts equal keyed hashes to equal bytes. Thread-safe.

    Only for what is as good as random: each block is encrypted by itself.
    """

    __slots__ = ("_decryptor", "_encryptor", "_lock")

    def __init__(self, cipher: Cipher[modes.ECB]) -> None:
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()
        self._lock = threading.Lock()

    def encrypt(self, data: bytes) -> bytes:
        """data: whole blocks of 16 bytes. Raises: ValueError for another length."""
        return self._update(self._encryptor, data)

    def decrypt(self, data: bytes) -> bytes:
        """As `encrypt`, the other way round."""
        return self._update(self._decryptor, data)

    def _update(self, context: CipherContext, data: bytes) -> bytes:
        if len(data) % _BLOCK_BYTES:
            raise ValueError(f"{len(data)} bytes are no whole blocks")
        with self._lock:  # the context keeps nothing from one whole block to the next
            return context.update(data)


def _decrypt(cipher: _Sealing, sealed: bytes, context: bytes) -> bytes:
    nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    if len(body) < _TAG_BYTES:
        raise WrongKey(reason="it is too short")
    try:
        return cipher.decrypt(nonce, body, context)
    except InvalidTag:
        raise WrongKey(reason="the key, the value or its place in the journal differs") from None


_nonces: list[bytes] = []
# A forked child would inherit them, and no nonce may be used twice.
os.register_at_fork(after_in_child=_nonces.clear)


def _fresh_nonce() -> bytes:
    """A random nonce, never returned twice.

    Drawn from the system many at a time: each call releases the interpreter lock, and under load
    acquiring it again takes longer than sealing.
    """
    try:
        return _nonces.pop()
    except IndexError:
        drawn = os.urandom(_NONCE_BYTES * _NONCES_DRAWN)
        nonces = [drawn[n : n + _NONCE_BYTES] for n in range(0, len(drawn), _NONCE_BYTES)]
        _nonces.extend(nonces[1:])
        return nonces[0]


@lru_cache(maxsize=16)
def _keyed(suite: Suite, key: bytes) -> hmac.HMAC:
    """An empty keyed hash to copy, which takes half as long as keying a new one."""
    return hmac.HMAC(key, suite._digest())


@lru_cache(maxsize=64)
def _keyed_cipher(suite: Suite, key: bytes) -> _Sealing:
    """Caches the master key's cipher and those of persons whose fields are opened in a row."""
    return suite._cipher(_derived(suite, key))


@lru_cache(maxsize=4096)
def _derived(suite: Suite, key: bytes) -> bytes:
    return suite_key(suite, key)


def suite_key(suite: Suite, key: bytes) -> bytes:
    """The suite's own key: a person's key may be used by two suites after the default changes."""
    info = b"certledger " + suite.name.encode()
    kdf = HKDF(algorithm=suite._digest(), length=suite._cipher_key_bytes, salt=None, info=info)
    return kdf.derive(key)


def forget_derived() -> None:
    """Drop every derived key from memory; part of `Vault.forget`."""
    _keyed_cipher.cache_clear()
    _derived.cache_clear()


class _Sm4Gcm:
    """SM4-GCM with the interface of the library's AESGCM."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        encryptor = Cipher(algorithms.SM4(self._key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data)
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        body, tag = data[:-_TAG_BYTES], data[-_TAG_BYTES:]
        decryptor = Cipher(algorithms.SM4(self._key), modes.GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(associated_data)
        return decryptor.update(body) + decryptor.finalize()


AES = Suite("aes-256-gcm", "hmac-sha256", hashes.SHA256, 32, AESGCM, algorithms.AES)
SM4 = Suite("sm4-gcm", "hmac-sm3", hashes.SM3, 16, _Sm4Gcm, algorithms.SM4)

SUITES = {suite.name: suite for suite in (AES, SM4)}
BY_INDEX = {suite.index_name: suite for suite in SUITES.values()}


def suite_named(name: str) -> Suite:
    """The suite of a stored name. Raises: WrongKey for an unknown name."""
    try:
        return SUITES[name]
    except KeyError:
        raise WrongKey(reason=f"the algorithm {name!r} is not known") from None

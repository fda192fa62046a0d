"""Sealed files: attachments, which are sealed under a data key before they are stored.

A sealed file is `CLF1` ‖ suite byte ‖ 12-byte nonce ‖ ciphertext ‖ 16-byte tag; additional data, in
UTF-8: `certledger file v1|ledger|key`, with the name of the key. What has more than PART_BYTES is
sealed as several such parts, and their list takes the file's place: `CLF1` ‖ 0x00 ‖ the SHA-256 of
each part, in order. The SHA-256 of the sealed file, or of the list, is its name in the store.
Reading order: seal_file, open_file, parts_of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from domain.store.errors import WrongKey
from domain.store.privacy.cipher_suites import AES, SM4, Suite
from domain.store.privacy.field_encryption import HeldKey, Vault

MAGIC = b"CLF1"
PART_BYTES = 64 * 1024 * 1024
"""How much is sealed, and in memory, at a time, bytes."""

_LIST = 0
_SUITES = {1: AES, 2: SM4}
_BYTES = {suite.name: byte for byte, suite in _SUITES.items()}
_HEADER = len(MAGIC) + 1
_DIGEST = hashlib.sha256().digest_size


def seal_file(
    vault: Vault, held: HeldKey, content: bytes, part_bytes: int = PART_BYTES
) -> Iterator[bytes]:
    """What is to be stored of a file, part by part; the last is the one that names it."""
    suite = vault.suite
    header = MAGIC + bytes([_BYTES[suite.name]])
    context = _context(vault, str(held.name))
    parts = memoryview(content)
    if len(parts) <= part_bytes:
        yield header + suite.encrypt(held.key, content, context)
        return
    names = []
    for start in range(0, len(parts), part_bytes):
        part = header + suite.encrypt(held.key, bytes(parts[start : start + part_bytes]), context)
        names.append(hashlib.sha256(part).digest())
        yield part
    yield MAGIC + bytes([_LIST]) + b"".join(names)


def open_file(
    vault: Vault, key: str, name: str, read: Callable[[str], bytes]
) -> Iterator[bytes | None]:
    """The content of a sealed file, part by part; a None in it: its key was destroyed.

    key: its name. read: the stored bytes of a name, compared with it.
    Raises: WrongKey for what is no sealed file, or sealed under another key; what `read` raises.
    """
    sealed = read(name)
    parts = parts_of(sealed)
    if not parts:
        yield _opened(vault, key, sealed)
    for part in parts:
        yield _opened(vault, key, read(part))


def parts_of(sealed: bytes) -> list[str]:
    """The names of the parts of a stored list; empty for a file that has none."""
    if sealed[:_HEADER] != MAGIC + bytes([_LIST]):
        return []
    body = sealed[_HEADER:]
    return [body[start : start + _DIGEST].hex() for start in range(0, len(body), _DIGEST)]


def _opened(vault: Vault, key: str, sealed: bytes) -> bytes | None:
    return vault.decrypt(key, _suite(sealed), sealed[_HEADER:], _context(vault, key))


def _suite(sealed: bytes) -> Suite:
    """Raises: WrongKey."""
    suite = _SUITES.get(sealed[len(MAGIC)]) if len(sealed) > len(MAGIC) else None
    if not sealed.startswith(MAGIC) or suite is None:
        raise WrongKey(reason="it is no sealed file")
    return suite


def _context(vault: Vault, key: str) -> bytes:
    return f"certledger file v1|{vault.ledger}|{key}".encode()

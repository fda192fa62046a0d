"""Ids of keys: short, public, and computed from the key, so that a fact can name a key.

An id is 8 hex digits. It says which key was used, and proves nothing about who holds it.
"""

import hashlib
import hmac

ID_BYTES = 4
"""Length of a key id; it is written as twice as many hex digits."""

_SYMMETRIC = b"certledger key id v1"


def key_id(purpose: str, public: bytes) -> str:
    """The id of a public key. public: its raw bytes, as its `key_introduced.v1` names them."""
    return hashlib.sha256(purpose.encode() + b"\0" + public).digest()[:ID_BYTES].hex()


def symmetric_key_id(purpose: str, key: bytes) -> str:
    """The id of a secret key; it says nothing about the key."""
    mac = hmac.digest(key, _SYMMETRIC + b"\0" + purpose.encode(), hashlib.sha256)
    return mac[:ID_BYTES].hex()

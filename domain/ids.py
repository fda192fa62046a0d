"""Ids that are made from names, so that a command that is sent or decided again has the same ones.

They are UUIDs of version 5, as `uuid.uuid5` makes them, at half of what it takes.
"""

from __future__ import annotations

from hashlib import sha1
from uuid import UUID

_FREE_BITS = (1 << 128) - 1 & ~(0xF000 << 64) & ~(0xC000 << 48)
_VERSION_5 = 5 << 76 | 0x8000 << 48


def named_id(namespace: UUID, name: str) -> UUID:
    """The id of a name within a namespace."""
    digest = sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16], "big") & _FREE_BITS | _VERSION_5)

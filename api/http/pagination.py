"""Where a list goes on: the last key of a page, opaque and signed.

A cursor is bound to its list and filters, so that one list's cursor can't be tried on another.
It carries no personal data: lists are keyed by ids and positions.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

import orjson

from api.errors.request import CursorInvalid

_MAC_BYTES = 16
_LENGTH_MAX = 2000


class Cursors:
    """Makes and reads cursors with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, of: str, after: list[Any]) -> str:
        """A cursor of a list that goes on after these values. of: the list with its filters."""
        body = orjson.dumps(after)
        return base64.urlsafe_b64encode(self._mac(of, body) + body).rstrip(b"=").decode()

    def read(self, of: str, cursor: str | None) -> list[Any] | None:
        """The values to go on after; None for the first page. Raises: CursorInvalid."""
        if cursor is None:
            return None
        if len(cursor) > _LENGTH_MAX:
            raise CursorInvalid()
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise CursorInvalid() from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(of, body)):
            raise CursorInvalid()
        return list(orjson.loads(body))

    def _mac(self, of: str, body: bytes) -> bytes:
        digest = hmac.digest(self._key, of.encode() + b"\x00" + body, "sha256")
        return digest[:_MAC_BYTES]

"""Pages of a list, and the signed, opaque cursors that lead from one page to the next.

A cursor holds the sort key of the last row of a page. It is bound to its list and filters, so that
a cursor of one list is refused by another. It holds no personal data: lists are sorted by ids and
positions. Reading order: `PageRequest` (what a handler uses), then `Cursors`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from api.errors.request import CursorInvalid

R = TypeVar("R")

_MAC_BYTES = 16
_LENGTH_MAX = 2000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page as a client requested it; made by `AppContext.page`.

    after: sort key of the last row of the previous page; None for the first page.
    rows_max: rows that the page holds at most.
    """

    after: list[Any] | None
    rows_max: int
    _list_name: str
    _cursors: Cursors = field(repr=False)

    @property
    def limit(self) -> int:
        """Rows to read: one more than the page holds, which shows whether another page follows."""
        return self.rows_max + 1

    def split(
        self, found: Sequence[R], key: Callable[[R], list[Any]]
    ) -> tuple[Sequence[R], str | None]:
        """The rows of this page, and the cursor of the next page; None if this is the last.

        found: up to `limit` rows. key: a row's sort key, as `after` takes it back.
        """
        rows = found[: self.rows_max]
        return rows, self.cursor(key(rows[-1])) if len(found) > len(rows) else None

    def cursor(self, after: list[Any]) -> str:
        """The cursor of a page of the same list that starts after a sort key."""
        return self._cursors.make(self._list_name, after)


class Cursors:
    """Signs cursors, and verifies them, with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def page(self, list_name: str, cursor: str | None, rows_max: int) -> PageRequest:
        """The page that a cursor leads to. list_name: as in `make`. Raises: CursorInvalid."""
        return PageRequest(self.read(list_name, cursor), rows_max, list_name, self)

    def make(self, list_name: str, after: list[Any]) -> str:
        """A cursor that continues a list after a sort key.

        list_name: the list with its ledger and filters.
        """
        body = orjson.dumps(after)
        return base64.urlsafe_b64encode(self._mac(list_name, body) + body).rstrip(b"=").decode()

    def read(self, list_name: str, cursor: str | None) -> list[Any] | None:
        """The sort key that a cursor holds; None for the first page. Raises: CursorInvalid."""
        if cursor is None:
            return None
        if len(cursor) > _LENGTH_MAX:
            raise CursorInvalid()
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise CursorInvalid() from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(list_name, body)):
            raise CursorInvalid()
        return list(orjson.loads(body))

    def _mac(self, list_name: str, body: bytes) -> bytes:
        digest = hmac.digest(self._key, list_name.encode() + b"\x00" + body, "sha256")
        return digest[:_MAC_BYTES]

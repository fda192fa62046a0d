"""What makes a repeated request the same request: its key, and one spelling of its content.

Every write carries a key (`Idempotency-Key`, draft-ietf-httpapi-idempotency-key-header), chosen by
the caller and counted per caller. The spelling has method, address and the canonical body, so that
the order of JSON members or the boundary of a form makes no difference. The ledger stores keyed
hashes of both (`domain.store.keys.command_hashes`): a body may hold a name and a number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from api.errors.request import IdempotencyKeyMalformed, IdempotencyKeyMissing, MalformedJson

KEY_LENGTH_MAX = 200


def idempotency_key(header: str | None) -> str:
    """The key of a request, with or without the quotes of a structured header.

    Raises: IdempotencyKeyMissing, IdempotencyKeyMalformed.
    """
    if header is None:
        raise IdempotencyKeyMissing()
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise IdempotencyKeyMalformed(length_max=KEY_LENGTH_MAX)
    return key


def canonical_request(method: str, path: str, query: str, body: bytes) -> bytes:
    """A request in one spelling: each part with its length, 8 bytes big-endian, before it.

    body: canonical.
    """
    parts = method.encode(), path.encode(), query.encode(), body
    return b"".join([len(part).to_bytes(8, "big") + part for part in parts])


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
"""Shared, because `json.dumps` creates one for every body."""


def canonical_value(value: Any) -> bytes:
    """A JSON value in one spelling. Raises: MalformedJson for a lone surrogate."""
    try:
        return _ENCODER.encode(value).encode()
    except (ValueError, RecursionError):  # UnicodeEncodeError, of a lone surrogate, is one too
        raise MalformedJson() from None


def canonical_form(fields: dict[str, str], files: Iterable[tuple[str, str, bytes]]) -> bytes:
    """A multipart body in one spelling: its fields, and for each file name and digest.

    files: (field, file name, bytes).
    """
    named: list[Any] = [
        [field, name, hashlib.sha256(data).hexdigest()] for field, name, data in files
    ]
    return json.dumps([sorted(fields.items()), sorted(named)], ensure_ascii=False).encode()

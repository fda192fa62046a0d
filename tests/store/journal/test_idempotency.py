"""The same key with another request is refused before anything is decided."""

import uuid

import pytest

from domain.store.errors import IdempotencyKeyReused
from domain.store.journal.idempotency import ensure_same_request
from domain.store.journal.records import KnownCommand

KNOWN = KnownCommand(b"h" * 32, uuid.UUID(int=1), 1, 1, b"{}")


def test_the_same_request_passes():
    assert ensure_same_request(KNOWN, b"h" * 32) is None


def test_another_request_under_the_key_is_refused():
    with pytest.raises(IdempotencyKeyReused):
        ensure_same_request(KNOWN, b"x" * 32)

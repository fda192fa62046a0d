"""The keys of the tests, and journals sealed with them."""

from __future__ import annotations

import base64
from typing import Any

from domain.store.journal.journal import Journal
from domain.store.keys.command_hashes import CommandHasher
from domain.store.keys.seals import Sealer, seal_key

JOURNAL_KEY = bytes(range(64, 96))
LOGIN_KEY = bytes(range(96, 128))
SEALER = Sealer(seal_key(JOURNAL_KEY))
COMMAND_KEY, IDEMPOTENCY_KEY = bytes(range(96, 128)), bytes(range(128, 160))
HASHER = CommandHasher(COMMAND_KEY, IDEMPOTENCY_KEY)


def text_of(key: bytes) -> str:
    """A key as settings hold it."""
    return base64.b64encode(key).decode()


def journal_of(dsn: str, ledger: str = "omc", **options: Any) -> Journal:
    """A journal with the key of the tests. Close it."""
    return Journal(dsn, ledger, SEALER.of(ledger), **options)

"""The journal key of the tests, and journals sealed with it."""

from __future__ import annotations

from typing import Any

from domain.store.journal.journal import Journal
from domain.store.keys.seals import Sealer, seal_key

JOURNAL_KEY = bytes(range(64, 96))
SEALER = Sealer(seal_key(JOURNAL_KEY))


def journal_of(dsn: str, ledger: str = "omc", **options: Any) -> Journal:
    """A journal with the key of the tests. Close it."""
    return Journal(dsn, ledger, SEALER.of(ledger), **options)

"""The keys of the tests, and journals sealed with them."""

from __future__ import annotations

import atexit
import base64
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from domain.store.journal.journal import Journal
from domain.store.keys.command_hashes import CommandHasher
from domain.store.keys.seals import Sealer, seal_key

EPOCH_KEYS_VARIABLE = "TEST_EPOCH_KEYS"
EPOCH_DIRECTORY = Path(os.environ.get(EPOCH_KEYS_VARIABLE) or mkdtemp(prefix="certledger-epochs-"))
"""The keys of the epochs of every database of this run, also for its child processes."""
if EPOCH_KEYS_VARIABLE not in os.environ:
    os.environ[EPOCH_KEYS_VARIABLE] = str(EPOCH_DIRECTORY)
    atexit.register(shutil.rmtree, EPOCH_DIRECTORY, ignore_errors=True)

JOURNAL_KEY = bytes(range(64, 96))
LOGIN_KEY = bytes(range(96, 128))
SEALER = Sealer(seal_key(JOURNAL_KEY))
COMMAND_KEY, IDEMPOTENCY_KEY = bytes(range(96, 128)), bytes(range(128, 160))
HASHER = CommandHasher(COMMAND_KEY, IDEMPOTENCY_KEY)


def text_of(key: bytes) -> str:
    """A key as settings hold it."""
    return base64.b64encode(key).decode()


def add_buckets(journal: Journal) -> None:
    """Rows of bucket keys that wrap nothing, for key rows of which nothing but the row is right."""
    journal.change(
        "INSERT INTO certledger.epochs (epoch, key_id, ends_at, made_at) "
        "VALUES (1, '00000000', now(), now())"
    )
    journal.change(
        "INSERT INTO certledger.bucket_keys (ledger, bucket, generation, epoch, algorithm, "
        "wrapped, created_at) SELECT %s, n, 1, 1, 'aes-256-gcm', 'wrapped', now() "
        "FROM generate_series(0, 1023) AS n",
        (journal.ledger,),
    )


def journal_of(dsn: str, ledger: str = "omc", **options: Any) -> Journal:
    """A journal with the key of the tests. Close it."""
    return Journal(dsn, ledger, SEALER.of(ledger), **options)

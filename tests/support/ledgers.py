"""A real ledger on PostgreSQL that the journeys of `tests.support.journeys` can be told to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from domain.actors import Actor
from domain.decision import Command
from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.service.receipt import Receipt
from domain.store.postgres.migrate import migrate
from domain.store.privacy.vault import MasterKeys
from tests.support.actors import OPERATOR
from tests.support.postgres import Database
from tests.support.world import World

SITE_CODE = "S000033000123"
SECRETS = LedgerSecrets(MasterKeys("test", {"test": bytes(range(32))}), bytes(range(32, 64)))
"""Keys of the tests. Nothing real is ever sealed under them."""


class RealWorld:
    """`World` of the decision tests on the real stack: the same `do`, another ground."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now = World().now
        self.receipts: list[Receipt] = []

    def do(self, command: Command, by: Actor = OPERATOR, at: datetime | None = None) -> Receipt:
        """Submit and wait; without a time one minute after the last command."""
        now = at or self.now + timedelta(minutes=1)
        number = len(self.receipts) + 1
        receipt = submit(self.ledger, command, by, key=f"k{number}", at=now)
        self.receipts.append(receipt)
        self.now = now
        return receipt

    def __getattr__(self, kind: str) -> Any:
        # The builders look at the state of a few things: world.candidacy("A1").
        kinds = {"candidacy": "application", "session": "session", "notice": "notice"}
        if kind not in kinds:
            raise AttributeError(kind)
        return lambda key: self.ledger.state(kinds[kind], key)


def digest(command: Command) -> bytes:
    """The request hash of a command that came by no route."""
    # Of what kind it is, too: to suspend and to reinstate is said in the same words.
    said = f"{type(command).__name__} {command.model_dump_json()}"
    return hashlib.sha256(said.encode()).digest()


def submit(
    ledger: Ledger,
    command: Command,
    by: Actor = OPERATOR,
    *,
    key: str,
    at: datetime | None = None,
) -> Receipt:
    """Submit one command and wait for its receipt. Raises: what refused it."""
    future = ledger.submit(command, by, key=key, request_hash=digest(command), occurred_at=at)
    return future.result(timeout=20)


@contextmanager
def open_ledgers(database: Database) -> Iterator[Ledgers]:
    """The ledgers of a database, its schema brought up to date."""
    migrate(database.dsn)
    ledgers = Ledgers(database.dsn, SECRETS)
    try:
        yield ledgers
    finally:
        ledgers.close()


@contextmanager
def a_real_ledger(database: Database, name: str = "omc") -> Iterator[RealWorld]:
    """An empty ledger without a book."""
    with open_ledgers(database) as ledgers:
        yield RealWorld(ledgers.create(name, SITE_CODE))

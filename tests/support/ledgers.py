"""A real ledger on PostgreSQL on which `tests.support.journeys` can run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from domain.actors import Actor
from domain.decision import Command
from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.service.receipt import Receipt
from domain.store.keys.login_keys import LoginKeys
from domain.store.postgres.migrate import migrate
from domain.store.privacy.epoch_keys import EpochKeys, MasterKeys
from domain.values.certificate_links import LinkKeys
from tests.support.actors import OPERATOR
from tests.support.keys import EPOCH_DIRECTORY, HASHER, LOGIN_KEY, SEALER
from tests.support.postgres import Database
from tests.support.world import World

SITE_CODE = "S000033000123"
SECRETS = LedgerSecrets(
    EpochKeys(MasterKeys("test", {"test": bytes(range(32))}), (EPOCH_DIRECTORY,)),
    bytes(range(32, 64)),
    SEALER,
    HASHER,
    LoginKeys(LOGIN_KEY),
    LinkKeys(bytes(range(64, 96))),
)
"""Keys of the tests; no real data is encrypted under them."""


class PostgresWorld:
    """`World` of the decision tests on the real stack: the same `do`, on PostgreSQL."""

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
        # The builders read some states: world.candidacy("A1").
        kinds = {"candidacy": "application", "session": "session", "notice": "notice"}
        if kind not in kinds:
            raise AttributeError(kind)
        return lambda key: self.ledger.state(kinds[kind], key)


def request_of(command: Command) -> bytes:
    """A command that did not come by a route, in one spelling."""
    # With the kind: the commands that suspend and reinstate have the same fields.
    return f"{type(command).__name__} {command.model_dump_json()}".encode()


def submit(
    ledger: Ledger,
    command: Command,
    by: Actor = OPERATOR,
    *,
    key: str,
    at: datetime | None = None,
) -> Receipt:
    """Submit one command and wait for its receipt. Raises: its refusal."""
    future = ledger.submit(command, by, key=key, request=request_of(command), occurred_at=at)
    return future.result(timeout=20)


def in_pseudonyms(ledger: Ledger, value: Any) -> Any:
    """A state or text in which every login of `tests.support.actors` is its pseudonym."""
    if isinstance(value, str):
        return (ledger.logins.find(value) or value) if _LOGIN.fullmatch(value) else value
    if isinstance(value, dict):
        return {key: in_pseudonyms(ledger, each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and type(value) in _CONTAINERS:
        return type(value)(in_pseudonyms(ledger, each) for each in value)
    if isinstance(value, tuple):
        return type(value)(*(in_pseudonyms(ledger, each) for each in value))
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: in_pseudonyms(ledger, getattr(value, f.name)) for f in fields(value)}
        return replace(value, **found)
    return value


_LOGIN = re.compile(r"[a-z_]+-[0-9]+")
_CONTAINERS = (list, tuple, set, frozenset)


@contextmanager
def open_ledgers(database: Database) -> Iterator[Ledgers]:
    """The ledgers of a database with a migrated schema."""
    migrate(database.dsn)
    ledgers = Ledgers(database.dsn, SECRETS)
    try:
        yield ledgers
    finally:
        ledgers.close()


@contextmanager
def a_real_ledger(database: Database, name: str = "omc") -> Iterator[PostgresWorld]:
    """A ledger without any event."""
    with open_ledgers(database) as ledgers:
        yield PostgresWorld(ledgers.create(name, SITE_CODE))

"""A service that was stopped while an epoch began finds what another one stored under it.

Its watch of the epochs has not run yet when the first command comes.
Covers: domain/service/command_execution.py, domain/service/logins.py,
domain/store/privacy/live_epochs.py, domain/store/keys/command_hashes.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.service.logins import LoginsOfCommand
from domain.service.receipt import Receipt
from domain.store.errors import ClaimTaken, IdempotencyKeyReused, WrongEpochKey
from domain.store.journal.statements import ReadRequest
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from domain.store.privacy.epoch_keys import EpochKeys
from domain.store.privacy.key_renewal import KeyRenewal
from domain.store.writer.commands import BatchView
from tests.support import tampering
from tests.support.actors import AGENCY, ASSISTANT, candidate
from tests.support.commands import document_of, open_ledger, register
from tests.support.keys import SEALER
from tests.support.ledgers import SECRETS, SITE_CODE, PostgresWorld, request_of
from tests.support.postgres import Database

DAY = timedelta(days=1)
END = "SELECT ends_at FROM certledger.epochs ORDER BY epoch"
PERSON_OF_LOGIN = candidate(7)


@pytest.fixture
def secrets(tmp_path: Path) -> LedgerSecrets:
    keys = EpochKeys(SECRETS.epoch_keys.master_keys, (tmp_path / "keys",))
    return replace(SECRETS, epoch_keys=keys)


@pytest.fixture
def world(database: Database, secrets: LedgerSecrets) -> Iterator[PostgresWorld]:
    """A ledger in a service that is never stopped."""
    migrate(database.dsn)
    with closing(Ledgers(database.dsn, secrets)) as ledgers:
        world = PostgresWorld(ledgers.create("omc", SITE_CODE))
        world.do(open_ledger())
        yield world


@pytest.fixture
def stopped(world: PostgresWorld, database: Database, secrets: LedgerSecrets) -> Iterator[Ledger]:
    """The same ledger in a service that knows the epochs of before, and nobody tells it more."""
    with closing(Ledgers(database.dsn, secrets)) as ledgers, ledgers.epochs.watched():
        yield ledgers.get("omc")


def turn(world: PostgresWorld, database: Database, secrets: LedgerSecrets, rounds: int = 1) -> None:
    """The next epoch begins, and every service that runs knows it.

    rounds: with 2, what is stored comes under it, too.
    """
    [(end,), *_] = database.execute(END)
    for _ in range(rounds):
        renew(database, secrets, end - DAY)
    world.ledger._environment.epochs.refresh()


def renew(database: Database, secrets: LedgerSecrets, now: datetime) -> None:
    with closing(connect(database.dsn, name="test")) as connection:
        KeyRenewal(secrets.epoch_keys, secrets.algorithm, SEALER).round(connection, now)
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.epochs SET made_at = clock_timestamp() - interval '2 days'"
        )


def test_a_number_that_is_registered_under_an_unknown_epoch_is_not_free(
    world: PostgresWorld, stopped: Ledger, database: Database, secrets: LedgerSecrets
) -> None:
    turn(world, database, secrets)
    world.do(register(1), by=ASSISTANT)
    again = register(2, document_number=document_of(1), name="李四")
    other = PostgresWorld(stopped)
    other.now = world.now
    assert other.do(again, by=ASSISTANT).topics == ("registration_contested.v1",)


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_login_has_one_pseudonym_under_an_unknown_epoch(
    world: PostgresWorld, stopped: Ledger, database: Database, secrets: LedgerSecrets, rounds: int
) -> None:
    if rounds == 2:  # its row is there before, and comes under the next epoch
        world.do(register(7), by=PERSON_OF_LOGIN)
    turn(world, database, secrets, rounds)
    if rounds == 1:
        world.do(register(7), by=PERSON_OF_LOGIN)
    with pytest.raises(ClaimTaken, match="person_login"):  # it has registered once
        stopped.submit(register(8), PERSON_OF_LOGIN, key="x", request=b"x").result(timeout=20)


def test_a_command_that_waited_finds_its_login_under_another_epoch(
    world: PostgresWorld, stopped: Ledger, database: Database, secrets: LedgerSecrets
) -> None:
    """Its names were made before, and the service has learnt of the epoch meanwhile."""
    world.do(register(7), by=PERSON_OF_LOGIN)
    waiting = LoginsOfCommand(stopped.logins)
    waiting.guess_actor(PERSON_OF_LOGIN)
    turn(world, database, secrets, rounds=2)
    stopped._environment.epochs.refresh()
    with stopped.journal.transaction(ReadRequest(logins=waiting.names)) as transaction:
        view = BatchView(transaction, lambda stream: 0)
        waiting.begin(view)
        found = waiting.find_actor(PERSON_OF_LOGIN, view)
    assert found == world.ledger.logins.find(PERSON_OF_LOGIN.subject)
    assert not waiting.rows


def test_a_request_that_was_recorded_under_an_unknown_epoch_is_compared(
    world: PostgresWorld, stopped: Ledger, database: Database, secrets: LedgerSecrets
) -> None:
    turn(world, database, secrets)
    first = register(1)

    def send(ledger: Ledger, request: bytes = request_of(first)) -> Receipt:
        return ledger.submit(first, AGENCY, key="once", request=request).result(timeout=20)

    receipt = send(world.ledger)
    again = send(stopped)
    assert again.replayed
    assert again.command_id == receipt.command_id
    with pytest.raises(IdempotencyKeyReused):
        send(stopped, b"another")


def test_without_the_key_of_the_newest_epoch_nothing_is_recorded(
    world: PostgresWorld, stopped: Ledger, database: Database, secrets: LedgerSecrets
) -> None:
    """Others write under it: a service that cannot open it would take their numbers for free."""
    turn(world, database, secrets)
    world.do(register(1), by=ASSISTANT)
    for path in secrets.epoch_keys.files():
        if path.name.startswith("epoch_2_"):
            path.chmod(0o644)
    again = register(2, document_number=document_of(1), name="李四")
    with pytest.raises(WrongEpochKey, match="open to others"):
        stopped.submit(again, ASSISTANT, key="x", request=b"x").result(timeout=20)
    for path in secrets.epoch_keys.files():
        path.chmod(0o600)
    receipt = stopped.submit(again, ASSISTANT, key="x", request=b"x").result(timeout=20)
    assert receipt.topics == ("registration_contested.v1",)

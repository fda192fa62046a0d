"""The audit of person claims, while persons are registered and erased."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from domain.audit import person_claims_check
from domain.audit.events import run
from domain.audit.person_claims_check import PersonClaimsCheck
from domain.store.postgres.connection import connect
from domain.store.privacy.index_ciphers import LiveIndexCiphers, StoredIndexes
from domain.store.privacy.key_renewal import KeyRenewal
from domain.store.privacy.live_epochs import live_epochs_of
from tests.support.actors import ASSISTANT
from tests.support.commands import erase, register
from tests.support.ledgers import SECRETS, PostgresWorld, a_real_ledger
from tests.support.postgres import Database
from tests.support.tampering import superuser


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """Four persons, and an audit that reads one row at a time."""
    with a_real_ledger(database) as world:
        for n in (1, 2, 3, 4):
            world.do(register(n), by=ASSISTANT)
        yield world


def test_what_is_registered_and_erased_while_the_rows_are_read_is_no_finding(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person_claims_check, "_PAGE", 1)
    journal = world.ledger.journal
    check = PersonClaimsCheck(journal, world.ledger.vault, world.ledger.indexes)
    steps = iter((*(("register", n) for n in range(5, 9)), ("erase", 4), ("erase", 5)))

    def pace(position: int) -> None:
        match next(steps, None):
            case ("register", n):
                world.do(register(n), by=ASSISTANT)
            case ("erase", n):
                erase(world, n)

    upto = journal.head().position
    run(journal, [check], upto, pace)
    assert next(steps, None) is None, "everything happened meanwhile"
    assert check.result.findings == []
    assert check.result.counts["person claims"] > 0


def test_what_comes_under_another_epoch_while_rows_are_read_is_no_finding(
    world: PostgresWorld, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were read are renewed, and their epoch ends, before they are opened."""
    journal, epochs = world.ledger.journal, live_epochs_of(database.dsn, SECRETS.epoch_keys)
    indexes = StoredIndexes(world.ledger.vault, LiveIndexCiphers(epochs))
    check = PersonClaimsCheck(journal, world.ledger.vault, indexes)
    renewal = KeyRenewal(SECRETS.epoch_keys, SECRETS.algorithm, SECRETS.sealer)
    query, turns = journal.query, []

    def turning(sql: str, arguments: Any = None) -> list[tuple[Any, ...]]:
        rows = query(sql, arguments)
        if sql is person_claims_check._ROWS and not turns:
            turns.append(turn())
        return rows

    def turn() -> str:
        with closing(connect(database.dsn, name="test")) as connection:
            end = epochs.writing.ends_at
            renewal.round(connection, end - timedelta(days=1))
            with superuser(database) as cursor:
                cursor.execute(
                    "UPDATE certledger.epochs SET made_at = clock_timestamp() - interval '1 hour'"
                )
            renewal.round(connection, end)
        epochs.refresh()
        return "turned"

    monkeypatch.setattr(journal, "query", turning)
    run(journal, [check], journal.head().position, lambda _: None)
    assert turns == ["turned"]
    assert [epoch.name.number for epoch in epochs.all] == [2]
    assert check.result.findings == []


def test_whose_key_was_exchanged_is_not_said_to_be_erased(
    world: PostgresWorld, database: Database
) -> None:
    with superuser(database) as cursor:
        cursor.execute("SELECT * FROM certledger.person_claims WHERE person_id = 'P4'")
        rows = cursor.fetchall()
        erase(world, 4)
        for row in rows:
            cursor.execute("INSERT INTO certledger.person_claims VALUES (%s, %s, %s, %s)", row)
        cursor.execute(
            "UPDATE certledger.data_keys SET wrapped = (SELECT wrapped FROM certledger.data_keys "
            "WHERE owner = 'person/P2' AND class = 'identity') "
            "WHERE owner = 'person/P1' AND class = 'identity'"
        )
    world.ledger.vault.forget()
    journal = world.ledger.journal
    check = PersonClaimsCheck(journal, world.ledger.vault, world.ledger.indexes)
    run(journal, [check], journal.head().position, lambda _: None)
    said: dict[str | None, set[str]] = {}
    for finding in check.result.findings:
        said.setdefault(finding.row, set()).add(finding.what)
    kinds = ("document", "named_document")
    closed = "has a blind index of kind {}, and the event that gives it does not open"
    assert said == {
        "person P1": {closed.format(kind) for kind in kinds},
        "person P4": {
            f"was erased, and their blind index of kind {kind} is still there" for kind in kinds
        },
    }

"""The audit of data keys: what an erasure accounts for, whatever times the table has."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from domain.audit.events import run
from domain.audit.persons_check import PersonsCheck
from domain.events import PersonRegistered
from domain.store.embedded.server import SUPERUSER
from domain.store.journal.records import AppendRequest
from domain.store.mapper import JournalEntry
from domain.values.identity_documents import DocumentType
from tests.support.actors import ASSISTANT
from tests.support.commands import apply_for, document_of, erase, open_ledger, register, withdraw
from tests.support.ledgers import PostgresWorld, a_real_ledger
from tests.support.postgres import Database

SET = "UPDATE"  # apart, because no file may change the journal


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """A person whose phone was destroyed by an erasure, while the law keeps the rest."""
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        world.do(register(phone="13900000000"), by=ASSISTANT)
        world.do(apply_for(), by=ASSISTANT)
        world.do(withdraw(), by=ASSISTANT)
        erase(world)
        yield world


def change(database: Database, assignment: str, generation: int) -> None:
    """Change the key of the phone, with the triggers down."""
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE certledger.data_keys DISABLE TRIGGER ALL")
        cursor.execute(
            f"{SET} certledger.data_keys SET {assignment} "
            "WHERE class = 'contact' AND generation = %s",
            (generation,),
        )
        assert cursor.rowcount == 1
        cursor.execute("ALTER TABLE certledger.data_keys ENABLE TRIGGER ALL")


def found(world: PostgresWorld) -> list[str]:
    check = PersonsCheck(world.ledger.journal, world.ledger.vault)
    run(world.ledger.journal, [check], world.ledger.journal.head().position, lambda _: None)
    return [str(each) for each in check.result.findings]


def write_a_phone(world: PostgresWorld) -> None:
    """Whatever fact has one: what is written after the erasure begins a generation."""
    journal, ledger = world.ledger.journal, world.ledger
    last = journal.stream("person-P1", desc=True, limit=1)[0]
    fact = PersonRegistered(
        person_id="P1",
        subject=None,
        document_type=DocumentType.RESIDENT_ID,
        document_country=None,
        document_number=document_of(1),
        name="赵一",
        phone="13900000001",
    )
    entry = JournalEntry(
        originator_id="person-P1",
        originator_version=last.version + 1,
        event_id=uuid4(),
        occurred_at=last.occurred_at,
        recorded_at=None,
        actor=last.parsed["actor"],
        command_id=uuid4(),
        correlation_id=uuid4(),
        causation_id=None,
        fact=fact,
    )
    with journal.transaction() as transaction:
        encryptor = ledger.vault.encryptor(transaction.batch)
        event = ledger.mapper.new_event(entry, encryptor)
        transaction.append([AppendRequest((event,), fresh_keys=encryptor.fresh_keys)])


def test_an_erasure_accounts_for_the_key_that_it_destroyed(world: PostgresWorld) -> None:
    assert found(world) == []


def test_what_is_written_after_an_erasure_may_have_a_key(world: PostgresWorld) -> None:
    write_a_phone(world)
    assert found(world) == []


def test_a_key_that_was_put_back_with_a_later_time_is_named(
    world: PostgresWorld, database: Database
) -> None:
    change(
        database,
        "destroyed_at = NULL, created_at = now() + interval '1 year', wrapped = "
        "(SELECT wrapped FROM certledger.data_keys WHERE class = 'identity')",
        1,
    )
    what = "key person/P1/contact/1: is there although its owner was erased"
    assert any(each.endswith(what) for each in found(world))


def test_a_later_key_that_was_destroyed_without_an_event_is_named(
    world: PostgresWorld, database: Database
) -> None:
    write_a_phone(world)
    change(database, "wrapped = NULL, destroyed_at = now()", 2)
    [one] = found(world)
    assert "key person/P1/contact/2" in one
    assert "was destroyed, and no event erased what it sealed" in one

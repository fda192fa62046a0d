"""The table of person claims: written with the facts, and computed again where it lost rows.

Covers: domain/service/person_index.py, domain/store/journal/person_claims.py,
domain/store/postgres/migrations/0012_person_claims.sql
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest

from domain.decision import KeyInUse
from domain.service.ledger import Ledgers, vault_of
from domain.service.person_index import ensure_person_claims, rebuild_person_claims
from domain.store.embedded.server import SUPERUSER
from tests.support.actors import ASSISTANT, REGISTRAR
from tests.support.commands import correct_person, document_of, erase, register
from tests.support.journeys import an_open_ledger
from tests.support.ledgers import SECRETS, PostgresWorld, a_real_ledger
from tests.support.postgres import Database

ROWS = "SELECT kind, index, person_id FROM certledger.person_claims ORDER BY 1, 2, 3"


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """Two persons, one of them corrected, and one who was erased."""
    with a_real_ledger(database) as real:
        for n in (1, 2, 3):
            real.do(register(n), by=ASSISTANT)
        real.do(correct_person(document_number=document_of(9)), by=REGISTRAR)
        erase(real, 2)
        yield real


def ensure(world: PostgresWorld) -> bool:
    journal = world.ledger.journal
    return ensure_person_claims(journal, vault_of(journal, SECRETS), world.ledger.indexes)


def test_a_person_has_rows_from_their_fact_to_their_erasure(
    world: PostgresWorld, database: Database
) -> None:
    rows = database.execute(ROWS)
    named = [(kind, person) for kind in ("document", "named_document") for person in ("P1", "P3")]
    assert sorted((kind, person) for kind, _, person in rows) == named
    index = world.ledger.vault.blind_index("document", f"cn18:{document_of(9)}")
    assert ("document", world.ledger.indexes.stored(index), "P1") in rows


def test_no_event_and_no_claim_has_an_index(world: PostgresWorld, database: Database) -> None:
    for _, index, _ in database.execute(ROWS):
        digits = index.partition(":")[2]
        for table, column in (("journal", "convert_from(envelope, 'UTF8')"), ("claims", "key")):
            found = f"SELECT count(*) FROM certledger.{table} WHERE strpos({column}, %s) > 0"
            assert database.execute(found, digits) == [(0,)]


def test_a_number_that_was_corrected_or_erased_is_free(world: PostgresWorld) -> None:
    for n in (1, 2):
        world.do(register(n + 3, document_number=document_of(n)), by=ASSISTANT)
    again = world.do(register(6, document_number=document_of(9)), by=ASSISTANT)
    assert again.topics == ("registration_contested.v1",)


def test_a_document_has_one_person_even_for_the_database(
    world: PostgresWorld, database: Database
) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation):
        database.execute(
            "INSERT INTO certledger.person_claims "
            "SELECT ledger, kind, index, 'P7' FROM certledger.person_claims"
        )


@pytest.mark.parametrize(
    "lost",
    [
        "DELETE FROM certledger.person_claims",
        "DELETE FROM certledger.person_claims WHERE person_id = 'P3'",
        "UPDATE certledger.person_claims SET index = 'other:' || index",
    ],
    ids=["all rows", "the rows of one person", "another algorithm"],
)
def test_what_was_lost_is_computed_again(
    world: PostgresWorld, database: Database, lost: str
) -> None:
    before = database.execute(ROWS)
    database.execute(lost)
    assert ensure(world)
    assert database.execute(ROWS) == before
    assert not ensure(world), "what is complete is left as it is"


def test_the_erasure_of_who_was_never_registered_counts_for_nobody(
    world: PostgresWorld, database: Database
) -> None:
    """As of an objector: the row of an erasure in the stream of another person."""
    columns = "ledger, position, stream, version, event_id, topic, envelope, leaf_hash, "
    columns += "occurred_at, recorded_at, seal, seal_key"
    given = columns.replace("position, stream", "position + 900, 'person-W1'")
    given = given.replace("event_id", "gen_random_uuid()")
    copied = f"INSERT INTO certledger.journal ({columns}) SELECT {given} FROM certledger.journal"
    database.execute(f"{copied} WHERE topic = 'erasure_confirmed.v1'", user=SUPERUSER)
    assert not ensure(world)


def test_a_service_completes_the_table_before_it_records_anything(
    world: PostgresWorld, database: Database
) -> None:
    database.execute("DELETE FROM certledger.person_claims")

    def keys_of(ledger: str, *, opening: bool, log_number: int = 1) -> tuple[KeyInUse, ...]:
        return ()

    with closing(Ledgers(database.dsn, SECRETS, keys_of=keys_of)) as ledgers:
        again = PostgresWorld(ledgers.get("omc"))
        again.receipts = [*world.receipts]
        again.now = world.now
        contested = again.do(register(6, document_number=document_of(9)), by=ASSISTANT)
        assert contested.topics == ("registration_contested.v1",)


def test_the_rows_follow_the_algorithm_of_the_service(
    world: PostgresWorld, database: Database
) -> None:
    journal = world.ledger.journal
    vault = vault_of(journal, replace(SECRETS, algorithm="sm4-gcm"))
    assert rebuild_person_claims(journal, vault, world.ledger.indexes) == 2
    algorithms = {index.partition(":")[0] for _, index, _ in database.execute(ROWS)}
    assert algorithms == {"hmac-sm3.1"}
    assert ensure(world), "under the algorithm before they find nobody"


def test_nobody_is_asked_for_where_nobody_is_registered(database: Database) -> None:
    with a_real_ledger(database) as real:
        assert not ensure(real)
        assert an_open_ledger().person_claims == {}

"""JournalApplication: our entries through the interfaces of the `eventsourcing` library."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from eventsourcing.persistence import IntegrityError

from domain.states.folds import project
from domain.store.eventsourcing_adapter.application import JournalApplication
from domain.store.journal.journal import Journal
from domain.store.mapper import EntryMapper, JournalEntry
from domain.store.tlog.audit import verify
from tests.store.facts import WANG, FeePaid, catalogue, entry, vault_of
from tests.support.actors import ASSISTANT
from tests.support.commands import introduce_key, open_ledger, register
from tests.support.keys import SEALER
from tests.support.ledgers import PostgresWorld, a_real_ledger
from tests.support.postgres import Database


@pytest.fixture
def world(database: Database) -> Iterator[PostgresWorld]:
    """A ledger of the use cases with one registered person."""
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        world.do(introduce_key())
        world.do(register(1), by=ASSISTANT)
        yield world


def application_on(world: PostgresWorld) -> JournalApplication:
    journal = world.ledger.journal
    return JournalApplication(journal.dsn, journal.ledger, world.ledger.mapper, SEALER)


def test_an_application_saves_and_reads_entries(journal: Journal) -> None:
    mapper = EntryMapper(catalogue=catalogue(), vault=vault_of(journal))
    with JournalApplication(journal.dsn, "omc", mapper, SEALER) as application:
        sent = [entry("a", 1, FeePaid(amount_fen=5)), entry("person-p1", 1, WANG)]
        recordings = application.save(*sent)
        assert [one.notification.id for one in recordings] == [1, 2]
        assert [one.fact for one in application.events.get("person-p1")] == [WANG]
        (first, second) = application.notification_log.select(1, 10)
        assert first.state == journal.read(0, 1)[0].envelope
        assert application.mapper.to_domain_event(second).fact == WANG
        with application.recorder.subscribe(gt=1) as subscription:
            assert next(subscription) == second
    assert "王小明".encode() not in second.state
    assert verify(journal).is_good


def test_an_application_reads_what_the_use_cases_recorded(world: PostgresWorld) -> None:
    recorded = world.ledger.history("person-P1")[0]
    with application_on(world) as application:
        (notification,) = application.notification_log.select(world.receipts[-1].first_position, 1)
        read = application.mapper.to_domain_event(notification)
        assert isinstance(read, JournalEntry)
        assert read.fact == recorded.fact
        state = application.repository.get("person-P1", projector_func=project)
    assert state == world.ledger.state("person", "P1")


def test_an_application_and_a_ledger_append_to_the_same_streams(world: PostgresWorld) -> None:
    recorded = world.ledger.history("person-P1")[0]
    with application_on(world) as application:
        with pytest.raises(IntegrityError):
            application.save(recorded)
        application.save(recorded._replace(originator_version=2, event_id=uuid4()))
    assert world.ledger.state("person", "P1").version == 2
    before = world.ledger.journal.head().position
    world.do(introduce_key("4e5f6071"))
    assert world.ledger.journal.head().position == before + 1
    assert verify(world.ledger.journal).is_good

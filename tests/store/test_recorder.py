"""The persistence module beyond the conformance cases that the library ships.

Covers: domain/store/recorder.py, domain/store/eventsourcing_adapter/conversion.py
"""

import threading
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg2
import pytest
from eventsourcing import persistence as library
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from domain.store.eventsourcing_adapter.conversion import FOREIGN_ACTOR, library_errors
from domain.store.journal.records import CommandKey
from domain.store.recorder import Datastore, Factory, JournalApplicationRecorder
from domain.store.tlog.audit import verify
from tests.store.drafts import ACTOR, command, id_of
from tests.support.keys import SEALER
from tests.support.postgres import Database


@pytest.fixture
def datastore(dsn: str) -> Iterator[Datastore]:
    datastore = Datastore(dsn, "omc", SEALER)
    datastore.create()
    yield datastore
    datastore.close()


def environment(dsn: str) -> dict[str, str]:
    return {
        "PERSISTENCE_MODULE": "domain.store.recorder",
        Factory.DATABASE_URL: dsn,
        Factory.JOURNAL_KEY: SEALER.active.text,
    }


@pytest.fixture
def application(dsn: str) -> Iterator[Application]:
    """An application with aggregates of the library's own kind."""
    env = environment(dsn)
    with Application[UUID](env) as application:
        yield application


def test_the_librarys_application_writes_envelopes_that_pass_the_audit(
    application: Application,
) -> None:
    aggregate = Aggregate()
    aggregate.trigger_event(Aggregate.Event)
    application.save(aggregate)
    journal = application.factory.datastore.journal
    assert journal.ledger == "application"
    (created, changed) = journal.read(0, 9)
    assert created.data.keys() == {"originator", "state_base64"}
    assert created.parsed["actor"] == FOREIGN_ACTOR
    assert created.parsed["command_id"] == changed.parsed["command_id"]
    assert verify(journal).is_good


def test_arguments_of_save_are_stored_in_the_envelope(application: Application) -> None:
    application.save(
        Aggregate(), actor=ACTOR, command_id=id_of("c"), causation_id=id_of("d"), ignored=1
    )
    (event,) = application.factory.datastore.journal.read(0, 9)
    assert event.parsed["actor"] == ACTOR
    assert event.parsed["command_id"] == event.parsed["correlation_id"] == str(id_of("c"))
    assert event.parsed["causation_id"] == str(id_of("d"))


def test_a_repeated_save_under_the_same_key_records_once(application: Application) -> None:
    aggregate_id = uuid4()

    def save(key: CommandKey) -> list[int]:
        stored = library.StoredEvent(aggregate_id, 1, "topic", b"state")
        return application.recorder.insert_events([stored], command=key)

    assert save(command("k")) == save(command("k")) == [1]
    with pytest.raises(library.IntegrityError):
        save(command("k", b"another request"))


def test_a_claim_that_is_taken_is_an_integrity_error(application: Application) -> None:
    application.save(Aggregate(), claims=[("n", "1")])
    with pytest.raises(library.IntegrityError):
        application.save(Aggregate(), claims=[("n", "1")])
    assert application.recorder.max_notification_id() == 1


def test_a_text_id_in_the_form_of_a_uuid_stays_text(datastore: Datastore) -> None:
    recorder = JournalApplicationRecorder(datastore)
    ids = [uuid4(), str(uuid4()), "thing-1"]
    for originator_id in ids:
        recorder.insert_events([library.StoredEvent(originator_id, 1, "topic", b"\x00\xff")])
    found = recorder.select_notifications(None, 10)
    assert [one.originator_id for one in found] == ids
    assert {one.state for one in found} == {b"\x00\xff"}


def test_a_state_too_large_for_the_log_is_a_data_error(datastore: Datastore) -> None:
    stored = library.StoredEvent(uuid4(), 1, "topic", b"x" * 60_000)
    with pytest.raises(library.DataError):
        JournalApplicationRecorder(datastore).insert_events([stored])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (psycopg2.InterfaceError, library.InterfaceError),
        (psycopg2.DataError, library.DataError),
        (psycopg2.OperationalError, library.OperationalError),
        (psycopg2.IntegrityError, library.IntegrityError),
        (psycopg2.InternalError, library.InternalError),
        (psycopg2.ProgrammingError, library.ProgrammingError),
        (psycopg2.NotSupportedError, library.NotSupportedError),
        (psycopg2.DatabaseError, library.DatabaseError),
        (psycopg2.Error, library.PersistenceError),
        (psycopg2.errors.UniqueViolation, library.IntegrityError),
        (psycopg2.errors.SerializationFailure, library.OperationalError),
    ],
)
def test_each_error_of_the_db_api_has_its_name_in_the_library(theirs: type, ours: type) -> None:
    with pytest.raises(library.PersistenceError) as refusal, library_errors():
        raise theirs("reason")
    assert type(refusal.value) is ours
    assert isinstance(refusal.value.__cause__, theirs)


def test_a_subscription_survives_a_server_that_ends_its_connections(
    datastore: Datastore, database: Database
) -> None:
    recorder = JournalApplicationRecorder(datastore)
    received: list[int] = []
    with recorder.subscribe(gt=0) as subscription:

        def follow() -> None:
            received.extend(notification.id for notification in subscription)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        for n in range(1, 6):
            recorder.insert_events([library.StoredEvent(uuid4(), 1, "topic", b"")])
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
                "AND application_name LIKE 'certledger%%'",
                database.name,
                user="postgres",
            )
            for _ in range(500):
                if len(received) == n:
                    break
                threading.Event().wait(0.01)
        subscription.stop()
        follower.join(10)
    assert received == [1, 2, 3, 4, 5]


def test_a_factory_without_a_database_says_which_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CERTLEDGER_DATABASE_URL", raising=False)
    with pytest.raises(library.InfrastructureFactoryError, match="CERTLEDGER_DATABASE_URL"):
        library.InfrastructureFactory.construct({"PERSISTENCE_MODULE": "domain.store.recorder"})


@pytest.mark.parametrize(
    "given",
    [
        {Factory.JOURNAL_KEY: ""},
        {Factory.JOURNAL_KEY: "c2hvcnQ="},
        {Factory.JOURNAL_KEYS_RETIRED: '["c2hvcnQ="]'},
    ],
)
def test_a_factory_without_a_usable_key_says_which_setting_holds_it(
    given: dict[str, str], dsn: str
) -> None:
    with pytest.raises(library.InfrastructureFactoryError, match=Factory.JOURNAL_KEY):
        library.InfrastructureFactory.construct(environment(dsn) | given)


def test_recorder_classes_may_be_named_in_the_environment(dsn: str) -> None:
    topic = f"{__name__}:Special"
    env = environment(dsn) | {"APPLICATION_RECORDER_TOPIC": topic}
    with library.InfrastructureFactory.construct(env) as factory:
        assert type(factory.application_recorder()).__name__ == "Special"
        factory.close()


class Special(JournalApplicationRecorder):
    pass

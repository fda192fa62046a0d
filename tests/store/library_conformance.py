"""The conformance cases that come with the `eventsourcing` library, bound to our recorders.

Not collected by themselves: `test_shipped_cases.py` runs each method on each server.
"""

import unittest
from typing import Any, ClassVar
from uuid import uuid4

from eventsourcing.persistence import InfrastructureFactory, Tracking
from eventsourcing.tests import application, persistence, projection
from eventsourcing.utils import Environment

from domain.store.recorder import (
    Datastore,
    Factory,
    JournalAggregateRecorder,
    JournalApplicationRecorder,
    JournalProcessRecorder,
    JournalTrackingRecorder,
    SnapshotRecorder,
)
from tests.support.keys import SEALER

FACTORY_TOPIC = "domain.store.recorder:Factory"


class OnJournal(unittest.TestCase):
    """A case with a fresh database, whose settings are in the environment."""

    __test__ = False
    dsn: ClassVar[str]

    def datastore(self) -> Datastore:
        datastore = Datastore(self.dsn, "omc", SEALER)
        datastore.create()
        self.addCleanup(datastore.close)
        return datastore


class AggregateRecorderCase(OnJournal, persistence.AggregateRecorderTestCase):
    def create_recorder(self) -> JournalAggregateRecorder:
        return JournalAggregateRecorder(self.datastore())


class TextIds:
    """The same cases with originator ids that are text."""

    def new_originator_id(self) -> str:
        return f"thing-{uuid4()}"


class AggregateRecorderTextIdsCase(TextIds, AggregateRecorderCase):
    pass


class SnapshotRecorderCase(OnJournal, persistence.AggregateRecorderTestCase):
    def create_recorder(self) -> SnapshotRecorder:
        return SnapshotRecorder(self.datastore())


class ApplicationRecorderCase(OnJournal, persistence.ApplicationRecorderTestCase):
    def create_recorder(self) -> JournalApplicationRecorder:
        return JournalApplicationRecorder(self.datastore())

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class ApplicationRecorderTextIdsCase(TextIds, ApplicationRecorderCase):
    pass


class TrackingRecorderCase(OnJournal, persistence.TrackingRecorderTestCase):
    def create_recorder(self) -> JournalTrackingRecorder:
        return JournalTrackingRecorder(self.datastore(), "view")


class ProcessRecorderCase(OnJournal, persistence.ProcessRecorderTestCase):
    def create_recorder(self) -> JournalProcessRecorder:
        return JournalProcessRecorder(self.datastore(), "process")


class NonInterleavingCase(OnJournal, persistence.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> JournalApplicationRecorder:
        return JournalApplicationRecorder(self.datastore())


class ViewOfOurs(JournalTrackingRecorder):
    pass


class InfrastructureFactoryCase(OnJournal, persistence.InfrastructureFactoryTestCase):
    def setUp(self) -> None:
        self.env = Environment("TestCase")
        self.env[InfrastructureFactory.PERSISTENCE_MODULE] = "domain.store.recorder"
        self.env[Factory.DATABASE_URL] = self.dsn
        self.env[Factory.JOURNAL_KEY] = SEALER.active.text
        super().setUp()

    def expected_factory_class(self) -> Any:
        return Factory

    def expected_aggregate_recorder_class(self) -> Any:
        return JournalAggregateRecorder

    def expected_application_recorder_class(self) -> Any:
        return JournalApplicationRecorder

    def expected_tracking_recorder_class(self) -> Any:
        return JournalTrackingRecorder

    def tracking_recorder_subclass(self) -> Any:
        return ViewOfOurs

    def expected_process_recorder_class(self) -> Any:
        return JournalProcessRecorder


class ExampleApplicationCase(OnJournal, application.ExampleApplicationTestCase):
    expected_factory_topic = FACTORY_TOPIC


class ApplicationCase(OnJournal, application.ApplicationTestCase):
    pass


class EventCounters(JournalTrackingRecorder, projection.EventCountersView):
    """A view with a table of its own, written together with its position."""

    def __init__(self, datastore: Datastore, name: str) -> None:
        super().__init__(datastore, name)
        with self.transaction() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS views.counters (kind text PRIMARY KEY, n int NOT NULL)"
            )

    def get_created_event_counter(self) -> int:
        return self._count("created")

    def get_subsequent_event_counter(self) -> int:
        return self._count("subsequent")

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self._increment("created", tracking)

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self._increment("subsequent", tracking)

    def _count(self, kind: str) -> int:
        rows = self.datastore.journal.query("SELECT n FROM views.counters WHERE kind = %s", (kind,))
        return rows[0][0] if rows else 0

    def _increment(self, kind: str, tracking: Tracking) -> None:
        with self.transaction() as cursor:
            self.track(cursor, tracking)
            cursor.execute(
                "INSERT INTO views.counters AS c VALUES (%s, 1) "
                "ON CONFLICT (kind) DO UPDATE SET n = c.n + 1",
                (kind,),
            )


class EventCountersViewCase(OnJournal, projection.EventCountersViewTestCase):
    def construct_event_counters_view(self) -> EventCounters:
        return EventCounters(self.datastore(), "counters")


class AggregateEventCountersProjectionCase(
    OnJournal, projection.AggregateEventCountersProjectionTestCase
):
    view_class = EventCounters


class EventSourcedProjectionCase(OnJournal, projection.EventSourcedProjectionTestCase):
    pass


CASES = (
    AggregateRecorderCase,
    AggregateRecorderTextIdsCase,
    SnapshotRecorderCase,
    ApplicationRecorderCase,
    ApplicationRecorderTextIdsCase,
    TrackingRecorderCase,
    ProcessRecorderCase,
    NonInterleavingCase,
    InfrastructureFactoryCase,
    ExampleApplicationCase,
    ApplicationCase,
    EventCountersViewCase,
    AggregateEventCountersProjectionCase,
    EventSourcedProjectionCase,
)

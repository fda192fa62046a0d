"""The journal as a persistence module of the `eventsourcing` library.

With `PERSISTENCE_MODULE=domain.store.recorder` any `Application` of the library writes into the
journal: its events get dense positions, envelopes, hashes and the one writer, as our own do.
Settings, each also with the application's name as a prefix (`COUNTERS_LEDGER`):

CERTLEDGER_DATABASE_URL   the database; required
CERTLEDGER_JOURNAL_KEY    base64 of the 32 bytes that seal the events; required
CERTLEDGER_JOURNAL_KEYS_RETIRED   JSON list of earlier ones, for reading
LEDGER                    the ledger; derived from the application's name if not set
CREATE_TABLE              "n": neither migrate the schema nor create the ledger

Reading order: Datastore, the four recorders, Factory.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    IntegrityError,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from domain.store.eventsourcing_adapter.conversion import (
    append_request_of,
    library_errors,
    notification,
    stored_event,
)
from domain.store.eventsourcing_adapter.tailer import Listener, Tailer
from domain.store.journal.journal import Journal
from domain.store.journal.records import CommandKey
from domain.store.journal.snapshot_table import (
    StoredSnapshot,
    insert_snapshots,
    select_snapshots,
)
from domain.store.keys.seals import Sealer, read_seal_key
from domain.store.postgres.connection import Cursor
from domain.store.postgres.migrate import migrate
from domain.store.writer.commands import QueuedCommand, Replayed
from domain.store.writer.group_commit import Committer

_TIMEOUT_SECONDS = 30.0


class Datastore:
    """One ledger's journal with its writer and its listener, each started when first needed."""

    def __init__(self, dsn: str, ledger: str, sealer: Sealer) -> None:
        self.journal = Journal(dsn, ledger, sealer.of(ledger))

    @cached_property
    def committer(self) -> Committer:
        """The writer thread."""
        return Committer(self.journal)

    @cached_property
    def listener(self) -> Listener:
        """The thread that listens for notifications of new events."""
        return Listener(self.journal.dsn)

    def create(self) -> None:
        """Migrate the schema and create the ledger; needs the owner's rights."""
        migrate(self.journal.dsn)
        self.journal.create_ledger()

    def close(self) -> None:
        """Stop the threads and close the connections. May be repeated."""
        for part in ("committer", "listener"):
            if part in self.__dict__:
                self.__dict__[part].close()
        self.journal.close()


class JournalAggregateRecorder(AggregateRecorder):
    """Events by stream."""

    def __init__(self, datastore: Datastore) -> None:
        self.datastore = datastore

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append, all or nothing. See `_insert` for the arguments. Returns: None."""
        self._insert(stored_events, **kwargs)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Events of one stream in order of version, gt < version <= lte."""
        with library_errors():
            journal = self.datastore.journal
            return [
                stored_event(event)
                for event in journal.stream(str(originator_id), gt, lte, desc, limit)
            ]

    def _insert(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        command: CommandKey | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        **given: Any,
    ) -> list[int]:
        """Append the events through the writer. Returns: their positions.

        command: makes a repeated call return the positions of the first one.
        given: actor, command_id, correlation_id, causation_id, occurred_at, claims, releases,
            destroy_keys; anything else is ignored, as in the library's own recorders.
        """
        if not stored_events and not given.get("tracks"):
            return []
        queued = QueuedCommand(
            execute=lambda view: append_request_of(stored_events, view, given),
            versions=tuple({str(event.originator_id) for event in stored_events}),
            command=command,
            claims=tuple(given.get("claims", ())),
            views=tuple(view for view, _ in given.get("tracks", ())),
            timeout_seconds=timeout_seconds,
        )
        with library_errors():
            result = self.datastore.committer.submit(queued).result()
        if isinstance(result, Replayed):
            if result.first_position is None or result.last_position is None:
                return []
            return list(range(result.first_position, result.last_position + 1))
        return [event.position for event in result.recorded]


class SnapshotRecorder(AggregateRecorder):
    """Snapshots of aggregates. They can be taken again, so they are not part of the journal."""

    def __init__(self, datastore: Datastore) -> None:
        self.datastore = datastore

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Store snapshots. Raises: IntegrityError if there is one of that version already."""
        rows = [
            StoredSnapshot(
                str(event.originator_id), event.originator_version, event.topic, event.state
            )
            for event in stored_events
        ]
        with library_errors():
            insert_snapshots(self.datastore.journal, rows)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Snapshots of one stream in order of version, gt < version <= lte."""
        with library_errors():
            rows = select_snapshots(
                self.datastore.journal,
                str(originator_id),
                gt=gt,
                lte=lte,
                desc=desc,
                limit=limit,
            )
        return [StoredEvent(originator_id, row.version, row.topic, row.state) for row in rows]


class JournalApplicationRecorder(JournalAggregateRecorder, ApplicationRecorder):
    """Events by stream, and all of them in order of position."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append, all or nothing. Returns: positions. Arguments: see `_insert`."""
        return self._insert(stored_events, **kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events in order of position, from `start` (1 if None) to `stop`."""
        after = 0 if start is None else start - (1 if inclusive_of_start else 0)
        with library_errors():
            found = self.datastore.journal.read(after, limit, topics, upto=stop)
        return [notification(event) for event in found]

    def max_notification_id(self) -> int | None:
        """Position of the last event, None if there is none."""
        with library_errors():
            return self.datastore.journal.head().position or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> "Subscription[ApplicationRecorder]":
        """An endless iterator over events after position `gt`."""
        return JournalSubscription(self, gt, topics)


class JournalSubscription(Subscription[JournalApplicationRecorder]):
    """Follows the journal with a tailer; reconnects after a lost connection or server restart."""

    def __init__(
        self, recorder: JournalApplicationRecorder, gt: int | None, topics: Sequence[str]
    ) -> None:
        super().__init__(recorder, gt, topics)
        datastore = recorder.datastore
        self._tailer = Tailer(datastore.journal, datastore.listener, limit=500)
        self._events = self._follow()

    def stop(self) -> None:
        """End the iteration, from any thread."""
        super().stop()
        self._tailer.stop()

    def __next__(self) -> Notification:
        """Wait for the next event. Raises: StopIteration after `stop`."""
        if self._has_been_stopped:
            raise StopIteration
        with library_errors():
            return next(self._events)

    def _follow(self) -> Iterator[Notification]:
        for page in self._tailer.pages(self._last_notification_id or 0, self._topics):
            for event in page.events:
                if self._has_been_stopped:
                    return
                self._last_notification_id = event.position
                yield notification(event)


class JournalTrackingRecorder(TrackingRecorder):
    """The position a view has reached; for views with tables in the schema `views`.

    A subclass writes its rows and its position in one transaction:
    `with self.transaction() as cursor: self.track(cursor, tracking); …`.
    """

    def __init__(self, datastore: Datastore, name: str) -> None:
        """name: of the view; several may follow the same application."""
        self.datastore = datastore
        self.name = name

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A transaction of the view's own."""
        with library_errors(), self.datastore.journal.unit_of_work() as cursor:
            yield cursor

    def track(self, cursor: Cursor, tracking: Tracking) -> None:
        """Store a position within a transaction. Raises: IntegrityError if it does not advance."""
        cursor.execute(
            "INSERT INTO certledger.tracking AS t (ledger, view, position) VALUES (%s, %s, %s) "
            "ON CONFLICT (ledger, view) DO UPDATE SET position = excluded.position "
            "WHERE t.position < excluded.position RETURNING position",
            (
                self.datastore.journal.ledger,
                self._view(tracking.application_name),
                tracking.notification_id,
            ),
        )
        if cursor.fetchone() is None:
            raise IntegrityError(f"view {self.name} has already reached {tracking}")

    def insert_tracking(self, tracking: Tracking) -> None:
        """Store a position. Raises: IntegrityError if it does not advance."""
        with self.transaction() as cursor:
            self.track(cursor, tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Position reached in an application's sequence, None if there is none."""
        with library_errors():
            rows = self.datastore.journal.query(
                "SELECT position FROM certledger.tracking WHERE ledger = %s AND view = %s",
                (self.datastore.journal.ledger, self._view(application_name)),
            )
        return rows[0][0] if rows else None

    def _view(self, application_name: str) -> str:
        return f"{self.name}/{application_name}"


class JournalProcessRecorder(JournalTrackingRecorder, JournalApplicationRecorder, ProcessRecorder):
    """Events and the position they were derived from, in one transaction."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append and track, all or nothing. Raises: IntegrityError if it does not advance."""
        tracking: Tracking | None = kwargs.pop("tracking", None)
        if tracking is not None:
            view = self._view(tracking.application_name)
            kwargs["tracks"] = ((view, tracking.notification_id),)
        return self._insert(stored_events, **kwargs)


class Factory(InfrastructureFactory[JournalTrackingRecorder]):
    """Makes the recorders of one application from its environment."""

    DATABASE_URL = "CERTLEDGER_DATABASE_URL"
    JOURNAL_KEY = "CERTLEDGER_JOURNAL_KEY"
    JOURNAL_KEYS_RETIRED = "CERTLEDGER_JOURNAL_KEYS_RETIRED"
    LEDGER = "LEDGER"
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        """Raises: InfrastructureFactoryError if no database or no usable key is named."""
        super().__init__(env)
        dsn = self.env.get(self.DATABASE_URL)
        if not dsn:
            raise InfrastructureFactoryError(f"{self.DATABASE_URL} is not set")
        ledger = self.env.get(self.LEDGER) or _slug(self.env.name)
        self.datastore = Datastore(dsn, ledger, self._sealer())
        self._created = False

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """purpose: "events" or "snapshots"."""
        if purpose == "snapshots":
            return SnapshotRecorder(self._ready())
        return JournalAggregateRecorder(self._ready())

    def application_recorder(self) -> ApplicationRecorder:
        """Of the class APPLICATION_RECORDER_TOPIC names, or ours."""
        topic = self.env.get(self.APPLICATION_RECORDER_TOPIC)
        made: type = resolve_topic(topic) if topic else JournalApplicationRecorder
        return made(self._ready())  # type: ignore[no-any-return]

    def tracking_recorder(
        self, tracking_recorder_class: type[JournalTrackingRecorder] | None = None
    ) -> JournalTrackingRecorder:
        """Of the given class, the one TRACKING_RECORDER_TOPIC names, or ours."""
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        default: type = resolve_topic(topic) if topic else JournalTrackingRecorder
        made = tracking_recorder_class or default
        return made(self._ready(), self.env.name)  # type: ignore[no-any-return]

    def process_recorder(self) -> ProcessRecorder:
        """Of the class PROCESS_RECORDER_TOPIC names, or ours."""
        topic = self.env.get(self.PROCESS_RECORDER_TOPIC)
        made: type = resolve_topic(topic) if topic else JournalProcessRecorder
        return made(self._ready(), self.env.name)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Stop the threads and close the connections."""
        self.datastore.close()

    def _sealer(self) -> Sealer:
        active = self.env.get(self.JOURNAL_KEY)
        if not active:
            raise InfrastructureFactoryError(f"{self.JOURNAL_KEY} is not set")
        try:
            retired = json.loads(self.env.get(self.JOURNAL_KEYS_RETIRED) or "[]")
            return Sealer(read_seal_key(active), map(read_seal_key, retired))
        except (ValueError, TypeError):
            reason = f"{self.JOURNAL_KEY} and {self.JOURNAL_KEYS_RETIRED} hold base64 of 32 bytes"
            raise InfrastructureFactoryError(reason) from None

    def _ready(self) -> Datastore:
        if not self._created and strtobool(self.env.get(self.CREATE_TABLE, "yes")):
            with library_errors():
                self.datastore.create()
            self._created = True
        return self.datastore


def _slug(name: str) -> str:
    """A ledger name from an application's: lower case, other characters as dashes."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:63] or "application"

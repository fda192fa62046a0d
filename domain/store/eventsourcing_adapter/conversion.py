"""Converts the `eventsourcing` library's events and errors to ours and back.

An event of a foreign aggregate is opaque bytes. The journal stores it as an envelope whose data is
`{"originator": "uuid" or "text", "state_base64": …}` and returns it byte for byte. Our own events
(`JournalEvent`) are stored as they are and returned as their envelope.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg2
from eventsourcing import persistence as library

from domain.store import errors
from domain.store.journal.records import AppendRequest, NewEvent, RecordedEvent
from domain.store.mapper import JournalEvent
from domain.store.privacy.field_encryption import FieldEncryptor
from domain.store.writer.commands import BatchView

FOREIGN_ACTOR = dict.fromkeys(("subject", "role", "organisation"), "") | dict.fromkeys(
    ("on_behalf_of", "authority")
)
"""The actor of events whose application names none."""

_STATE, _ORIGINATOR = "state_base64", "originator"

_DB_API = (
    (psycopg2.IntegrityError, library.IntegrityError),
    (psycopg2.DataError, library.DataError),
    (psycopg2.OperationalError, library.OperationalError),
    (psycopg2.InternalError, library.InternalError),
    (psycopg2.NotSupportedError, library.NotSupportedError),
    (psycopg2.ProgrammingError, library.ProgrammingError),
    (psycopg2.DatabaseError, library.DatabaseError),
    (psycopg2.InterfaceError, library.InterfaceError),
    (psycopg2.Error, library.PersistenceError),
)

_OURS = (
    (errors.StaleStream, library.IntegrityError),
    (errors.ClaimTaken, library.IntegrityError),
    (errors.ClaimNotHeld, library.IntegrityError),
    (errors.TrackingBehind, library.IntegrityError),
    (errors.IdempotencyKeyReused, library.IntegrityError),
    (errors.NotCanonical, library.DataError),
    (errors.EnvelopeTooLarge, library.DataError),
    (errors.Unavailable, library.OperationalError),
    (errors.Overloaded, library.OperationalError),
    (errors.DeadlineExceeded, library.OperationalError),
    (errors.OutcomeUnknown, library.OperationalError),
    (errors.Closed, library.InterfaceError),
    (errors.SealBroken, library.DataError),
    (errors.NoJournalKey, library.ProgrammingError),
    (errors.WrongServiceKey, library.ProgrammingError),
    (errors.UnknownLedger, library.ProgrammingError),
)


@contextmanager
def library_errors() -> Iterator[None]:
    """Raise the library's errors in place of ours, which become their cause."""
    try:
        yield
    except psycopg2.Error as error:
        raise _translated(error, _DB_API)(str(error)) from error
    except errors.StoreError as error:
        cause = error.__cause__
        if isinstance(error, errors.RejectedByDatabase) and isinstance(cause, psycopg2.Error):
            raise _translated(cause, _DB_API)(str(cause)) from error
        raise _translated(error, _OURS)(str(error)) from error


def _translated(
    error: Exception,
    table: Sequence[tuple[type[Exception], type[library.PersistenceError]]],
) -> type[library.PersistenceError]:
    for ours, theirs in table:
        if isinstance(error, ours):
            return theirs
    return library.PersistenceError


def append_request_of(
    events: Sequence[library.StoredEvent], view: BatchView, given: dict[str, Any]
) -> AppendRequest:
    """The append of stored events; called by the writer with the read view of its batch.

    given: keyword arguments of `Application.save`: actor, command_id, correlation_id,
        causation_id, occurred_at, claims, releases, destroy_keys, tracks.
    """
    command_id = given.get("command_id") or uuid4()
    encryptor: FieldEncryptor | None = None
    new_events: list[NewEvent] = []
    for event in events:
        if isinstance(event, JournalEvent) and event.new_event is not None:
            if encryptor is None and event.vault is not None:
                encryptor = event.vault.encryptor(view)
            new_events.append(event.new_event(encryptor))
            continue
        data = {
            _ORIGINATOR: "uuid" if isinstance(event.originator_id, UUID) else "text",
            _STATE: base64.b64encode(event.state).decode(),
        }
        new_event = NewEvent(
            stream=str(event.originator_id),
            version=event.originator_version,
            topic=event.topic,
            event_id=uuid4(),
            occurred_at=given.get("occurred_at") or view.recorded_at,
            actor=given.get("actor") or FOREIGN_ACTOR,
            command_id=command_id,
            correlation_id=given.get("correlation_id") or command_id,
            causation_id=given.get("causation_id"),
            data=data,
        )
        new_events.append(new_event)
    return AppendRequest(
        tuple(new_events),
        claims=tuple(given.get("claims", ())),
        releases=tuple(given.get("releases", ())),
        destroy_keys=tuple(given.get("destroy_keys", ())),
        fresh_keys=encryptor.fresh_keys if encryptor is not None else (),
        tracks=tuple(given.get("tracks", ())),
    )


def stored_event(recorded: RecordedEvent) -> library.StoredEvent:
    """The library's event as it was given, or one of ours with its envelope as state."""
    data = recorded.data
    if data.keys() == {_STATE, _ORIGINATOR}:
        return library.StoredEvent(
            _originator(recorded.stream, data),
            recorded.version,
            recorded.topic,
            base64.b64decode(data[_STATE]),
        )
    return JournalEvent(recorded.stream, recorded.version, recorded.topic, recorded.envelope)


def notification(recorded: RecordedEvent) -> library.Notification:
    """The stored event with its position as notification id."""
    event = stored_event(recorded)
    return library.Notification(
        originator_id=event.originator_id,
        originator_version=event.originator_version,
        topic=event.topic,
        state=event.state,
        id=recorded.position,
    )


def _originator(stream: str, data: dict[str, Any]) -> UUID | str:
    return UUID(stream) if data[_ORIGINATOR] == "uuid" else stream

"""Maps facts to the journal's events and back.

A fact is a pydantic model with a stored TOPIC; a `JournalEntry` is a fact with its metadata. On
the way in, the mapper seals the fields that a fact declares; on the way out, it opens them, upcasts
older versions and validates the result. Reading order: JournalEntry, Catalogue, EntryMapper.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from eventsourcing.persistence import Cipher, Compressor, Mapper, StoredEvent, Transcoder
from pydantic import BaseModel, ValidationError

from domain.store.errors import UnknownTopic, UnreadableEvent
from domain.store.journal import envelope as envelopes
from domain.store.journal.records import NewEvent, RecordedEvent
from domain.store.privacy.field_encryption import FieldEncryptor, Vault
from domain.values.sealed_fields import (
    declared_values,
    map_sealed,
    sealed_values,
    without_sealed,
)

_SEALED = b'"sealed":'
"""What an envelope with a sealed value has in it."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class JournalEntry(NamedTuple):
    """A fact with its metadata.

    originator_id: the stream. recorded_at: None until it is recorded. Times are aware, UTC.
    actor: dict with exactly subject, role, organisation, on_behalf_of, authority.
    """

    originator_id: str
    originator_version: int
    event_id: UUID
    occurred_at: datetime
    recorded_at: datetime | None
    actor: dict[str, Any]
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    fact: BaseModel


@dataclass(frozen=True)
class JournalEvent(StoredEvent):
    """One of our own events as the library's recorder interface carries it.

    On the way in, `state` is empty and `new_event` makes the event under the head lock, where the
    data keys are known; on the way out, `state` is the whole envelope.
    """

    new_event: Callable[[FieldEncryptor | None], NewEvent] | None = field(
        default=None, compare=False, repr=False
    )
    vault: Vault | None = field(default=None, compare=False, repr=False)


class OrjsonTranscoder(Transcoder):
    """Canonical JSON of plain values; see `domain.store.journal.envelope`."""

    def encode(self, obj: Any) -> bytes:
        """Encode a value. Raises: NotCanonical."""
        return envelopes.canonical_json(obj)

    def decode(self, data: bytes) -> Any:
        """Decode a value."""
        return orjson.loads(data)


class Catalogue:
    """Every topic that was ever written, and the class that reads it today."""

    def __init__(self, facts: Mapping[str, type[BaseModel]] | Iterable[type[BaseModel]]) -> None:
        """facts: the current classes, each with a class attribute TOPIC.

        Raises: ValueError if two classes have the same topic.
        """
        classes: Iterable[type[BaseModel]]
        classes = facts.values() if isinstance(facts, Mapping) else facts
        self._classes: dict[str, type[BaseModel]] = {}
        self._upcasters: dict[str, tuple[str, Upcaster]] = {}
        for fact in classes:
            topic = _topic_of(fact)
            if self._classes.setdefault(topic, fact) is not fact:
                raise ValueError(f"two facts have the topic {topic}")

    def upcaster(self, old: str, new: str) -> Callable[[Upcaster], Upcaster]:
        """Decorator for a function that converts the data of topic `old` to that of `new`.

        It takes and returns a dict, with sealed values opened, or sealed where a view reads
        it. It runs on every read of an old event, so it must be pure.
        Raises: ValueError if `old` is current or taken.
        """
        if old in self._classes or old in self._upcasters:
            raise ValueError(f"{old} can already be read")

        def register(upcast: Upcaster) -> Upcaster:
            self._upcasters[old] = (new, upcast)
            return upcast

        return register

    def current_topic(self, topic: str) -> str:
        """The topic that events of this topic are read as. Raises: UnknownTopic."""
        while topic not in self._classes:
            if topic not in self._upcasters:
                raise UnknownTopic(topic=topic)
            topic = self._upcasters[topic][0]
        return topic

    def is_current(self, topic: str) -> bool:
        """Whether facts of this topic are written today."""
        return topic in self._classes

    def upcast(self, topic: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Topic and data in the version that has no upcaster; unchanged if it is that already."""
        while topic in self._upcasters:
            topic, upcast = self._upcasters[topic]
            data = upcast(dict(data))
        return topic, data

    def read(self, topic: str, data: dict[str, Any], where: str) -> BaseModel:
        """The fact of stored data, upcast to the current version and validated.

        where: place in the journal, for the error. Raises: UnknownTopic, UnreadableEvent.
        """
        self.current_topic(topic)
        topic, data = self.upcast(topic, data)
        try:
            return self._classes[topic].model_validate(data)
        except ValidationError as error:
            # Without the input, which may be personal.
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            reason = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in faults)
            raise UnreadableEvent(where=where, topic=topic, reason=reason) from None


class EntryMapper(Mapper[str]):
    """Turns entries into new events and recorded events into entries."""

    def __init__(
        self,
        transcoder: Transcoder | None = None,
        compressor: Compressor | None = None,
        cipher: Cipher | None = None,
        *,
        catalogue: Catalogue,
        vault: Vault | None = None,
    ) -> None:
        """vault: opens sealed values; without one they are read as None, as if erased.

        Raises: ValueError for a compressor or cipher: the log hashes the envelope as it is stored,
            and personal data is encrypted field by field.
        """
        if compressor is not None or cipher is not None:
            raise ValueError("envelopes are stored as they are, without compressor or cipher")
        super().__init__(transcoder or OrjsonTranscoder())
        self.catalogue = catalogue
        self.vault = vault

    # --- in --------------------------------------------------------------------------------------

    def new_event(
        self, entry: JournalEntry, encryptor: FieldEncryptor | None = None, memo: object = None
    ) -> NewEvent:
        """The event to append. encryptor: needed if the fact has sealed fields.

        memo: see NewEvent.
        Raises: UnknownTopic, ValueError if there is no encryptor or no person.
        """
        fact = entry.fact
        topic = _topic_of(type(fact))
        if self.catalogue.current_topic(topic) != topic:
            raise UnknownTopic(topic=topic)
        data = fact.model_dump(mode="json")
        stream, version = entry.originator_id, entry.originator_version
        for path, mark, holder, name in declared_values(type(fact), data):
            if encryptor is None:
                raise ValueError(f"{topic}{path} is sealed: it needs an encryptor")
            person = data.get(mark.of)
            holder[name] = encryptor.seal(mark, person, stream, version, path, holder[name])
        return NewEvent(
            stream=stream,
            version=version,
            topic=topic,
            event_id=entry.event_id,
            occurred_at=entry.occurred_at,
            actor=entry.actor,
            command_id=entry.command_id,
            correlation_id=entry.correlation_id,
            causation_id=entry.causation_id,
            data=data,
            memo=memo,
        )

    def to_stored_event(self, domain_event: Any) -> JournalEvent:
        """The entry for a recorder, which encrypts it under the head lock."""
        entry: JournalEntry = domain_event
        return JournalEvent(
            originator_id=entry.originator_id,
            originator_version=entry.originator_version,
            topic=_topic_of(type(entry.fact)),
            state=b"",
            new_event=lambda encryptor: self.new_event(entry, encryptor),
            vault=self.vault,
        )

    # --- out -------------------------------------------------------------------------------------

    def entry(self, recorded: RecordedEvent) -> JournalEntry:
        """The entry of a recorded event. Raises: UnknownTopic, UnreadableEvent, WrongKey."""
        return self._opened_entry(recorded.parsed)

    def entries(self, recorded: Iterable[RecordedEvent]) -> list[JournalEntry]:
        """The entries of many events; reads their keys in one query."""
        events = list(recorded)
        if self.vault is not None:
            self.vault.preload(
                value
                for event in events
                if _SEALED in event.envelope
                for _, value in sealed_values(event.data)
            )
        return [self._opened_entry(event.parsed) for event in events]

    def sealed_entry(self, recorded: RecordedEvent) -> JournalEntry:
        """As `entry`, with sealed values None, as if their keys were destroyed."""
        data = recorded.data
        if _SEALED in recorded.envelope:
            data = without_sealed(data)
        return self._entry(recorded.parsed, data)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The entry of a stored event whose state is an envelope."""
        return self.entry_of(stored_event.state)

    def entry_of(self, envelope: bytes) -> JournalEntry:
        """As `entry`, from the envelope alone."""
        return self._opened_entry(envelopes.parse(envelope))

    def _opened_entry(self, envelope: dict[str, Any]) -> JournalEntry:
        return self._entry(
            envelope, self._opened(envelope["data"], envelope["stream"], envelope["version"])
        )

    def _entry(self, envelope: dict[str, Any], data: dict[str, Any]) -> JournalEntry:
        stream, version = envelope["stream"], envelope["version"]
        where = f"{stream} version {version}"
        fact = self.catalogue.read(envelope["topic"], data, where)
        causation_id = envelope["causation_id"]
        return JournalEntry(
            originator_id=stream,
            originator_version=version,
            event_id=UUID(envelope["event_id"]),
            occurred_at=envelopes.from_rfc3339(envelope["occurred_at"]),
            recorded_at=envelopes.from_rfc3339(envelope["recorded_at"]),
            actor=envelope["actor"],
            command_id=UUID(envelope["command_id"]),
            correlation_id=UUID(envelope["correlation_id"]),
            causation_id=None if causation_id is None else UUID(causation_id),
            fact=fact,
        )

    def _opened(self, data: dict[str, Any], stream: str, version: int) -> dict[str, Any]:
        if self.vault is None:
            return without_sealed(data)
        vault = self.vault
        found: dict[str, Any] = map_sealed(
            data, lambda path, value: vault.open(stream, version, path, value)
        )
        return found


def _topic_of(fact: type[BaseModel]) -> str:
    topic: str = fact.TOPIC  # type: ignore[attr-defined]  # a pydantic model cannot declare it
    return topic

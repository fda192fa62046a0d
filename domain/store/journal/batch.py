"""Collects what one transaction will write, and checks its rules.

A batch holds the appends of many commands. It checks each against the committed state and against
the appends accepted before it, so that a later command sees the earlier one's events and a refused
one leaves no trace. Nothing here accesses the database: `CommittedState` is the port that reads it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.store.errors import (
    ClaimNotHeld,
    ClaimTaken,
    IdempotencyKeyReused,
    RejectedByDatabase,
    StaleStream,
    TrackingBehind,
)
from domain.store.journal import envelope as envelopes
from domain.store.journal.data_keys import DataKey, KeyClass
from domain.store.journal.logins import LoginRow
from domain.store.journal.person_claims import DOCUMENT, PersonIndex, PersonRows
from domain.store.journal.records import (
    AppendRequest,
    Claim,
    CommandKey,
    Head,
    KnownCommand,
    NewEvent,
    RecordedEvent,
)
from domain.store.keys.login_keys import LoginName
from domain.store.keys.seals import LedgerSealer


class CommittedState(Protocol):
    """What a batch builds on; `ReadCache` implements it. None: there is no such thing.

    data_keys: of all classes and generations.
    """

    def last_version(self, stream: str) -> int | None: ...
    def claim(self, claim: Claim) -> int | None: ...
    def claims_under(self, kind: str, prefix: str) -> set[str]: ...
    def command(self, name: tuple[str, str]) -> KnownCommand | None: ...
    def data_keys(self, owner: str) -> Sequence[DataKey]: ...
    def tracked(self, view: str) -> int | None: ...
    def login(self, name: LoginName) -> LoginRow | None: ...
    def holder(self, index: PersonIndex) -> str | None: ...


@dataclass(slots=True)
class NewClaim:
    """A claim row to insert. released_position: set if a later append of the batch released it."""

    claim: Claim
    position: int
    released_position: int | None = None


class Accepted(NamedTuple):
    """One append that the batch will write; final only after the COMMIT."""

    recorded: list[RecordedEvent]
    receipt: bytes


@dataclass(slots=True)
class Batch:
    """The events, commands, claims and keys of one transaction, in order.

    sealer: of the ledger. head: what it builds on. recorded_at: of every event in it. position: of
    the last accepted event. fresh_keys: by owner. destroyed: the last generation that goes.
    persons: whose claims are replaced, with the new ones, to whom `holders` leads.
    """

    sealer: LedgerSealer
    head: Head
    recorded_at: datetime
    committed: CommittedState = field(repr=False)
    position: int = field(init=False)
    events: list[RecordedEvent] = field(default_factory=list)
    streams: dict[str, list[RecordedEvent]] = field(default_factory=dict)
    commands: dict[tuple[str, str], KnownCommand] = field(default_factory=dict)
    live_claims: dict[Claim, NewClaim | None] = field(default_factory=dict)
    new_claims: list[NewClaim] = field(default_factory=list)
    released: list[tuple[Claim, int]] = field(default_factory=list)
    fresh_keys: dict[str, list[DataKey]] = field(default_factory=dict)
    destroyed: dict[KeyClass, int] = field(default_factory=dict)
    tracks: dict[str, int] = field(default_factory=dict)
    fresh_logins: dict[LoginName, LoginRow] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    persons: dict[str, tuple[PersonIndex, ...]] = field(default_factory=dict)
    holders: dict[PersonIndex, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.position = self.head.position

    @property
    def ledger(self) -> str:
        """Name of the ledger."""
        return self.sealer.ledger

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.events or self.commands or self.tracks)

    @property
    def new_head(self) -> Head:
        """The ledger's head after this batch."""
        if not self.events:
            return self.head
        return Head(self.position, self.recorded_at, self.events[-1].leaf_hash)

    @property
    def first_command_id(self) -> UUID | None:
        """Id of its first command, for an OutcomeUnknown error; None if it has none."""
        for known in self.commands.values():
            return known.command_id
        return UUID(self.events[0].parsed["command_id"]) if self.events else None

    # --- committed state with the accepted appends applied ----------------------------------------

    def last_version(self, stream: str) -> int | None:
        """Version of the stream's last event, None if it has none."""
        pending = self.streams.get(stream)
        return pending[-1].version if pending else self.committed.last_version(stream)

    def claim(self, claim: Claim) -> int | None:
        """Position of the event that took the claim, None if it is free."""
        if claim in self.live_claims:
            holder = self.live_claims[claim]
            return None if holder is None else holder.position
        return self.committed.claim(claim)

    def claims_under(self, kind: str, prefix: str) -> set[str]:
        """The keys of the claims of a kind that begin like this and are taken."""
        return self.claims_with(kind, prefix, self.committed.claims_under(kind, prefix))

    def claims_with(self, kind: str, prefix: str, stored: set[str]) -> set[str]:
        """As `claims_under`; stored: those that were taken before this batch."""
        changed = {
            key: holder is not None
            for (of_kind, key), holder in self.live_claims.items()
            if of_kind == kind and key.startswith(prefix)
        }
        return {key for key in {*stored, *changed} if changed.get(key, True)}

    def command(self, name: tuple[str, str]) -> KnownCommand | None:
        """The command recorded under this (principal, key)."""
        return self.commands.get(name) or self.committed.command(name)

    def data_keys(self, owner: str) -> Sequence[DataKey]:
        """The owner's key rows, in order of class and generation."""
        return self.keys_with(owner, self.committed.data_keys(owner))

    def keys_with(self, owner: str, stored: Sequence[DataKey]) -> Sequence[DataKey]:
        """The owner's key rows after this batch, in order; stored: the rows before it."""
        fresh = self.fresh_keys.get(owner, ())
        if not fresh and not self.destroyed:
            return stored
        rows = {(key.data_class, key.generation): key for key in (*stored, *fresh)}
        return [self._as_left(rows[place]) for place in sorted(rows)]

    def new_keys(self) -> Iterator[DataKey]:
        """The key rows to insert."""
        for keys in self.fresh_keys.values():
            yield from map(self._as_left, keys)

    def _as_left(self, key: DataKey) -> DataKey:
        """The key row, without the key if this batch destroys it."""
        gone = self.destroyed.get((key.owner, key.data_class), 0)
        return key._replace(bucket_generation=None, wrapped=None) if key.generation <= gone else key

    def tracked(self, view: str) -> int | None:
        """Position the view has reached."""
        found = self.tracks.get(view)
        return self.committed.tracked(view) if found is None else found

    def login(self, name: LoginName) -> LoginRow | None:
        """The row of a login under one key, None if there is none. Raises: SealBroken."""
        stored = None if name in self.fresh_logins else self.committed.login(name)
        return self.login_with(name, stored)

    def login_with(self, name: LoginName, stored: LoginRow | None) -> LoginRow | None:
        """The row of a login after this batch; stored: the row before it."""
        fresh = self.fresh_logins.get(name)
        if fresh is not None:
            return fresh
        return None if stored is not None and stored.pseudonym in self.forgotten else stored

    def holder(self, index: PersonIndex) -> str | None:
        """The person who has an index; None if nobody has. Of several, any."""
        stored = None if index in self.holders else self.committed.holder(index)
        return self.holder_with(index, stored)

    def holder_with(self, index: PersonIndex, stored: str | None) -> str | None:
        """The person who has an index after this batch; stored: before it."""
        fresh = self.holders.get(index)
        if fresh is not None:
            return fresh
        return None if stored in self.persons else stored

    def acted_as_staff(self, pseudonym: str) -> bool:
        """Whether an event of this batch has this actor, in another role than a candidate's."""
        return any(
            event.parsed["actor"]["subject"] == pseudonym
            and event.parsed["actor"]["role"] != "candidate"
            for event in self.events
        )

    def close(self) -> None:
        """Drop the committed state, which refers to this batch, once everything is accepted.

        Otherwise the cycle would keep each batch and its events in memory until the garbage
        collector runs.
        """
        del self.committed

    # --- accepting -------------------------------------------------------------------------------

    def accept(self, append: AppendRequest, command: CommandKey | None = None) -> Accepted:
        """Assign positions to the events of an append, or refuse it and leave the batch unchanged.

        command: the append's command, unless `append.command` names it.
        Raises: StaleStream, ClaimTaken, ClaimNotHeld, IdempotencyKeyReused, TrackingBehind,
            RejectedByDatabase for a key that is not the next of its class, NotCanonical,
            EnvelopeTooLarge, or whatever the receipt raises; ValueError if claims or keys change
            without an event.
        """
        if not append.events and append.changes_claims_or_keys:
            # Optimistic execution compares head positions, so every change has to move the head.
            raise ValueError("claims and keys change with an event, never without one")
        command = append.command or command
        if command is not None and self.command(command.name) is not None:
            raise IdempotencyKeyReused()
        self._check_versions(append.events)
        self._check_claims(append)
        self._check_persons(append)
        self._check_keys(append)
        for view, position in append.tracks:
            reached = self.tracked(view)
            if reached is not None and reached >= position:
                raise TrackingBehind(view=view, expected=position, actual=reached)
        recorded = self._build(append.events)
        receipt = append.receipt(recorded) if append.receipt is not None else b""
        self._apply(append, recorded)
        if command is not None:
            first = recorded[0].position if recorded else None
            last = recorded[-1].position if recorded else None
            request_hash, command_id = command.request_hash, command.command_id
            seal = self.sealer.command(*command.name, request_hash, command_id, receipt)
            self.commands[command.name] = KnownCommand(
                request_hash, command_id, first, last, receipt, seal, self.sealer.key_id
            )
        return Accepted(recorded, receipt)

    def _check_versions(self, events: tuple[NewEvent, ...]) -> None:
        versions: dict[str, int] = {}
        for event in events:
            last = versions.get(event.stream)
            if last is None:
                last = self.last_version(event.stream)
            # Foreign aggregates may number their first event 0; ours begin at 1.
            fits = event.version in (0, 1) if last is None else event.version == last + 1
            if not fits:
                raise StaleStream(stream=event.stream, expected=event.version - 1, actual=last or 0)
            versions[event.stream] = event.version

    def _check_claims(self, append: AppendRequest) -> None:
        released = set(append.releases)
        for kind, key in append.releases:
            if self.claim((kind, key)) is None:
                raise ClaimNotHeld(kind=kind, key=key)
        taken: set[Claim] = set()
        for claim in append.claims:
            holder = None if claim in released else self.claim(claim)
            if claim in taken:
                holder = self.position + 1
            if holder is not None:
                raise ClaimTaken(kind=claim[0], key=claim[1], position=holder)
            taken.add(claim)

    def _check_persons(self, append: AppendRequest) -> None:
        for person, rows in append.person_claims:
            for index in rows:
                if index[0] == DOCUMENT and self.holder(index) not in (None, person):
                    raise RejectedByDatabase(reason="this identity document is another person's")

    def _check_keys(self, append: AppendRequest) -> None:
        for key in append.fresh_keys:
            if key.generation != self._last_generation(key.owner, key.data_class) + 1:
                raise RejectedByDatabase(reason=f"key {key.name} is not the next of its class")
        for owner, _ in append.destroy_keys:
            self.data_keys(owner)  # read now, because `_apply` must not fail

    def _last_generation(self, owner: str, data_class: str) -> int:
        """The newest generation of a key; 0 if there is none."""
        keys = self.data_keys(owner)
        return max((key.generation for key in keys if key.data_class == data_class), default=0)

    def _build(self, events: tuple[NewEvent, ...]) -> list[RecordedEvent]:
        recorded = []
        position = self.position
        for event in events:
            position += 1
            envelope = envelopes.build(
                event_id=event.event_id,
                ledger=self.ledger,
                stream=event.stream,
                version=event.version,
                topic=event.topic,
                occurred_at=event.occurred_at,
                recorded_at=self.recorded_at,
                actor=event.actor,
                command_id=event.command_id,
                correlation_id=event.correlation_id,
                causation_id=event.causation_id,
                data=event.data,
            )
            leaf = envelopes.leaf_hash(envelope)
            recorded.append(
                RecordedEvent(
                    position,
                    event.stream,
                    event.version,
                    event.topic,
                    event.event_id,
                    envelope,
                    leaf,
                    event.occurred_at,
                    self.recorded_at,
                    self.sealer.event(position, leaf),
                    self.sealer.key_id,
                    event.memo,
                )
            )
        return recorded

    def _apply(self, append: AppendRequest, recorded: list[RecordedEvent]) -> None:
        """Add a checked append to the batch; must not fail."""
        for event in recorded:
            self.streams.setdefault(event.stream, []).append(event)
        self.events.extend(recorded)
        if recorded:
            self.position = recorded[-1].position
            self._apply_claims(append, recorded[0].position)
        for key in append.fresh_keys:
            self.fresh_keys.setdefault(key.owner, []).append(key)
        for owner, data_class in append.destroy_keys:
            self.destroyed[owner, data_class] = self._last_generation(owner, data_class)
        self._apply_logins(append)
        for rows in append.person_claims:
            self._apply_person(rows)
        self.tracks.update(append.tracks)

    def _apply_logins(self, append: AppendRequest) -> None:
        """Rows are deleted before others are inserted: a row of this batch has to go by itself."""
        for pseudonym in append.forget_logins:
            self.forgotten.append(pseudonym)
            gone = [n for n, row in self.fresh_logins.items() if row.pseudonym == pseudonym]
            for name in gone:
                del self.fresh_logins[name]
        self.fresh_logins.update((row.name, row) for row in append.fresh_logins)

    def _apply_person(self, changed: PersonRows) -> None:
        person, rows = changed
        for index in self.persons.get(person, ()):
            if self.holders.get(index) == person:
                del self.holders[index]
        self.persons[person] = rows
        self.holders.update(dict.fromkeys(rows, person))

    def _apply_claims(self, append: AppendRequest, position: int) -> None:
        for claim in append.releases:
            holder = self.live_claims.get(claim)
            if holder is not None:
                holder.released_position = position
            else:
                self.released.append((claim, position))
            self.live_claims[claim] = None
        for claim in append.claims:
            row = NewClaim(claim, position)
            self.new_claims.append(row)
            self.live_claims[claim] = row

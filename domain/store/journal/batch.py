"""What one transaction is about to write, and the rules it has to keep.

A batch gathers the appends of many commands. Each is checked against the database as it stands
under the head lock and against the appends accepted before it, so that a later command sees the
earlier one's events, and one that is refused leaves no trace. Nothing here talks to the database:
`CommittedState` answers what it knows.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.store.errors import (
    ClaimNotHeld,
    ClaimTaken,
    IdempotencyKeyReused,
    PersonErased,
    RejectedByDatabase,
    StaleStream,
    TrackingBehind,
)
from domain.store.journal import envelope as envelopes
from domain.store.journal.records import (
    AppendRequest,
    Claim,
    CommandKey,
    Head,
    KnownCommand,
    NewEvent,
    PersonKey,
    RecordedEvent,
)


class CommittedState(Protocol):
    """The committed state, read under the head lock. None: there is no such thing."""

    def last_version(self, stream: str) -> int | None: ...
    def claim(self, claim: Claim) -> int | None: ...
    def command(self, name: tuple[str, str]) -> KnownCommand | None: ...
    def person_key(self, person: str) -> PersonKey | None: ...
    def tracked(self, view: str) -> int | None: ...


@dataclass(slots=True)
class NewClaim:
    """A claim row to insert; released already if a later append of the batch let it go."""

    claim: Claim
    position: int
    released_position: int | None = None


class Accepted(NamedTuple):
    """One append that will be written with the batch. Final only once the batch is committed."""

    recorded: list[RecordedEvent]
    receipt: bytes


@dataclass(slots=True)
class Batch:
    """The events, commands, claims and keys of one transaction, in order.

    recorded_at: of every event in it. position: of the last event accepted so far.
    """

    ledger: str
    head: Head
    recorded_at: datetime
    lookup: CommittedState = field(repr=False)
    position: int = field(init=False)
    events: list[RecordedEvent] = field(default_factory=list)
    streams: dict[str, list[RecordedEvent]] = field(default_factory=dict)
    commands: dict[tuple[str, str], KnownCommand] = field(default_factory=dict)
    live_claims: dict[Claim, NewClaim | None] = field(default_factory=dict)
    new_claims: list[NewClaim] = field(default_factory=list)
    released: list[tuple[Claim, int]] = field(default_factory=list)
    fresh_keys: dict[str, PersonKey] = field(default_factory=dict)
    destroyed: list[str] = field(default_factory=list)
    tracks: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.position = self.head.position

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.events or self.commands or self.tracks)

    @property
    def end(self) -> Head:
        """Where the ledger stands once this is written."""
        return Head(self.position, self.recorded_at) if self.events else self.head

    @property
    def first_command_id(self) -> UUID | None:
        """Of the first command in it, by which its outcome can be found out."""
        for known in self.commands.values():
            return known.command_id
        return UUID(self.events[0].parsed["command_id"]) if self.events else None

    # --- the state with everything accepted so far -----------------------------------------------

    def last_version(self, stream: str) -> int | None:
        """Version of the stream's last event, None if it has none."""
        pending = self.streams.get(stream)
        return pending[-1].version if pending else self.lookup.last_version(stream)

    def claim(self, claim: Claim) -> int | None:
        """Position that holds the claim, None if it is free."""
        if claim in self.live_claims:
            holder = self.live_claims[claim]
            return None if holder is None else holder.position
        return self.lookup.claim(claim)

    def command(self, name: tuple[str, str]) -> KnownCommand | None:
        """The command already carried out under this (principal, key)."""
        return self.commands.get(name) or self.lookup.command(name)

    def person_key(self, person: str) -> PersonKey | None:
        """The person's key row; one accepted before counts."""
        stored = None if person in self.fresh_keys else self.lookup.person_key(person)
        return self.key_with(person, stored)

    def key_with(self, person: str, stored: PersonKey | None) -> PersonKey | None:
        """The person's key row once this is written, where `stored` was before."""
        key = self.fresh_keys.get(person, stored)
        if key is not None and person in self.destroyed:
            return PersonKey(person, key.algorithm, key.master_key_id, None)
        return key

    def tracked(self, view: str) -> int | None:
        """Position the view has reached."""
        found = self.tracks.get(view)
        return self.lookup.tracked(view) if found is None else found

    def close(self) -> None:
        """All is accepted: let go of the lookup, which holds this batch.

        Else each would lie in memory, with all of its events, until the collector comes round.
        """
        del self.lookup

    # --- accepting -------------------------------------------------------------------------------

    def accept(self, append: AppendRequest, command: CommandKey | None = None) -> Accepted:
        """Give the append its place, or refuse it and leave the batch as it was.

        command: whose append it is, unless the append says so itself.
        Raises: StaleStream, ClaimTaken, ClaimNotHeld, IdempotencyKeyReused, TrackingBehind,
            PersonErased, NotCanonical, EnvelopeTooLarge, or whatever the receipt raises;
            ValueError if claims or keys change and no event says why.
        """
        if not append.drafts and append.changes_more:
            # Whoever decides without the lock knows by the head's position that nothing changed.
            raise ValueError("claims and keys change with an event, never without one")
        command = append.command or command
        if command is not None and self.command(command.name) is not None:
            raise IdempotencyKeyReused()
        self._check_versions(append.drafts)
        self._check_claims(append)
        self._check_keys(append)
        for view, position in append.tracks:
            reached = self.tracked(view)
            if reached is not None and reached >= position:
                raise TrackingBehind(view=view, expected=position, actual=reached)
        recorded = self._build(append.drafts)
        receipt = append.receipt(recorded) if append.receipt is not None else b""
        self._take(append, recorded)
        if command is not None:
            first = recorded[0].position if recorded else None
            last = recorded[-1].position if recorded else None
            self.commands[command.name] = KnownCommand(
                command.request_hash, command.command_id, first, last, receipt
            )
        return Accepted(recorded, receipt)

    def _check_versions(self, drafts: tuple[NewEvent, ...]) -> None:
        ahead: dict[str, int] = {}
        for draft in drafts:
            last = ahead.get(draft.stream)
            if last is None:
                last = self.last_version(draft.stream)
            # Foreign aggregates may number their first event 0; ours begin at 1.
            fits = draft.version in (0, 1) if last is None else draft.version == last + 1
            if not fits:
                raise StaleStream(stream=draft.stream, expected=draft.version - 1, actual=last or 0)
            ahead[draft.stream] = draft.version

    def _check_claims(self, append: AppendRequest) -> None:
        let_go = set(append.releases)
        for kind, key in append.releases:
            if self.claim((kind, key)) is None:
                raise ClaimNotHeld(kind=kind, key=key)
        taken: set[Claim] = set()
        for claim in append.claims:
            holder = None if claim in let_go else self.claim(claim)
            if claim in taken:
                holder = self.position + 1
            if holder is not None:
                raise ClaimTaken(kind=claim[0], key=claim[1], position=holder)
            taken.add(claim)

    def _check_keys(self, append: AppendRequest) -> None:
        for key in append.fresh_keys:
            known = self.person_key(key.person)
            if known is not None and known.wrapped is None:
                raise PersonErased(person=key.person)
            if known is not None:
                raise RejectedByDatabase(reason=f"person {key.person} already has a key")

    def _build(self, drafts: tuple[NewEvent, ...]) -> list[RecordedEvent]:
        recorded = []
        position = self.position
        for draft in drafts:
            position += 1
            envelope = envelopes.build(
                event_id=draft.event_id,
                ledger=self.ledger,
                stream=draft.stream,
                version=draft.version,
                topic=draft.topic,
                occurred_at=draft.occurred_at,
                recorded_at=self.recorded_at,
                actor=draft.actor,
                command_id=draft.command_id,
                correlation_id=draft.correlation_id,
                causation_id=draft.causation_id,
                data=draft.data,
            )
            recorded.append(
                RecordedEvent(
                    position,
                    draft.stream,
                    draft.version,
                    draft.topic,
                    draft.event_id,
                    envelope,
                    envelopes.leaf_hash(envelope),
                    draft.occurred_at,
                    self.recorded_at,
                    draft.memo,
                )
            )
        return recorded

    def _take(self, append: AppendRequest, recorded: list[RecordedEvent]) -> None:
        """Nothing below this line may fail: the append is in."""
        for event in recorded:
            self.streams.setdefault(event.stream, []).append(event)
        self.events.extend(recorded)
        if recorded:
            self.position = recorded[-1].position
            self._take_claims(append, recorded[0].position)
        for key in append.fresh_keys:
            self.fresh_keys[key.person] = key
        self.destroyed.extend(append.destroy_keys)
        self.tracks.update(append.tracks)

    def _take_claims(self, append: AppendRequest, position: int) -> None:
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

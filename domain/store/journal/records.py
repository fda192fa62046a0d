"""What goes into the journal and what comes out of it.

Reading order: Draft (an event about to be written), Recorded (an event as it stands), Append (what
one command wants to happen, all or nothing), then what the database knows about heads, commands,
claims and keys.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from domain.store.journal import envelope as envelopes

Claim = tuple[str, str]
"""(kind, key): something only one may hold in a ledger, such as a certificate number."""

NO_EVENTS = -1
"""`after` of a stream of which nothing is known yet: versions of foreign streams begin at 0."""


@dataclass(slots=True)
class NewEvent:
    """An event that has no position yet.

    version: 1 for the first event of a stream, then one more each time.
    occurred_at: aware. actor: dict with exactly subject, role, organisation, on_behalf_of.
    data: JSON values without floats; personal fields already sealed.
    memo: whatever its maker wants to find again at the event; it is stored nowhere.
    """

    # Not frozen, nor is Recorded: that makes it five times as slow to make, and every event that
    # is written or read is made once.

    stream: str
    version: int
    topic: str
    event_id: UUID
    occurred_at: datetime
    actor: dict[str, Any]
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    data: dict[str, Any]
    memo: Any = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class RecordedEvent:
    """An event as it stands in the journal; never changed.

    position: 1, 2, 3 … without gaps within its ledger. envelope: the exact bytes; leaf_hash:
    32 bytes over them. Times are aware, UTC. memo: its draft's, while it is on its way.
    """

    position: int
    stream: str
    version: int
    topic: str
    event_id: UUID
    envelope: bytes
    leaf_hash: bytes
    occurred_at: datetime
    recorded_at: datetime
    memo: Any = field(default=None, repr=False, compare=False)
    _parsed: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def parsed(self) -> dict[str, Any]:
        """The envelope as a dict, decoded once; not to be changed."""
        if self._parsed is None:
            self._parsed = envelopes.parse(self.envelope)
        return self._parsed

    @property
    def data(self) -> dict[str, Any]:
        """What the event says; personal fields still sealed."""
        data: dict[str, Any] = self.parsed["data"]
        return data


class CommandKey(NamedTuple):
    """What makes a repeated request the same request.

    principal and key: who sent it and the Idempotency-Key they chose. request_hash: over the
    whole request, so that the same key with another request is found out.
    """

    principal: str
    key: str
    request_hash: bytes
    command_id: UUID

    @property
    def name(self) -> tuple[str, str]:
        """(principal, key), unique within a ledger."""
        return self.principal, self.key


class PersonKey(NamedTuple):
    """A person's data key as the database holds it; wrapped is None once it was destroyed."""

    person: str
    algorithm: str
    master_key_id: str
    wrapped: bytes | None


class AppendRequest(NamedTuple):
    """What one command wants recorded; all of it or nothing.

    claims and releases: (kind, key); releases come first, so one append may pass a claim on.
        They, and the keys, change with an event only.
    receipt: bytes to answer with, now and whenever the same command comes again; empty if None.
    fresh_keys: keys of persons first sealed for here. destroy_keys: persons to be erased.
    tracks: (view, position) that must move forward together with the events.
    """

    drafts: tuple[NewEvent, ...] = ()
    claims: tuple[Claim, ...] = ()
    releases: tuple[Claim, ...] = ()
    command: CommandKey | None = None
    receipt: Callable[[list[RecordedEvent]], bytes] | None = None
    destroy_keys: tuple[str, ...] = ()
    fresh_keys: tuple[PersonKey, ...] = ()
    tracks: tuple[tuple[str, int], ...] = ()

    @property
    def changes_more(self) -> bool:
        """Whether claims or keys change."""
        return bool(self.claims or self.releases or self.fresh_keys or self.destroy_keys)


class Head(NamedTuple):
    """Where a ledger stands: its last position (0 when empty) and when that was written."""

    position: int
    recorded_at: datetime


class KnownCommand(NamedTuple):
    """A command that was carried out. Positions are None if it recorded no event."""

    request_hash: bytes
    command_id: UUID
    first_position: int | None
    last_position: int | None
    receipt: bytes

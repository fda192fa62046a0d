"""The records of the journal: what goes in and what comes out.

Reading order: NewEvent (not yet recorded), RecordedEvent, AppendRequest (what one command records,
all or nothing), then the rows about heads, commands, claims and keys.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from domain.store.journal import envelope as envelopes
from domain.store.journal.data_keys import DataKey, KeyClass
from domain.store.journal.logins import LoginRow
from domain.store.journal.person_claims import PersonRows

Claim = tuple[str, str]
"""(kind, key): a uniqueness reservation in a ledger, such as of a certificate number."""

NO_EVENTS = -1
"""`after` that selects a whole stream: versions of foreign streams begin at 0."""


@dataclass(slots=True)
class NewEvent:
    """An event that has no position yet.

    version: 1 for the first event of a stream, then one more each time.
    occurred_at: aware. actor: dict with exactly subject, role, organisation, on_behalf_of,
        authority.
    data: JSON values without floats; personal fields already sealed.
    memo: any object to find again at the RecordedEvent; it is not stored.
    """

    # Neither this class nor RecordedEvent is frozen: creating a frozen instance takes five times
    # as long, and every event written or read creates one.

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
    """An event of the journal; must not be changed.

    position: 1, 2, 3 … without gaps within its ledger. envelope: the exact bytes; leaf_hash:
    32 bytes over them. Times are aware, UTC. seal: 32 bytes under the key seal_key, 8 hex digits;
    see `domain.store.keys.seals`. memo: of its NewEvent, in this process and until the batch is
    committed.
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
    seal: bytes = b""
    seal_key: str = ""
    memo: Any = field(default=None, repr=False, compare=False)
    _parsed: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def parsed(self) -> dict[str, Any]:
        """The envelope as a dict, decoded once; must not be changed."""
        if self._parsed is None:
            self._parsed = envelopes.parse(self.envelope)
        return self._parsed

    @property
    def data(self) -> dict[str, Any]:
        """The fields of the fact; personal fields still sealed."""
        data: dict[str, Any] = self.parsed["data"]
        return data


class CommandKey(NamedTuple):
    """Identifies a command, so that a repeated request is recorded once.

    principal, key: the sender, and what is stored of their Idempotency-Key. request_hash: over the
    whole request, 40 bytes, to detect the same key with another request; both are keyed, see
    `domain.store.keys.command_hashes`. command_id: drawn once, and the same in every attempt.
    recognises: whether a stored hash is of this request, whichever key made it; None compares it
    with request_hash.
    """

    principal: str
    key: str
    request_hash: bytes
    command_id: UUID
    recognises: Callable[[bytes], bool] | None = None

    @property
    def name(self) -> tuple[str, str]:
        """(principal, key), unique within a ledger."""
        return self.principal, self.key

    def is_same_request(self, stored: bytes) -> bool:
        """Whether a stored hash is of this request. Raises: CommandKeyMissing,
        IdempotencyKeyExpired."""
        return stored == self.request_hash if self.recognises is None else self.recognises(stored)


class AppendRequest(NamedTuple):
    """What one command records, all or nothing.

    claims and releases: (kind, key); releases come first, so that one append may pass a claim on.
        Claims and keys change only together with an event.
    receipt: bytes to answer with, now and when the same command comes again; empty if None.
    fresh_keys: new keys, which this append uses first. destroy_keys: (owner, class) of keys of
        which every generation there is goes.
    tracks: (view, position) to move forward in the same transaction.
    fresh_logins: rows of logins that this append names first. forget_logins: pseudonyms whose
        logins go with the erasure of their persons.
    person_claims: of persons whose rows are replaced, every row that they have from now on.
    """

    events: tuple[NewEvent, ...] = ()
    claims: tuple[Claim, ...] = ()
    releases: tuple[Claim, ...] = ()
    command: CommandKey | None = None
    receipt: Callable[[list[RecordedEvent]], bytes] | None = None
    destroy_keys: tuple[KeyClass, ...] = ()
    fresh_keys: tuple[DataKey, ...] = ()
    tracks: tuple[tuple[str, int], ...] = ()
    fresh_logins: tuple[LoginRow, ...] = ()
    forget_logins: tuple[str, ...] = ()
    person_claims: tuple[PersonRows, ...] = ()

    @property
    def changes_claims_or_keys(self) -> bool:
        """Whether anything but events, command and tracking changes."""
        keys = self.fresh_keys or self.destroy_keys
        logins = self.fresh_logins or self.forget_logins
        return bool(self.claims or self.releases or keys or logins or self.person_claims)


class Head(NamedTuple):
    """The end of a ledger: its last position (0 when empty), recorded_at and leaf hash.

    leaf_hash: of the event at that position, 32 bytes; None when empty.
    """

    position: int
    recorded_at: datetime
    leaf_hash: bytes | None = None


class KnownCommand(NamedTuple):
    """A recorded command. Positions are None if it recorded no event.

    seal: 32 bytes under the key seal_key; see `domain.store.keys.seals`.
    """

    request_hash: bytes
    command_id: UUID
    first_position: int | None
    last_position: int | None
    receipt: bytes
    seal: bytes = b""
    seal_key: str = ""

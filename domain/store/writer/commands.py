"""The vocabulary of the writer: commands, their outcomes, and the ports to the use case.

The writer knows no domain rules. It calls back at these five ports, always on the writer thread:

| port | called | implemented by |
|---|---|---|
| `ExecuteCommand` | once or more for each command, in queue order | `CommandExecution.execute` |
| `IdentifyCommand` | before that, where the sender was not known for certain | `Ledger` |
| `CachedVersion` | before a stream is read | `StateCache.cached_version` |
| `ApplyCommitted` | after each COMMIT, before its callers get their outcomes | `Ledger` |
| `ResolveBatch` | after that, with the outcomes of the batch | `receipt_futures.resolve_batch` |

Reading order: Outcome, the ports, QueuedCommand, BatchView (what a command reads), then what the
writer makes of a queued command: PendingCommand (has a caller), BatchAttempt (one transaction).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import psycopg2

from domain.store.journal.batch import Accepted as Accepted
from domain.store.journal.batch import Batch
from domain.store.journal.data_keys import DataKey
from domain.store.journal.idempotency import ensure_same_request
from domain.store.journal.logins import LoginRow
from domain.store.journal.person_claims import PersonIndex
from domain.store.journal.read_cache import HeadConflict
from domain.store.journal.records import (
    NO_EVENTS,
    AppendRequest,
    Claim,
    CommandKey,
    RecordedEvent,
)
from domain.store.journal.statements import ReadRequest
from domain.store.journal.transaction import OptimisticBatch, Transaction
from domain.store.keys.login_keys import LoginName
from domain.store.keys.seals import LedgerSealer


class Replayed(NamedTuple):
    """The command was recorded before; its first receipt, again.

    Positions are None if it recorded no event.
    """

    receipt: bytes
    command_id: UUID
    first_position: int | None
    last_position: int | None


Outcome: TypeAlias = Accepted | Replayed | BaseException
"""What becomes of a command: recorded now, recorded before, or refused."""


# --- the ports ------------------------------------------------------------------------------------

CachedVersion: TypeAlias = Callable[[str], int]
"""Stream -> version of the state that the use case has cached; NO_EVENTS if it has none.

`BatchView` then reads the later events only. Streams only grow, so a cached state may be old but
never wrong."""

ApplyCommitted: TypeAlias = Callable[[Sequence[RecordedEvent]], None]
"""Takes the events of a committed batch. The next batch may be executing already. The writer logs
an exception; outcomes do not change."""

ResolveBatch: TypeAlias = Callable[[list[tuple[Any, Outcome]]], None]
"""Resolves the futures of a batch: (future given to the writer, outcome) for each command."""

Permit: TypeAlias = Callable[[], None]
"""Raises the StoreError that refuses every command at present. It may wait before the first batch;
it is asked again before each COMMIT."""


class ExecuteCommand(Protocol):
    """Decides a command against a read view."""

    def __call__(self, view: "BatchView", /) -> AppendRequest:
        """What to append. Raises: anything, to refuse the command.

        The writer calls it again if the transaction has to be repeated, so it must have no other
        effect.
        """


class IdentifyCommand(Protocol):
    """Identifies a command whose sender's pseudonym was not known for certain before."""

    def __call__(self, view: "BatchView", /) -> CommandKey:
        """Under what the command is recorded; called before `execute`. Raises: SealBroken."""


class CommandFuture(Protocol):
    """Where the outcome of a command goes; `ResolveBatch` knows how to set it."""

    def set_running_or_notify_cancel(self) -> bool:
        """False if the caller has cancelled; asked before the command is executed."""


# --- a command and what it reads ------------------------------------------------------------------


class QueuedCommand(NamedTuple):
    """One command with its read set.

    streams: read whole; versions: streams of which only the last version is read.
    command: its idempotency key, stored with the receipt of the append.
    identify: gives the final `command` when it is executed; None if it is final.
    claims, owners (of data keys), views, logins, holders (of blind indexes): looked up. Whatever
        the read set does not name is read on demand, at one round trip each.
    timeout_seconds: how long the caller waits.
    """

    execute: ExecuteCommand
    streams: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    command: CommandKey | None = None
    claims: tuple[Claim, ...] = ()
    owners: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    logins: tuple[LoginName, ...] = ()
    holders: tuple[PersonIndex, ...] = ()
    identify: IdentifyCommand | None = None
    timeout_seconds: float = 10.0


class BatchView:
    """A command's read view: committed state plus the uncommitted events of earlier commands."""

    __slots__ = ("_cached_version", "_transaction")

    def __init__(
        self, transaction: Transaction | OptimisticBatch, cached_version: CachedVersion
    ) -> None:
        self._transaction = transaction
        self._cached_version = cached_version

    @property
    def ledger(self) -> str:
        """Name of the ledger."""
        return self._transaction.batch.ledger

    @property
    def recorded_at(self) -> datetime:
        """The recorded_at of every event of this batch; aware."""
        return self._transaction.batch.recorded_at

    @property
    def position(self) -> int:
        """Position of the last event before this command's."""
        return self._transaction.batch.position

    def recorded(self, stream: str) -> list[RecordedEvent]:
        """Events of a stream after its cached version, committed and pending, in order."""
        return self.committed(stream) + self.pending(stream)

    def committed(self, stream: str) -> list[RecordedEvent]:
        """Of `recorded`, the events that are committed."""
        return self._transaction.load({stream: self._cached_version(stream)})[stream]

    def pending(self, stream: str) -> list[RecordedEvent]:
        """Of `recorded`, the uncommitted events of earlier commands; their batch may still fail."""
        preceding = self._transaction.pending_events(stream, self._cached_version(stream))
        return preceding + self._transaction.batch.streams.get(stream, [])

    def version(self, stream: str) -> int:
        """Version of the stream's last event; 0 if it has none."""
        return self._transaction.batch.last_version(stream) or 0

    def claimed(self, kind: str, key: str) -> int | None:
        """Position of the event that took the claim, None if it is free."""
        return self._transaction.batch.claim((kind, key))

    def claims_under(self, kind: str, prefix: str) -> set[str]:
        """The keys of the claims of a kind that begin like this and are taken."""
        return self._transaction.batch.claims_under(kind, prefix)

    def data_keys(self, owner: str) -> Sequence[DataKey]:
        """The owner's key rows for the vault, in order of class and generation."""
        return self._transaction.batch.data_keys(owner)

    def tracked(self, view: str) -> int | None:
        """Position a tracked view has reached."""
        return self._transaction.batch.tracked(view)

    def login(self, name: LoginName) -> LoginRow | None:
        """The row of a login under one key, None if there is none. Raises: SealBroken."""
        return self._transaction.batch.login(name)

    def read_logins(self, names: Iterable[LoginName]) -> None:
        """Read those that were not, in one message: one by one, a row could change its name."""
        self._transaction.prefetch(ReadRequest(logins=tuple(names)))

    def read_holders(self, indexes: Iterable[PersonIndex]) -> None:
        """As `read_logins`."""
        self._transaction.prefetch(ReadRequest(holders=tuple(indexes)))

    def holder(self, kind: str, index: str) -> str | None:
        """The person who has a blind index; None if nobody has. Of several, any."""
        return self._transaction.batch.holder((kind, index))

    def acted_as_staff(self, pseudonym: str) -> bool:
        """Whether this actor has recorded something in another role than a candidate's."""
        transaction = self._transaction
        return transaction.batch.acted_as_staff(pseudonym) or transaction.acted_as_staff(pseudonym)

    @property
    def newest_epoch(self) -> int | None:
        """Number of the newest epoch that there is; None if none has begun."""
        return self._transaction.newest_epoch

    @property
    def sealer(self) -> LedgerSealer:
        """Seals what the batch writes."""
        return self._transaction.batch.sealer


# --- what the writer makes of it ------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class PendingCommand:
    """A command whose caller waits for its outcome. queued_at, deadline: monotonic seconds."""

    queued: QueuedCommand
    future: CommandFuture
    queued_at: float
    deadline: float
    is_resolved: bool = False

    @property
    def waited_ms(self) -> int:
        return int((time.monotonic() - self.queued_at) * 1000)


@dataclass(slots=True)
class BatchAttempt:
    """One transaction: its commands, what it writes, and the outcomes once it is committed."""

    group: list[PendingCommand]
    batch: Batch | None = None
    outcomes: list[tuple[PendingCommand, Outcome]] = field(default_factory=list)

    def execute(
        self, transaction: Transaction | OptimisticBatch, cached_version: CachedVersion
    ) -> None:
        """Execute every command in order; a refused one leaves no trace in the batch.

        Raises: psycopg2.Error, HeadConflict.
        """
        self.batch = transaction.batch
        view = BatchView(transaction, cached_version)
        self.outcomes = [(each, _outcome(each.queued, self.batch, view)) for each in self.group]
        self.batch.close()


def _outcome(queued: QueuedCommand, batch: Batch, view: BatchView) -> Outcome:
    try:
        command = queued.command
        if command is not None:
            if queued.identify is not None:
                command = queued.identify(view)
            known = batch.command(command.name)
            if known is not None:
                ensure_same_request(known, command.is_same_request)
                return Replayed(
                    known.receipt, known.command_id, known.first_position, known.last_position
                )
        return batch.accept(queued.execute(view), command)
    except (psycopg2.Error, HeadConflict):
        raise
    except Exception as refusal:
        return refusal


def read_request_of(group: Iterable[PendingCommand], cached_version: CachedVersion) -> ReadRequest:
    """The read sets of many commands as one request."""
    queued = [pending.queued for pending in group]
    streams = {stream for each in queued for stream in each.streams}
    return ReadRequest(
        streams={stream: cached_version(stream) for stream in streams},
        versions={stream for each in queued for stream in each.versions} - streams,
        commands={each.command.name for each in queued if each.command is not None},
        claims={claim for each in queued for claim in each.claims},
        owners={owner for each in queued for owner in each.owners},
        views={view for each in queued for view in each.views},
        logins={name for each in queued for name in each.logins},
        holders={index for each in queued for index in each.holders},
    )


def always_permitted() -> None:
    """A `Permit` for ledgers that nothing stops."""


def nothing_cached(_stream: str) -> int:
    """A `CachedVersion` for callers without a state cache: every stream is read whole."""
    return NO_EVENTS

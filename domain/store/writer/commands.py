"""What the committer is asked to do, and what it answers.

Reading order: Job (a command waiting to be decided), View (the ledger as its decision sees it),
then the answers: Accepted (recorded now) and Replayed (recorded before).
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.store.journal.batch import Accepted
from domain.store.journal.records import AppendRequest, Claim, CommandKey, PersonKey, RecordedEvent
from domain.store.journal.transaction import OptimisticBatch, Transaction

__all__ = ["Accepted", "BatchView", "QueuedCommand", "Replayed"]


class QueuedCommand(NamedTuple):
    """One command, with what its decision will surely look at.

    run: decides; returns what to append or raises to refuse. Called on the writer thread, and
        again if the transaction has to be repeated, so it must change nothing else.
    streams: whole streams to read; versions: streams of which only the version is needed.
    command: its idempotency key; stored with the receipt of whatever `run` returns.
    claims, persons, views: what to look up. Anything not named here is read when asked for,
        one round trip each.
    timeout_seconds: when the caller stops waiting.
    """

    run: Callable[["BatchView"], AppendRequest]
    streams: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    command: CommandKey | None = None
    claims: tuple[Claim, ...] = ()
    persons: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    timeout_seconds: float = 10.0


class Replayed(NamedTuple):
    """The command was carried out before; this is what was answered then.

    Positions are None if it had recorded no event.
    """

    receipt: bytes
    command_id: UUID
    first_position: int | None
    last_position: int | None


class BatchView:
    """The ledger as one job sees it: what is committed, and the jobs before it that will be."""

    __slots__ = ("_known", "_transaction")

    def __init__(
        self, transaction: Transaction | OptimisticBatch, known: Callable[[str], int]
    ) -> None:
        self._transaction = transaction
        self._known = known

    @property
    def ledger(self) -> str:
        """Name of the ledger."""
        return self._transaction.batch.ledger

    @property
    def recorded_at(self) -> datetime:
        """When the events of this batch will have been recorded; aware."""
        return self._transaction.batch.recorded_at

    @property
    def position(self) -> int:
        """Position of the last event before this job's."""
        return self._transaction.batch.position

    def recorded(self, stream: str) -> list[RecordedEvent]:
        """Events of a stream in order: all, or those after the version the committer's owner
        said it knows already."""
        return self.committed(stream) + self.pending(stream)

    def committed(self, stream: str) -> list[RecordedEvent]:
        """Of these, the ones that are committed."""
        return self._transaction.load({stream: self._known(stream)})[stream]

    def pending(self, stream: str) -> list[RecordedEvent]:
        """Of these, the ones that earlier jobs are about to add; they may still fail."""
        on_the_way = self._transaction.on_the_way(stream, self._known(stream))
        return on_the_way + self._transaction.batch.streams.get(stream, [])

    def version(self, stream: str) -> int:
        """Version of the stream's last event; 0 if it has none."""
        return self._transaction.batch.last_version(stream) or 0

    def claimed(self, kind: str, key: str) -> int | None:
        """Position that holds the claim, None if it is free."""
        return self._transaction.batch.claim((kind, key))

    def person_key(self, person: str) -> PersonKey | None:
        """The person's key row, None if none was made; for the vault."""
        return self._transaction.batch.person_key(person)

    def tracked(self, view: str) -> int | None:
        """Position a view has reached."""
        return self._transaction.batch.tracked(view)

"""The two ways to append a batch: under the head lock, or optimistically.

`Transaction` takes the head lock first, so no conflict can occur. `OptimisticBatch` executes
without the lock, on top of a batch in flight if there is one; `commit_optimistic` then takes the
lock, writes and commits, and writes nothing if the head is not the one the batch builds on.

If the connection is lost after the COMMIT was sent, its outcome cannot be known, and both raise
OutcomeUnknown; the writer resolves it (`BatchRetry`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import psycopg2
import psycopg2.errors

from domain.store.errors import OutcomeUnknown
from domain.store.journal.batch import Accepted, Batch
from domain.store.journal.read_cache import HeadConflict, ReadCache
from domain.store.journal.records import AppendRequest, CommandKey, RecordedEvent
from domain.store.journal.statements import ReadRequest, is_head_conflict, take_head, write_message
from domain.store.keys.seals import LedgerSealer
from domain.store.postgres.connection import Cursor, PgConnection
from domain.store.postgres.errors import is_connection_failure

_IN_ERROR = psycopg2.extensions.TRANSACTION_STATUS_INERROR


class Transaction(ReadCache):
    """Holds the head lock. Made by `Journal.transaction`; used by one thread."""

    def __init__(
        self,
        connection: PgConnection,
        sealer: LedgerSealer,
        request: ReadRequest,
        now: datetime | None,
    ) -> None:
        """Lock the ledger's head row and read the request, in one message.

        sealer: of the ledger.
        now: recorded_at of the batch; the server's time if None. A ledger's recorded_at never
            runs backwards, whatever the clock does.
        Raises: UnknownLedger; SealBroken for a wrong head or its wrong time; WrongServiceKey;
            psycopg2.Error.
        """
        super().__init__(connection, sealer, request, lock=True)
        self.batch = _new_batch(self, sealer, now)

    def holds(self, events: Sequence[RecordedEvent]) -> bool:
        """Whether exactly these events of one batch are recorded, each at its position.

        Compares leaf hashes, of which the random command id is a part: the same command, sent to
        another process, has another one.
        """
        ends = {event.position: event.leaf_hash for event in (events[0], events[-1])}
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT position, leaf_hash FROM certledger.journal "
                "WHERE ledger = %s AND position = ANY(%s)",
                (self._ledger, list(ends)),
            )
            return {position: bytes(leaf) for position, leaf in cursor.fetchall()} == ends

    def append(self, appends: Iterable[AppendRequest]) -> list[list[RecordedEvent]]:
        """Accept appends in order; `commit` writes them.

        Returns: the events of each.
        Raises: as Batch.accept; then the caller must give up the whole transaction.
        """
        requests = list(appends)
        self.prefetch(_reads_of(requests))
        return [self.accept(append).recorded for append in requests]

    def accept(self, append: AppendRequest, command: CommandKey | None = None) -> Accepted:
        """Accept one append, or refuse it and keep the others. Raises: as Batch.accept."""
        return self.batch.accept(append, command)

    def commit(self) -> None:
        """Write everything accepted and commit, in one message.

        Raises: psycopg2.Error if it was surely not committed; OutcomeUnknown if the connection
            was lost after the COMMIT was sent.
        """
        with self._connection.cursor() as cursor:
            if self.batch.is_empty:
                cursor.execute("COMMIT")
            else:
                _write_and_commit(self._connection, cursor, self.batch, move_head=True)


class OptimisticBatch(ReadCache):
    """A batch executed without the lock. Made by `Journal.optimistic_batch`; for one thread."""

    def __init__(
        self,
        connection: PgConnection,
        sealer: LedgerSealer,
        request: ReadRequest,
        now: datetime | None,
        preceding: Batch | None,
    ) -> None:
        """Read the request, in one message. preceding: the batch in flight, if there is one.

        Raises: UnknownLedger, HeadConflict; SealBroken for a wrong head; WrongServiceKey;
            psycopg2.Error.
        """
        super().__init__(connection, sealer, request, lock=False, preceding=preceding)
        self.batch = _new_batch(self, sealer, now)

    def end(self) -> None:
        """Drop the reference to the preceding batch, or each would keep all before it alive."""
        self._preceding = None


def commit_optimistic(connection: PgConnection, batch: Batch) -> None:
    """Write and commit an optimistic batch, if the head is still the one it builds on.

    Raises: HeadConflict or psycopg2.Error if it was surely not committed; OutcomeUnknown.
    """
    with connection.cursor() as cursor:
        try:
            take_head(connection, cursor, batch)
            _write_and_commit(connection, cursor, batch, move_head=False)
        except psycopg2.Error as error:
            if is_head_conflict(error):
                raise HeadConflict from error
            raise


def _write_and_commit(
    connection: PgConnection, cursor: Cursor, batch: Batch, *, move_head: bool
) -> None:
    message = write_message(connection, cursor, batch, move_head=move_head)
    try:
        cursor.execute(message)
    except psycopg2.Error as error:
        # An error that the server reports for a statement ends the message before its COMMIT and
        # leaves the transaction failed. After any other error the COMMIT may have succeeded.
        failed = connection.info.transaction_status == _IN_ERROR
        if error.pgcode is None or is_connection_failure(error) or not failed:
            raise OutcomeUnknown(command_id=batch.first_command_id) from error
        raise


def _new_batch(committed: ReadCache, sealer: LedgerSealer, now: datetime | None) -> Batch:
    sealer.check_active(committed.head.position + 1)
    committed.check_head_time()
    recorded_at = max(now or committed.server_time, committed.head.recorded_at)
    return Batch(sealer, committed.head, recorded_at, committed)


def _reads_of(appends: list[AppendRequest]) -> ReadRequest:
    return ReadRequest(
        commands=[append.command.name for append in appends if append.command],
        versions=[event.stream for append in appends for event in append.events],
        claims=[c for append in appends for c in (*append.claims, *append.releases)],
        owners=[
            *(key.owner for append in appends for key in append.fresh_keys),
            *(owner for append in appends for owner, _ in append.destroy_keys),
        ],
        views=[view for append in appends for view, _ in append.tracks],
        holders=[index for append in appends for _, rows in append.person_claims for index in rows],
    )

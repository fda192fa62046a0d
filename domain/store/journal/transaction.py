"""One append: what it may build on, what it writes, and how it becomes final.

Two ways lead to a commit, with the same rules. `Transaction` takes the head lock first: there is no
conflict to detect afterwards and nothing to repeat. `OptimisticBatch` decides without the lock,
maybe while
the batch before it is still on its way; `send` then takes the lock, writes and commits, and
writes nothing at all if the head is not where the batch builds on. Whoever loses the connection
while a COMMIT is on its way cannot know the outcome, and is told so instead of made to guess.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import psycopg2
import psycopg2.errors

from domain.store.errors import OutcomeUnknown
from domain.store.journal.batch import Accepted, Batch
from domain.store.journal.read_cache import HeadConflict, ReadCache
from domain.store.journal.records import AppendRequest, CommandKey, RecordedEvent
from domain.store.journal.statements import ReadRequest, begin, is_head_elsewhere, write
from domain.store.postgres.connection import PgConnection, PgCursor
from domain.store.postgres.errors import is_connection_failure

_IN_ERROR = psycopg2.extensions.TRANSACTION_STATUS_INERROR


class Transaction(ReadCache):
    """A held head lock. Made by `Journal.transaction`; used by one thread."""

    def __init__(
        self, connection: PgConnection, ledger: str, need: ReadRequest, now: datetime | None
    ) -> None:
        """Lock the ledger's head row and read what is needed, in one message.

        now: time to write as recorded_at; the server's own if None. A ledger's time never runs
            backwards, whatever the clock does.
        Raises: UnknownLedger; psycopg2.Error.
        """
        super().__init__(connection, ledger, need, lock=True)
        self.batch = _batch(self, ledger, now)

    def holds(self, events: Sequence[RecordedEvent]) -> bool:
        """Whether exactly these events of one batch are recorded, each at its place.

        An id is not enough: the same command, sent to another process, gives the same ids.
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
        """Accept appends in order; they are written when the transaction commits.

        Returns: the events of each, as they will stand.
        Raises: as Batch.accept; then the whole transaction is given up.
        """
        together = list(appends)
        self.ask(_need_of(together))
        return [self.accept(append).recorded for append in together]

    def accept(self, append: AppendRequest, command: CommandKey | None = None) -> Accepted:
        """Accept one append, or refuse it and keep the others. Raises: as Batch.accept."""
        return self.batch.accept(append, command)

    def commit(self) -> None:
        """Write everything accepted and commit, in one message.

        Raises: psycopg2.Error if it was surely not committed; OutcomeUnknown if the connection
            was lost when the COMMIT was already on its way.
        """
        with self._connection.cursor() as cursor:
            if self.batch.is_empty:
                cursor.execute("COMMIT")
            else:
                _finish(self._connection, cursor, self.batch, head=True)


class OptimisticBatch(ReadCache):
    """A batch that is decided without the lock. Made by `Journal.ahead`; used by one thread."""

    def __init__(
        self,
        connection: PgConnection,
        ledger: str,
        need: ReadRequest,
        now: datetime | None,
        before: Batch | None,
    ) -> None:
        """Read what is needed, in one message. before: the batch on its way, if there is one.

        Raises: UnknownLedger, HeadMoved; psycopg2.Error.
        """
        super().__init__(connection, ledger, need, lock=False, before=before)
        self.batch = _batch(self, ledger, now)

    def end(self) -> None:
        """All is decided. Let go of the batch before, or each would hold the one before it."""
        self._before = None


def send(connection: PgConnection, batch: Batch) -> None:
    """Write a batch that was decided ahead, if the head is still where it builds on.

    Raises: HeadMoved or psycopg2.Error if it was surely not committed; OutcomeUnknown.
    """
    with connection.cursor() as cursor:
        try:
            begin(connection, cursor, batch)
            _finish(connection, cursor, batch, head=False)
        except psycopg2.Error as error:
            if is_head_elsewhere(error):
                raise HeadConflict from error
            raise


def _finish(connection: PgConnection, cursor: PgCursor, batch: Batch, *, head: bool) -> None:
    message = write(connection, cursor, batch, head=head)
    try:
        cursor.execute(message)
    except psycopg2.Error as error:
        # The server's word about a statement ends the message before the COMMIT and
        # leaves the transaction failed. Anything else may have happened after it.
        failed = connection.info.transaction_status == _IN_ERROR
        if error.pgcode is None or is_connection_failure(error) or not failed:
            raise OutcomeUnknown(command_id=batch.first_command_id) from error
        raise


def _batch(lookups: ReadCache, ledger: str, now: datetime | None) -> Batch:
    recorded_at = max(now or lookups.server_time, lookups.head.recorded_at)
    return Batch(ledger, lookups.head, recorded_at, lookups)


def _need_of(appends: list[AppendRequest]) -> ReadRequest:
    return ReadRequest(
        commands=[append.command.name for append in appends if append.command],
        versions=[draft.stream for append in appends for draft in append.drafts],
        claims=[c for append in appends for c in (*append.claims, *append.releases)],
        persons=[key.person for append in appends for key in append.fresh_keys],
        views=[view for append in appends for view, _ in append.tracks],
    )

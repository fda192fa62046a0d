"""Retry: executes a failed batch again under the head lock until every command has an outcome.

Batches whose optimistic execution failed come here, and those that cannot be executed
optimistically. If the database rejects a batch, each of its commands is retried individually, so
that only the faulty one fails. An unknown COMMIT is resolved before anything is executed again.
Reading order: BatchRetry.run, `_handle_failure`, `_resolve_unknown_commit`.
"""

import logging
import time
from collections.abc import Callable
from uuid import UUID

import psycopg2

from domain.store.errors import (
    DeadlineExceeded,
    OutcomeUnknown,
    RejectedByDatabase,
    SealBroken,
    StoreError,
    Unavailable,
)
from domain.store.journal.batch import Accepted, Batch
from domain.store.journal.journal import Journal
from domain.store.journal.read_cache import HeadConflict
from domain.store.journal.transaction import Transaction
from domain.store.postgres.errors import is_retryable_write
from domain.store.writer.commands import (
    BatchAttempt,
    CachedVersion,
    Outcome,
    PendingCommand,
    Permit,
    read_request_of,
)

_BACKOFF_SECONDS = (0.02, 1.0)  # first and longest delay before a failed transaction is retried

_POSITIONS = "journal_pkey"
"""Constraint on the positions of a ledger."""

log = logging.getLogger(__name__)


class BatchRetry:
    """Executes batches under the head lock. Runs on the writer's thread."""

    def __init__(
        self,
        journal: Journal,
        cached_version: CachedVersion,
        finish: Callable[[BatchAttempt], None],
        resolve: Callable[[list[tuple[PendingCommand, Outcome]]], None],
        permit: Permit,
    ) -> None:
        """finish: called with each committed attempt. resolve: called with refused commands."""
        self._journal = journal
        self._cached_version = cached_version
        self._finish = finish
        self._resolve = resolve
        self._permit = permit
        self.retries = 0

    def run(self, group: list[PendingCommand], error: BaseException | None = None) -> None:
        """Give every command of the group its outcome. error: why an earlier attempt failed."""
        delay, longest = _BACKOFF_SECONDS
        while group := self.drop_expired(group, error):
            attempt = BatchAttempt(group)
            try:
                self._permit()
                request = read_request_of(group, self._cached_version)
                with self._journal.transaction(request) as transaction:
                    attempt.execute(transaction, self._cached_version)
                    self._permit()
            except Exception as failure:
                error = failure
                group = self._handle_failure(attempt, failure)
            else:
                self._finish(attempt)
                return
            if group:
                self.retries += 1
                time.sleep(delay)
                delay = min(delay * 2, longest)

    def recover(self, attempt: BatchAttempt, failure: BaseException) -> None:
        """Retry an optimistic attempt whose COMMIT failed, as far as is known."""
        group = self._handle_failure(attempt, failure)
        if group:
            self.retries += 1
            self.run(group, None if isinstance(failure, HeadConflict) else failure)

    def drop_expired(
        self, group: list[PendingCommand], error: BaseException | None
    ) -> list[PendingCommand]:
        """The commands before their deadline; the others fail, and nothing of them is recorded."""
        now = time.monotonic()
        expired = [pending for pending in group if pending.deadline <= now]
        for pending in expired:
            outcome: Exception = DeadlineExceeded(waited_ms=pending.waited_ms)
            if error is not None:
                outcome = Unavailable(ledger=self._journal.ledger)
                outcome.__cause__ = error
            self._resolve([(pending, outcome)])
        return [pending for pending in group if pending.deadline > now] if expired else group

    # --- failures --------------------------------------------------------------------------------

    def _handle_failure(
        self, attempt: BatchAttempt, failure: BaseException
    ) -> list[PendingCommand]:
        """The commands of the attempt to execute again; the others have their outcome."""
        if isinstance(failure, OutcomeUnknown):
            if attempt.batch is None or attempt.batch.is_empty:
                return attempt.group
            return self._resolve_unknown_commit(attempt)
        if isinstance(failure, Unavailable | HeadConflict):
            return attempt.group
        if isinstance(failure, StoreError):
            # Such as an unknown ledger, which fails every command of the batch.
            self._resolve([(pending, failure) for pending in attempt.group])
            return []
        if isinstance(failure, psycopg2.Error) and is_retryable_write(failure):
            return attempt.group
        self._retry_individually(attempt, failure)
        return []

    def _retry_individually(self, attempt: BatchAttempt, failure: BaseException) -> None:
        """Execute each command in a transaction of its own, so that only the faulty one fails."""
        group = attempt.group
        if len(group) == 1:
            self._resolve([(group[0], self._refusal(attempt, failure))])
            return
        for pending in group:
            self.run([pending])

    def _refusal(self, attempt: BatchAttempt, failure: BaseException) -> BaseException:
        """What a command gets that fails by itself."""
        if not isinstance(failure, psycopg2.Error):
            return failure
        outcome: StoreError
        if failure.diag.constraint_name == _POSITIONS and attempt.batch is not None:
            # Under the head lock: the program writes no event that the head does not cover.
            position = attempt.batch.head.position + 1
            outcome = SealBroken(ledger=self._journal.ledger, what="event", position=position)
        else:
            outcome = RejectedByDatabase(reason=failure.diag.message_primary or str(failure))
        outcome.__cause__ = failure
        return outcome

    def _resolve_unknown_commit(self, attempt: BatchAttempt) -> list[PendingCommand]:
        """Find out whether a COMMIT succeeded whose connection broke before the answer.

        A new transaction has to wait for the head lock, which the old one holds until it has
        committed or rolled back: what the new one reads is final.
        Returns: the commands to execute again, because the batch was not recorded.
        """
        assert attempt.batch is not None
        group = attempt.group
        delay, longest = _BACKOFF_SECONDS
        while True:
            now = time.monotonic()
            expired = [pending for pending in group if pending.deadline <= now]
            self._resolve(
                [(each, OutcomeUnknown(command_id=_command_id(each, attempt))) for each in expired]
            )
            group = [pending for pending in group if pending.deadline > now]
            if not group:
                return []
            try:
                with self._journal.transaction() as transaction:
                    recorded = _is_recorded(transaction, attempt.batch)
            except (psycopg2.Error, Unavailable, OutcomeUnknown, HeadConflict):
                log.warning(
                    "ledger %s: outcome of a COMMIT not known yet, retrying", self._journal.ledger
                )
                time.sleep(delay)
                delay = min(delay * 2, longest)
                continue
            if not recorded:
                return group
            attempt.outcomes = [pair for pair in attempt.outcomes if pair[0] in group]
            self._finish(attempt)
            return []


def _is_recorded(transaction: Transaction, batch: Batch) -> bool:
    """Whether the journal has the batch, which is written whole or not at all."""
    if batch.events:
        return transaction.holds(batch.events)
    if batch.commands:
        return transaction.commands(batch.commands) == batch.commands
    return all(
        (transaction.tracked(view) or 0) >= position for view, position in batch.tracks.items()
    )


def _command_id(pending: PendingCommand, attempt: BatchAttempt) -> UUID | None:
    if pending.queued.command is not None:
        return pending.queued.command.command_id
    for other, outcome in attempt.outcomes:
        if other is pending and isinstance(outcome, Accepted) and outcome.recorded:
            return UUID(outcome.recorded[0].parsed["command_id"])
    return None

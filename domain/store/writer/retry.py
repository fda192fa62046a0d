"""The careful way to an answer: decide a group under the head lock, until each has its own.

What was decided ahead and failed comes here, and so does whatever cannot be decided ahead. A job
that the database rejects is found by deciding each alone; an unknown outcome is found out before
anything is decided again. Reading order: Waiting, Attempt, Settler.settle, `_failed`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg2

from domain.store.errors import (
    DeadlineExceeded,
    IdempotencyKeyReused,
    OutcomeUnknown,
    RejectedByDatabase,
    StoreError,
    Unavailable,
)
from domain.store.journal.batch import Accepted, Batch
from domain.store.journal.journal import Journal
from domain.store.journal.read_cache import HeadConflict
from domain.store.journal.statements import ReadRequest
from domain.store.journal.transaction import OptimisticBatch, Transaction
from domain.store.postgres.errors import is_retryable_write
from domain.store.writer.commands import BatchView, QueuedCommand, Replayed

_PAUSE_SECONDS = (0.02, 1.0)  # first and longest pause before a failed transaction is tried again

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class PendingCommand:
    """A job and whom to tell. since, deadline: monotonic seconds."""

    job: QueuedCommand
    future: Any
    since: float
    deadline: float
    is_answered: bool = False

    @property
    def waited_ms(self) -> int:
        return int((time.monotonic() - self.since) * 1000)


@dataclass(slots=True)
class BatchAttempt:
    """One transaction: whose it is, what it is to write, what to say once it is committed."""

    group: list[PendingCommand]
    batch: Batch | None = None
    answers: list[tuple[PendingCommand, Any]] = field(default_factory=list)

    def decide(
        self, transaction: Transaction | OptimisticBatch, known: Callable[[str], int]
    ) -> None:
        """Decide every job in order; one that is refused costs its neighbours nothing.

        Raises: psycopg2.Error, HeadMoved.
        """
        self.batch = transaction.batch
        view = BatchView(transaction, known)
        self.answers = [(w, _decide(w.job, self.batch, view)) for w in self.group]
        self.batch.close()


def _decide(job: QueuedCommand, batch: Batch, view: BatchView) -> Any:
    """The job's result, or the exception that refuses it."""
    try:
        if job.command is not None:
            done = batch.command(job.command.name)
            if done is not None:
                if done.request_hash != job.command.request_hash:
                    raise IdempotencyKeyReused()
                return Replayed(
                    done.receipt, done.command_id, done.first_position, done.last_position
                )
        return batch.accept(job.run(view), job.command)
    except (psycopg2.Error, HeadConflict):
        raise
    except Exception as refusal:
        return refusal


def need_of(group: list[PendingCommand], known: Callable[[str], int]) -> ReadRequest:
    """What the jobs have announced that they will look at."""
    jobs = [waiting.job for waiting in group]
    streams = {stream for job in jobs for stream in job.streams}
    return ReadRequest(
        streams={stream: known(stream) for stream in streams},
        versions={stream for job in jobs for stream in job.versions} - streams,
        commands={job.command.name for job in jobs if job.command is not None},
        claims={claim for job in jobs for claim in job.claims},
        persons={person for job in jobs for person in job.persons},
        views={view for job in jobs for view in job.views},
    )


class BatchRetry:
    """Decides under the lock. Works on the writer's thread."""

    def __init__(
        self,
        journal: Journal,
        known: Callable[[str], int],
        finish: Callable[[BatchAttempt], None],
        answer: Callable[[list[tuple[PendingCommand, Any]]], None],
    ) -> None:
        """finish: what is committed; answer: what was refused, or never will be."""
        self._journal = journal
        self._known = known
        self._finish = finish
        self._answer = answer
        self.retries = 0

    def settle(self, group: list[PendingCommand], error: BaseException | None = None) -> None:
        """Give every job of the group its answer. error: what stood in the way before."""
        pause, longest = _PAUSE_SECONDS
        while group := self.in_time(group, error):
            attempt = BatchAttempt(group)
            try:
                with self._journal.transaction(need_of(group, self._known)) as transaction:
                    attempt.decide(transaction, self._known)
            except Exception as failure:
                error = failure
                group = self._failed(attempt, failure)
            else:
                self._finish(attempt)
                return
            if group:
                self.retries += 1
                time.sleep(pause)
                pause = min(pause * 2, longest)

    def recover(self, attempt: BatchAttempt, failure: BaseException) -> None:
        """What was decided ahead was not committed, as far as is known: settle it."""
        group = self._failed(attempt, failure)
        if group:
            self.retries += 1
            self.settle(group, None if isinstance(failure, HeadConflict) else failure)

    def in_time(
        self, group: list[PendingCommand], error: BaseException | None
    ) -> list[PendingCommand]:
        """Those still in time; the others hear that nothing was recorded."""
        now = time.monotonic()
        late = [waiting for waiting in group if waiting.deadline <= now]
        for waiting in late:
            answer: Exception = DeadlineExceeded(waited_ms=waiting.waited_ms)
            if error is not None:
                answer = Unavailable(ledger=self._journal.ledger)
                answer.__cause__ = error
            self._answer([(waiting, answer)])
        return [waiting for waiting in group if waiting.deadline > now] if late else group

    # --- when it fails ---------------------------------------------------------------------------

    def _failed(self, attempt: BatchAttempt, failure: BaseException) -> list[PendingCommand]:
        """Those of the attempt that are to be decided again; the others have their answer."""
        if isinstance(failure, OutcomeUnknown):
            if attempt.batch is None or attempt.batch.is_empty:
                return attempt.group
            return self._resolve(attempt)
        if isinstance(failure, Unavailable | HeadConflict):
            return attempt.group
        if isinstance(failure, StoreError):
            # Such as an unknown ledger: it concerns all of them alike.
            self._answer([(waiting, failure) for waiting in attempt.group])
            return []
        if isinstance(failure, psycopg2.Error) and is_retryable_write(failure):
            return attempt.group
        self._settle_alone(attempt.group, failure)
        return []

    def _settle_alone(self, group: list[PendingCommand], failure: BaseException) -> None:
        """One job of the group is at fault: decide each by itself, so that only it pays."""
        if len(group) == 1:
            answer = failure
            if isinstance(failure, psycopg2.Error):
                reason = failure.diag.message_primary or str(failure)
                answer = RejectedByDatabase(reason=reason)
                answer.__cause__ = failure
            self._answer([(group[0], answer)])
            return
        for waiting in group:
            self.settle([waiting])

    def _resolve(self, attempt: BatchAttempt) -> list[PendingCommand]:
        """Find out what became of a COMMIT that was on its way when the connection broke.

        The new transaction has to wait for the head lock, which the old one holds until it has
        committed or died: what is found then is final.
        Returns: the jobs to run again, because the batch was not recorded.
        """
        assert attempt.batch is not None
        group = attempt.group
        pause, longest = _PAUSE_SECONDS
        while True:
            now = time.monotonic()
            late = [waiting for waiting in group if waiting.deadline <= now]
            self._answer([(w, OutcomeUnknown(command_id=_command_id(w, attempt))) for w in late])
            group = [waiting for waiting in group if waiting.deadline > now]
            if not group:
                return []
            try:
                with self._journal.transaction() as transaction:
                    recorded = _is_recorded(transaction, attempt.batch)
            except (psycopg2.Error, Unavailable, OutcomeUnknown):
                log.warning("ledger %s: outcome of a commit not known yet", self._journal.ledger)
                time.sleep(pause)
                pause = min(pause * 2, longest)
                continue
            if not recorded:
                return group
            attempt.answers = [pair for pair in attempt.answers if pair[0] in group]
            self._finish(attempt)
            return []


def _is_recorded(transaction: Transaction, batch: Batch) -> bool:
    """Whether the batch is in the journal; all of it is or nothing."""
    if batch.events:
        return transaction.holds(batch.events)
    if batch.commands:
        return transaction.commands(batch.commands) == batch.commands
    return all(
        (transaction.tracked(view) or 0) >= position for view, position in batch.tracks.items()
    )


def _command_id(waiting: PendingCommand, attempt: BatchAttempt) -> UUID | None:
    if waiting.job.command is not None:
        return waiting.job.command.command_id
    for other, answer in attempt.answers:
        if other is waiting and isinstance(answer, Accepted) and answer.recorded:
            return UUID(answer.recorded[0].parsed["command_id"])
    return None

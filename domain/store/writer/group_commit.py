"""Group commit: one writer thread per ledger commits all waiting commands in one transaction.

A COMMIT waits for the disk, and every command that arrives meanwhile shares the next one. The
writer executes each command in queue order against the committed state plus the earlier commands
of its batch; one that is refused, or that the database rejects, does not affect the others.

While a batch is being committed, the writer executes the next one optimistically on top of it,
without the head lock. If the first batch fails, the second is discarded and executed again: no
caller gets an outcome before everything it builds on is committed.

Reading order: Committer.submit, `_work` and the steps it calls; retry.py for whatever fails.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from domain.store.errors import Closed, Overloaded, StoreError
from domain.store.journal.batch import Accepted
from domain.store.journal.journal import Journal
from domain.store.journal.read_cache import HeadConflict
from domain.store.writer.commands import (
    ApplyCommitted,
    BatchAttempt,
    CachedVersion,
    CommandFuture,
    Outcome,
    PendingCommand,
    Permit,
    QueuedCommand,
    Replayed,
    ResolveBatch,
    always_permitted,
    nothing_cached,
    read_request_of,
)
from domain.store.writer.retry import BatchRetry

BATCH_MAX = 512
"""Commands in one transaction."""

QUEUE_MAX = 10_000
"""Commands that may wait; more are refused as Overloaded."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class Stats:
    """Counts since the writer started. optimistic: batches executed without the head lock."""

    batches: int = 0
    optimistic: int = 0
    accepted: int = 0
    refused: int = 0
    replayed: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class InFlightBatch:
    """A batch whose COMMIT was sent. committed: resolves when the server has answered."""

    attempt: BatchAttempt
    committed: "Future[None]"


class Committer:
    """The only thread of this process that appends to a ledger.

    Other processes may append too; the head lock serialises them. Close it, or use it as a
    context manager.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        cached_version: CachedVersion = nothing_cached,
        apply_committed: ApplyCommitted | None = None,
        resolve_batch: ResolveBatch | None = None,
        permit: Permit = always_permitted,
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """Start the thread, which calls the given ports; `domain.store.writer.commands` has them.

        resolve_batch: None sets the result or the exception of each future, one by one.
        """
        self._journal = journal
        self._cached_version = cached_version
        self._apply_committed = apply_committed
        self._resolve_batch = resolve_batch or _resolve_each
        self._permit = permit
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._queue: deque[PendingCommand] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._position: int | None = None  # of the head after this writer's last batch
        self._contended = False
        self.stats = Stats()
        self._retry = BatchRetry(journal, cached_version, self._finish, self._resolve, permit)
        self._sender = ThreadPoolExecutor(1, thread_name_prefix=f"sender {journal.ledger}")
        self._thread = threading.Thread(
            target=self._work, name=f"committer {journal.ledger}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> "Committer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def queue_length(self) -> int:
        """Commands that wait to be executed."""
        return len(self._queue)

    def submit(self, queued: QueuedCommand) -> "Future[Accepted | Replayed]":
        """Queue a command; never blocks.

        Returns: a future of its outcome. It raises what refused the command, or DeadlineExceeded,
            Unavailable (nothing was recorded) or OutcomeUnknown (see there).
        Raises: Overloaded, Closed.
        """
        future: Future[Accepted | Replayed] = Future()
        self.enqueue(queued, future)
        return future

    def enqueue(self, queued: QueuedCommand, future: CommandFuture) -> None:
        """As `submit`, with a future that `resolve_batch` understands."""
        now = time.monotonic()
        pending = PendingCommand(queued, future, now, now + queued.timeout_seconds)
        with self._changed:
            if self._closed:
                raise Closed(ledger=self._journal.ledger)
            if len(self._queue) >= self._queue_max:
                raise Overloaded(ledger=self._journal.ledger, waiting=len(self._queue))
            self._queue.append(pending)
            if len(self._queue) == 1:
                self._changed.notify()

    def close(self, timeout_seconds: float = 30.0) -> None:
        """Refuse new commands, finish the queued ones, stop. The journal stays open."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_seconds)
        self._sender.shutdown(wait=not self._thread.is_alive())
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
        self._resolve([(pending, Closed(ledger=self._journal.ledger)) for pending in left])

    # --- the writer thread -----------------------------------------------------------------------

    def _work(self) -> None:
        in_flight: InFlightBatch | None = None
        while True:
            group = self._next_group(wait=in_flight is None)
            if not group and in_flight is None:
                return
            started = [each for each in group if each.future.set_running_or_notify_cancel()]
            started = self._guarded(started, self._retry.drop_expired, started, None) or []
            started = self._guarded(started, self._permitted, started) or []
            attempt = self._execute_optimistically(started, in_flight)
            if in_flight is not None:
                committed = self._guarded(in_flight.attempt.group, self._complete, in_flight)
                attempt = attempt if committed else None
            in_flight = self._guarded(started, self._dispatch, started, attempt)

    def _permitted(self, group: list[PendingCommand]) -> list[PendingCommand]:
        """The group, or none of it if the ledger takes no commands; all are refused then."""
        if group:
            try:
                self._permit()
            except StoreError as refusal:
                self._resolve([(pending, refusal) for pending in group])
                return []
        return group

    def _next_group(self, *, wait: bool) -> list[PendingCommand]:
        """The commands of the next batch; empty if the queue is, or when closed and done."""
        with self._changed:
            while wait and not self._queue and not self._closed:
                self._changed.wait()
            count = min(len(self._queue), self._batch_max)
            return [self._queue.popleft() for _ in range(count)]

    def _execute_optimistically(
        self, group: list[PendingCommand], in_flight: InFlightBatch | None
    ) -> BatchAttempt | None:
        """Execute a group without the head lock, on top of the batch in flight.

        Returns None if optimistic execution failed, other processes append to the ledger at the
        moment, or the group is a single command with nothing else queued; those run under the
        lock instead. (For a single command, taking the lock with the read saves a round trip.)
        """
        is_alone = len(group) == 1 and in_flight is None and not self._queue
        if self._contended or not group or is_alone:
            return None
        preceding = None if in_flight is None else in_flight.attempt.batch
        try:
            attempt = BatchAttempt(group)
            request = read_request_of(group, self._cached_version)
            with self._journal.optimistic_batch(request, preceding) as batch:
                attempt.execute(batch, self._cached_version)
        except HeadConflict:
            return None
        except Exception:
            log.debug("ledger %s: optimistic execution failed", self._journal.ledger, exc_info=True)
            return None
        return attempt

    def _dispatch(
        self, group: list[PendingCommand], attempt: BatchAttempt | None
    ) -> InFlightBatch | None:
        """Commit an optimistic attempt, in the background if other commands are queued."""
        if attempt is None:
            self._retry.run(group)
            return None
        assert attempt.batch is not None
        self.stats.optimistic += 1
        if attempt.batch.is_empty:
            self._finish(attempt)
            return None
        if self._queue:
            sent = self._sender.submit(self._journal.commit_optimistic, attempt.batch)
            return InFlightBatch(attempt, sent)
        committed: Future[None] = Future()
        try:
            self._permit()
            self._journal.commit_optimistic(attempt.batch)
            committed.set_result(None)
        except Exception as failure:
            committed.set_exception(failure)
        self._complete(InFlightBatch(attempt, committed))
        return None

    def _complete(self, in_flight: InFlightBatch) -> bool:
        """Wait for the COMMIT of a batch and resolve its commands.

        Returns: False if it failed; its commands were retried then.
        """
        failure = in_flight.committed.exception()
        if failure is None:
            self._finish(in_flight.attempt)
            return True
        self._contended = isinstance(failure, HeadConflict)
        self._retry.recover(in_flight.attempt, failure)
        return False

    def _guarded(
        self, group: list[PendingCommand], work: Callable[..., T], *arguments: Any
    ) -> T | None:
        """Resolve the group with the exception of a bug here or in a port; the thread goes on."""
        try:
            return work(*arguments)
        except Exception as error:
            log.exception("ledger %s: the writer failed", self._journal.ledger)
            self._resolve([(each, error) for each in group if not each.is_resolved])
            return None

    # --- outcomes --------------------------------------------------------------------------------

    def _finish(self, attempt: BatchAttempt) -> None:
        """The batch is committed: update the state cache, then resolve the commands."""
        batch = attempt.batch
        assert batch is not None
        # Contention ends when no other process has appended between two batches of this writer.
        self._contended = self._contended and batch.head.position != self._position
        self._position = batch.position
        if self._apply_committed is not None and batch.events:
            try:
                self._apply_committed(batch.events)
            except Exception:
                # The events are recorded, whatever becomes of the cached states.
                log.exception(
                    "ledger %s: committed events were not applied to the state cache",
                    self._journal.ledger,
                )
        self.stats.batches += 1
        self.stats.retries = self._retry.retries
        self._resolve(attempt.outcomes)

    def _resolve(self, outcomes: list[tuple[PendingCommand, Outcome]]) -> None:
        for pending, outcome in outcomes:
            pending.is_resolved = True
            if isinstance(outcome, Accepted):
                self.stats.accepted += 1
            elif isinstance(outcome, Replayed):
                self.stats.replayed += 1
            else:
                self.stats.refused += 1
        if outcomes:
            self._resolve_batch([(pending.future, outcome) for pending, outcome in outcomes])


def _resolve_each(outcomes: list[tuple[Any, Outcome]]) -> None:
    for future, outcome in outcomes:
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

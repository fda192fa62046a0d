"""One writer thread a ledger: all commands that wait go into one transaction.

A commit waits for the disk, and everything that arrives meanwhile shares the next one. Each job is
decided in order against the committed state plus the jobs before it; one that is refused, or that
the database rejects, costs its neighbours nothing. Reading order: Committer.submit, then
`_settle`, which is where a failure becomes an answer.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.errors

from domain.store.batch import Accepted, Batch
from domain.store.connection import is_connection_failure
from domain.store.errors import (
    Closed,
    DeadlineExceeded,
    IdempotencyKeyReused,
    OutcomeUnknown,
    Overloaded,
    RejectedByDatabase,
    Unavailable,
)
from domain.store.jobs import Job, Replayed, View
from domain.store.journal import Journal
from domain.store.records import NO_EVENTS, Recorded
from domain.store.statements import Need
from domain.store.transaction import Transaction

__all__ = ["Accepted", "Committer", "Job", "Replayed", "View"]

BATCH_JOBS = 512
WAITING_JOBS = 10_000
_PAUSE_SECONDS = (0.02, 1.0)  # first and longest pause before a failed transaction is tried again

# Nothing was recorded and nothing is wrong with the request: the same transaction may succeed.
_TRANSIENT_CLASSES = ("40", "53", "55", "57")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Stats:
    """What a committer has done since it was made."""

    batches: int = 0
    accepted: int = 0
    refused: int = 0
    replayed: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    job: Job
    future: "Future[Accepted | Replayed]"
    since: float  # monotonic seconds
    deadline: float

    @property
    def waited_ms(self) -> int:
        return int((time.monotonic() - self.since) * 1000)


@dataclass(slots=True)
class _Attempt:
    """One transaction: what it was to write, and what to say once it is committed."""

    batch: Batch | None = None
    answers: list[tuple[_Waiting, Any]] = field(default_factory=list)


def _nothing_known(_stream: str) -> int:
    return NO_EVENTS


class Committer:
    """The one thread of this process that appends to a ledger.

    Other processes may append too: the head lock keeps them apart. `close` it, or use it as a
    context manager.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        known_version: Callable[[str], int] = _nothing_known,
        on_recorded: Callable[[Sequence[Recorded]], None] | None = None,
        on_foreign_events: Callable[[int, int], None] | None = None,
        deliver: Callable[[list[tuple[Any, Any]]], None] | None = None,
        batch_jobs: int = BATCH_JOBS,
        waiting_jobs: int = WAITING_JOBS,
    ) -> None:
        """Start the thread. All hooks are called on it.

        known_version: up to which version the owner holds a stream's state, NO_EVENTS if it
            holds none; `View.recorded` then gives the later events only. Streams only grow, so a
            held state never becomes wrong, only old.
        on_recorded: the events of a batch, after it was committed and before any caller hears;
            an exception in it is logged and changes no answer.
        on_foreign_events: (after, upto) when other processes have appended in between.
        deliver: hands over [(future, result or exception)] of a whole batch; sets each if None.
        """
        self._journal = journal
        self._known = known_version
        self._on_recorded = on_recorded
        self._on_foreign_events = on_foreign_events
        self._deliver = deliver or _set_each
        self._batch_jobs = batch_jobs
        self._waiting_jobs = waiting_jobs
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._position: int | None = None
        self.stats = Stats()
        self._thread = threading.Thread(
            target=self._work, name=f"committer {journal.ledger}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> "Committer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """How many jobs wait to be begun."""
        return len(self._queue)

    def submit(self, job: Job, future: Any = None) -> "Future[Accepted | Replayed]":
        """Queue a job; never blocks.

        future: anything `deliver` understands, with set_running_or_notify_cancel(); made if None.
        Returns: it; resolves to Accepted or Replayed, or raises what refused the job, or
            DeadlineExceeded, Unavailable (nothing was recorded) or OutcomeUnknown (see there).
        Raises: Overloaded, Closed.
        """
        now = time.monotonic()
        waiting = _Waiting(job, future or Future(), now, now + job.timeout_seconds)
        with self._changed:
            if self._closed:
                raise Closed(ledger=self._journal.ledger)
            if len(self._queue) >= self._waiting_jobs:
                raise Overloaded(ledger=self._journal.ledger, waiting=len(self._queue))
            self._queue.append(waiting)
            if len(self._queue) == 1:
                self._changed.notify()
        return waiting.future

    def close(self, timeout_seconds: float = 30.0) -> None:
        """Refuse new jobs, finish the waiting ones, stop. The journal stays open."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_seconds)
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
        self._answer([(waiting, Closed(ledger=self._journal.ledger)) for waiting in left])

    # --- the writer thread -----------------------------------------------------------------------

    def _work(self) -> None:
        while group := self._take():
            started = [w for w in group if w.future.set_running_or_notify_cancel()]
            try:
                self._settle(started)
            except Exception as error:
                # A bug, in here or in a hook: the callers must hear of it and the thread go on.
                log.exception("the writer of ledger %s failed", self._journal.ledger)
                self._answer([(w, error) for w in started if not w.future.done()])

    def _take(self) -> list[_Waiting]:
        """The jobs of the next batch; empty when closed and done."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            count = min(len(self._queue), self._batch_jobs)
            return [self._queue.popleft() for _ in range(count)]

    def _settle(self, group: list[_Waiting]) -> None:
        """Give every job of the group its answer."""
        pause, longest = _PAUSE_SECONDS
        error: BaseException | None = None
        while group := self._without_late(group, error):
            attempt = _Attempt()
            try:
                self._attempt(group, attempt)
            except OutcomeUnknown as unknown:
                error = unknown
                if attempt.batch is None or attempt.batch.is_empty:
                    continue
                group = self._resolve(group, attempt)
            except Unavailable as unavailable:
                error = unavailable
            except psycopg2.Error as failure:
                error = failure
                if not _is_transient(failure):
                    self._settle_alone(group, failure)
                    return
            except Exception as refusal:
                # Such as an unknown ledger: it concerns all of them alike.
                self._answer([(waiting, refusal) for waiting in group])
                return
            else:
                self._finish(attempt)
                return
            self.stats.retries += 1
            time.sleep(pause)
            pause = min(pause * 2, longest)

    def _settle_alone(self, group: list[_Waiting], failure: psycopg2.Error) -> None:
        """One job of the group is at fault: decide each by itself, so that only it pays."""
        if len(group) == 1:
            reason = failure.diag.message_primary or str(failure)
            rejected = RejectedByDatabase(reason=reason)
            rejected.__cause__ = failure
            self._answer([(group[0], rejected)])
            return
        for waiting in group:
            self._settle([waiting])

    def _attempt(self, group: list[_Waiting], attempt: _Attempt) -> None:
        """Decide the group in one transaction and commit it."""
        with self._journal.transaction(self._need(group)) as transaction:
            attempt.batch = transaction.batch
            self._look_at_head(transaction.head.position)
            view = View(transaction, self._known)
            attempt.answers = [(w, self._decide(w.job, transaction, view)) for w in group]

    def _decide(self, job: Job, transaction: Transaction, view: View) -> Any:
        """The job's result, or the exception that refuses it."""
        try:
            if job.command is not None:
                known = transaction.batch.command(job.command.name)
                if known is not None:
                    if known.request_hash != job.command.request_hash:
                        raise IdempotencyKeyReused()
                    return Replayed(
                        known.receipt, known.command_id, known.first_position, known.last_position
                    )
            return transaction.accept(job.run(view), job.command)
        except psycopg2.Error:
            raise
        except Exception as refusal:
            return refusal

    def _need(self, group: list[_Waiting]) -> Need:
        jobs = [waiting.job for waiting in group]
        streams = {stream for job in jobs for stream in job.streams}
        return Need(
            streams={stream: self._known(stream) for stream in streams},
            versions={stream for job in jobs for stream in job.versions} - streams,
            commands={job.command.name for job in jobs if job.command is not None},
            claims={claim for job in jobs for claim in job.claims},
            persons={person for job in jobs for person in job.persons},
            views={view for job in jobs for view in job.views},
        )

    def _look_at_head(self, position: int) -> None:
        if self._position is not None and position > self._position and self._on_foreign_events:
            self._on_foreign_events(self._position, position)
        self._position = position

    def _resolve(self, group: list[_Waiting], attempt: _Attempt) -> list[_Waiting]:
        """Find out what became of a COMMIT that was on its way when the connection broke.

        The new transaction has to wait for the head lock, which the old one holds until it has
        committed or died: what is found then is final.
        Returns: the jobs to run again, because the batch was not recorded.
        """
        assert attempt.batch is not None
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

    # --- answering -------------------------------------------------------------------------------

    def _finish(self, attempt: _Attempt) -> None:
        """The batch is committed: tell the owner, then the callers."""
        assert attempt.batch is not None
        self._position = attempt.batch.position
        if self._on_recorded is not None and attempt.batch.events:
            try:
                self._on_recorded(attempt.batch.events)
            except Exception:
                # The events are recorded, whatever becomes of the owner's memory of them.
                log.exception(
                    "ledger %s: the owner failed to take new events", self._journal.ledger
                )
        self.stats.batches += 1
        self._answer(attempt.answers)

    def _without_late(self, group: list[_Waiting], error: BaseException | None) -> list[_Waiting]:
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

    def _answer(self, answers: list[tuple[_Waiting, Any]]) -> None:
        for _, answer in answers:
            if isinstance(answer, Accepted):
                self.stats.accepted += 1
            elif isinstance(answer, Replayed):
                self.stats.replayed += 1
            else:
                self.stats.refused += 1
        if answers:
            self._deliver([(waiting.future, answer) for waiting, answer in answers])


def _set_each(answers: list[tuple[Any, Any]]) -> None:
    for future, answer in answers:
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _is_transient(error: psycopg2.Error) -> bool:
    return is_connection_failure(error) or (error.pgcode or "").startswith(_TRANSIENT_CLASSES)


def _is_recorded(transaction: Transaction, batch: Batch) -> bool:
    """Whether the batch is in the journal; all of it is or nothing."""
    if batch.events:
        return transaction.has_events([batch.events[0].event_id])
    if batch.commands:
        return bool(transaction.commands(batch.commands))
    return all(
        (transaction.tracked(view) or 0) >= position for view, position in batch.tracks.items()
    )


def _command_id(waiting: _Waiting, attempt: _Attempt) -> UUID | None:
    if waiting.job.command is not None:
        return waiting.job.command.command_id
    for other, answer in attempt.answers:
        if other is waiting and isinstance(answer, Accepted) and answer.recorded:
            return UUID(answer.recorded[0].parsed["command_id"])
    return None

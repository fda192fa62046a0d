"""One writer thread a ledger: all commands that wait go into one transaction.

A commit waits for the disk, and everything that arrives meanwhile shares the next one. Each job is
decided in order against the committed state plus the jobs before it; one that is refused, or that
the database rejects, costs its neighbours nothing. While a batch is being committed the next one is
decided on top of it, and thrown away with it if it fails: nobody hears of a decision before what it
builds on is committed. Reading order: Committer.submit, `_work`; settling.py for whatever fails.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from domain.store.errors import Closed, Overloaded
from domain.store.journal.batch import Accepted
from domain.store.journal.journal import Journal
from domain.store.journal.read_cache import HeadConflict
from domain.store.journal.records import NO_EVENTS, RecordedEvent
from domain.store.writer.commands import BatchView, QueuedCommand, Replayed
from domain.store.writer.retry import BatchAttempt, BatchRetry, PendingCommand, need_of

__all__ = ["Accepted", "BatchView", "Committer", "QueuedCommand", "Replayed"]

BATCH_JOBS = 512
WAITING_JOBS = 10_000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Stats:
    """What a committer has done since it was made. ahead: batches decided without the lock."""

    batches: int = 0
    ahead: int = 0
    accepted: int = 0
    refused: int = 0
    replayed: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch on its way to being committed."""

    attempt: BatchAttempt
    sent: "Future[None]"


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
        on_recorded: Callable[[Sequence[RecordedEvent]], None] | None = None,
        deliver: Callable[[list[tuple[Any, Any]]], None] | None = None,
        batch_jobs: int = BATCH_JOBS,
        waiting_jobs: int = WAITING_JOBS,
    ) -> None:
        """Start the thread. All hooks are called on it.

        known_version: up to which version the owner holds a stream's state, NO_EVENTS if it
            holds none; `BatchView.recorded` then gives the later events only. Streams only grow,
            so a
            held state never becomes wrong, only old.
        on_recorded: the events of a batch, after it was committed and before any caller hears,
            maybe while the next batch is decided already; an exception in it is logged and
            changes no answer.
        deliver: hands over [(future, result or exception)] of a whole batch; sets each if None.
        """
        self._journal = journal
        self._known = known_version
        self._on_recorded = on_recorded
        self._deliver = deliver or _set_each
        self._batch_jobs = batch_jobs
        self._waiting_jobs = waiting_jobs
        self._queue: deque[PendingCommand] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._position: int | None = None  # where our last batch left the head
        self._crowded = False
        self.stats = Stats()
        self._settler = BatchRetry(journal, known_version, self._finish, self._answer)
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
    def waiting(self) -> int:
        """How many jobs wait to be begun."""
        return len(self._queue)

    def submit(self, job: QueuedCommand, future: Any = None) -> "Future[Accepted | Replayed]":
        """Queue a job; never blocks.

        future: anything `deliver` understands, with set_running_or_notify_cancel(); made if None.
        Returns: it; resolves to Accepted or Replayed, or raises what refused the job, or
            DeadlineExceeded, Unavailable (nothing was recorded) or OutcomeUnknown (see there).
        Raises: Overloaded, Closed.
        """
        now = time.monotonic()
        waiting = PendingCommand(job, future or Future(), now, now + job.timeout_seconds)
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
        self._sender.shutdown(wait=not self._thread.is_alive())
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
        self._answer([(waiting, Closed(ledger=self._journal.ledger)) for waiting in left])

    # --- the writer thread -----------------------------------------------------------------------

    def _work(self) -> None:
        flight: _Flight | None = None
        while True:
            group = self._take(wait=flight is None)
            if not group and flight is None:
                return
            started = [w for w in group if w.future.set_running_or_notify_cancel()]
            started = self._guarded(started, self._settler.in_time, started, None) or []
            attempt = self._decide_ahead(started, flight)
            if flight is not None:
                landed = self._guarded(flight.attempt.group, self._land, flight)
                attempt = attempt if landed else None
            flight = self._guarded(started, self._proceed, started, attempt)

    def _take(self, *, wait: bool) -> list[PendingCommand]:
        """The jobs of the next batch; none if there are none, or closed and done."""
        with self._changed:
            while wait and not self._queue and not self._closed:
                self._changed.wait()
            count = min(len(self._queue), self._batch_jobs)
            return [self._queue.popleft() for _ in range(count)]

    def _decide_ahead(
        self, group: list[PendingCommand], flight: _Flight | None
    ) -> BatchAttempt | None:
        """Decide a group without the lock, on top of what is on its way.

        None: that was not to be; whatever went wrong is dealt with under the lock, and so is a
        job that is alone: to take the lock while reading saves it a message.
        """
        is_alone = len(group) == 1 and flight is None and not self._queue
        if self._crowded or not group or is_alone:
            return None
        before = None if flight is None else flight.attempt.batch
        try:
            attempt = BatchAttempt(group)
            with self._journal.ahead(need_of(group, self._known), before) as ahead:
                attempt.decide(ahead, self._known)
        except HeadConflict:
            return None
        except Exception:
            log.debug("ledger %s: not decided ahead", self._journal.ledger, exc_info=True)
            return None
        return attempt

    def _proceed(self, group: list[PendingCommand], attempt: BatchAttempt | None) -> _Flight | None:
        """Commit what was decided ahead, in the background if others wait to be decided."""
        if attempt is None:
            self._settler.settle(group)
            return None
        assert attempt.batch is not None
        self.stats.ahead += 1
        if attempt.batch.is_empty:
            self._finish(attempt)
            return None
        if self._queue:
            return _Flight(attempt, self._sender.submit(self._journal.send, attempt.batch))
        sent: Future[None] = Future()
        try:
            self._journal.send(attempt.batch)
            sent.set_result(None)
        except Exception as failure:
            sent.set_exception(failure)
        self._land(_Flight(attempt, sent))
        return None

    def _land(self, flight: _Flight) -> bool:
        """Wait until a batch is committed, and answer. False: it was not, and was settled anew."""
        failure = flight.sent.exception()
        if failure is None:
            self._finish(flight.attempt)
            return True
        self._crowded = isinstance(failure, HeadConflict)
        self._settler.recover(flight.attempt, failure)
        return False

    def _guarded(
        self, group: list[PendingCommand], work: Callable[..., Any], *arguments: Any
    ) -> Any:
        """A bug, in here or in a hook: the callers must hear of it and the thread go on."""
        try:
            return work(*arguments)
        except Exception as error:
            log.exception("the writer of ledger %s failed", self._journal.ledger)
            self._answer([(w, error) for w in group if not w.is_answered])
            return None

    # --- answering -------------------------------------------------------------------------------

    def _finish(self, attempt: BatchAttempt) -> None:
        """The batch is committed: tell the owner, then the callers."""
        batch = attempt.batch
        assert batch is not None
        # Alone again once nobody else has written between two batches of ours.
        self._crowded = self._crowded and batch.head.position != self._position
        self._position = batch.position
        if self._on_recorded is not None and batch.events:
            try:
                self._on_recorded(batch.events)
            except Exception:
                # The events are recorded, whatever becomes of the owner's memory of them.
                log.exception(
                    "ledger %s: the owner failed to take new events", self._journal.ledger
                )
        self.stats.batches += 1
        self.stats.retries = self._settler.retries
        self._answer(attempt.answers)

    def _answer(self, answers: list[tuple[PendingCommand, Any]]) -> None:
        for waiting, answer in answers:
            waiting.is_answered = True
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

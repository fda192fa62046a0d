"""Catch-up subscription: follows a journal from a position on and never misses an event.

NOTIFY is only a hint that there may be news; what is delivered is what was read. So the order is:
listen, read, wait with a timeout. A hint that was lost with its connection costs at most one
timeout. Positions are dense and appear in order, so a reader at position n has read all up to n.
Reading order: Listener (one for each process), Tailer (one for each subscription).
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from domain.store.errors import Unavailable
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.journal.statements import JOURNAL_CHANNEL
from domain.store.postgres.connection import Connection, connect
from domain.store.postgres.notifications import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Notification,
    NotificationListener,
)

POLL_SECONDS = 1.0
"""How long a lost hint can delay a subscription."""

log = logging.getLogger(__name__)


def _connect(dsn: str) -> Connection:
    return connect(dsn, name="certledger listener")


class Listener:
    """The process's one subscription to new events, for all ledgers. Thread-safe.

    A ledger's `generation` changes whenever there may be something new: with every notification,
    and when notifications may have been missed because a connection was opened or was silent.
    """

    def __init__(
        self, dsn: str, *, open_connection: Callable[[str], Connection] = _connect
    ) -> None:
        """Start listening in a background thread; returns at once."""
        self._counts: Counter[str] = Counter()
        self._checks = 0
        self._changed = threading.Condition()
        self._closed = False
        self._notifications = NotificationListener(
            lambda: open_connection(dsn), (JOURNAL_CHANNEL,), self._notify, self._check
        )
        self._notifications.start()

    @property
    def is_connected(self) -> bool:
        """Whether notifications arrive at the moment; for health reports."""
        return self._notifications.is_connected

    def generation(self, ledger: str) -> int:
        """A number to pass to `wait`; take it before reading."""
        with self._changed:
            return self._checks + self._counts[ledger]

    def wait(
        self,
        ledger: str,
        generation: int,
        timeout_seconds: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Return when there may be something newer than `generation`, when stopped, or in time."""

        def is_over() -> bool:
            current = self._checks + self._counts[ledger]
            return current != generation or stopped() or self._closed

        with self._changed:
            self._changed.wait_for(is_over, timeout_seconds)

    def interrupt(self) -> None:
        """Make every waiting thread evaluate its `stopped` again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop listening; waiting threads return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._notifications.stop()

    def _notify(self, received: list[Notification]) -> None:
        with self._changed:
            self._counts.update(ledger for _, ledger in received)
            self._changed.notify_all()

    def _check(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        with self._changed:
            self._checks += 1
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order, and the position the subscriber has reached with them.

    position: of the last event read; beyond the last of `events` if later ones have other topics.
        Store it together with whatever the events were folded into.
    """

    events: list[RecordedEvent]
    position: int


class Tailer:
    """Follows one ledger in the calling thread until it is stopped."""

    def __init__(
        self,
        journal: Journal,
        listener: Listener,
        *,
        limit: int = 1000,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """limit: most events in a page."""
        self._journal = journal
        self._listener = listener
        self._limit = limit
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `pages`, from any thread; immediately if it is waiting."""
        self._stopped.set()
        self._listener.interrupt()

    def pages(self, after: int, topics: Sequence[str] = ()) -> Iterator[EventPage]:
        """Pages of events after a position; waits when there are none, ends when stopped.

        topics: only these; all if empty. While the server cannot be reached it retries.
        """
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            generation = self._listener.generation(self._journal.ledger)
            try:
                page = self.page(after, topics)
            except Unavailable as error:
                log.warning("ledger %s: %s", self._journal.ledger, error)
                self._stopped.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            if page.position > after:
                after = page.position
                yield page
            else:
                self._listener.wait(
                    self._journal.ledger, generation, self._poll_seconds, self._stopped.is_set
                )

    def page(self, after: int, topics: Sequence[str] = ()) -> EventPage:
        """The next page, without waiting; empty and at `after` if there is nothing new.

        Raises: Unavailable.
        """
        if not topics:
            events = self._journal.read(after, self._limit)
            return EventPage(events, events[-1].position if events else after)
        # The head is read first, so that the events read afterwards are complete up to it.
        head = self._journal.head().position
        if head <= after:
            return EventPage([], after)
        events = self._journal.read(after, self._limit, topics, upto=head)
        return EventPage(events, events[-1].position if len(events) == self._limit else head)

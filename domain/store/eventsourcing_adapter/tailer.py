"""Following a journal: hear of new events, read them, never miss one.

NOTIFY is only a hint that it is worth looking; what is delivered is what was read. So the order is
listen, read, wait with a timeout: a hint that was lost with its connection costs at most one
timeout. Positions are dense and appear in order, so a reader that has seen n has seen all up to n.
Reading order: Listener (one a process), Tailer (one a follower).
"""

import logging
import os
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg2

from domain.store.errors import Unavailable
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.journal.statements import CHANNEL
from domain.store.postgres.connection import PgConnection, close_quietly, connect

POLL_SECONDS = 1.0
"""How long a lost hint can delay a follower."""

_PAUSE_SECONDS = (0.1, 5.0)  # first and longest pause between attempts to reconnect
_LOOK_SECONDS = 10.0  # how long a connection that died without a word may go unnoticed

log = logging.getLogger(__name__)


class Listener:
    """The one connection of a process that hears of new events, for all ledgers. Thread-safe.

    It reconnects for ever. A ledger's `count` changes whenever there may be something new: with
    every notification, and when a connection was made, because some may have been missed.
    """

    def __init__(self, dsn: str) -> None:
        """Start listening in a thread of its own; returns at once."""
        self._dsn = dsn
        self._counts: Counter[str] = Counter()
        self._connections = 0
        self._changed = threading.Condition()
        self._closed = False
        self._wake_reading, self._wake_writing = os.pipe()
        self._thread = threading.Thread(target=self._work, name="listener", daemon=True)
        self._thread.start()

    @property
    def is_connected(self) -> bool:
        """Whether notifications arrive at the moment; for health reports."""
        return self._connected

    _connected = False

    def count(self, ledger: str) -> int:
        """A number to give to `wait`; take it before reading."""
        with self._changed:
            return self._connections + self._counts[ledger]

    def wait(
        self,
        ledger: str,
        seen: int,
        timeout_seconds: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Return when there may be something newer than `seen`, when stopped, or in time."""

        def news() -> bool:
            return self._connections + self._counts[ledger] != seen or stopped() or self._closed

        with self._changed:
            self._changed.wait_for(news, timeout_seconds)

    def interrupt(self) -> None:
        """Make every waiter look at its `stopped` again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop listening; waiters return."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        os.write(self._wake_writing, b"x")
        self._thread.join()
        os.close(self._wake_reading)
        os.close(self._wake_writing)

    def _work(self) -> None:
        pause, longest = _PAUSE_SECONDS
        while not self._closed:
            connection: PgConnection | None = None
            try:
                connection = connect(self._dsn, name="certledger listener")
                with connection.cursor() as cursor:
                    cursor.execute(f"LISTEN {CHANNEL}")
                pause = _PAUSE_SECONDS[0]
                self._connected = True
                self._bump(())
                self._hear(connection)
            except (psycopg2.Error, OSError) as error:
                log.warning("listening for new events was interrupted: %s", error)
            finally:
                self._connected = False
                close_quietly(connection)
            if not self._closed:
                select.select([self._wake_reading], [], [], pause)
                pause = min(pause * 2, longest)

    def _hear(self, connection: PgConnection) -> None:
        while not self._closed:
            ready, _, _ = select.select([connection, self._wake_reading], [], [], _LOOK_SECONDS)
            if not ready:
                # A peer that vanished says nothing: ask, so that keepalives have a reason to fail.
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            connection.poll()
            if connection.notifies:
                self._bump([notify.payload for notify in connection.notifies])
                connection.notifies.clear()

    def _bump(self, ledgers: Sequence[str]) -> None:
        with self._changed:
            if ledgers:
                self._counts.update(ledgers)
            else:
                self._connections += 1
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Page:
    """What a follower gets: events in order, and how far it may consider itself.

    position: of the last event looked at; beyond the last of `events` if the later ones have
        other topics. Record it with whatever the events were folded into.
    """

    events: list[RecordedEvent]
    position: int


class Tailer:
    """Follows one ledger from a position on, for ever, in one thread."""

    def __init__(
        self,
        journal: Journal,
        listener: Listener,
        *,
        limit: int = 1000,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """limit: most events a page."""
        self._journal = journal
        self._listener = listener
        self._limit = limit
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `pages`, from any thread; at once if it is waiting."""
        self._stopped.set()
        self._listener.interrupt()

    def pages(self, after: int, topics: Sequence[str] = ()) -> Iterator[Page]:
        """Pages of events after a position; waits when there are none, ends when stopped.

        topics: only these; all if empty. A server that cannot be reached is waited for.
        """
        pause, longest = _PAUSE_SECONDS
        while not self._stopped.is_set():
            seen = self._listener.count(self._journal.ledger)
            try:
                page = self.page(after, topics)
            except Unavailable as error:
                log.warning("ledger %s: %s", self._journal.ledger, error)
                self._stopped.wait(pause)
                pause = min(pause * 2, longest)
                continue
            pause = _PAUSE_SECONDS[0]
            if page.position > after:
                after = page.position
                yield page
            else:
                self._listener.wait(
                    self._journal.ledger, seen, self._poll_seconds, self._stopped.is_set
                )

    def page(self, after: int, topics: Sequence[str] = ()) -> Page:
        """The next page, without waiting; empty and at `after` if there is nothing new.

        Raises: Unavailable.
        """
        if not topics:
            events = self._journal.read(after, self._limit)
            return Page(events, events[-1].position if events else after)
        # The head first: what is found then is everything up to it.
        head = self._journal.head().position
        if head <= after:
            return Page([], after)
        events = self._journal.read(after, self._limit, topics, upto=head)
        return Page(events, events[-1].position if len(events) == self._limit else head)

"""Notices that a ledger's journal lost events that this process has seen, or holds others instead.

That happens when a standby that lacked the last events takes over (asynchronous failover), or when
a database is put back under a running service. Begin with `LastSeen.compare`.
"""

import threading
from collections.abc import Callable

from domain.store.journal.records import Head

Lost = Callable[[str], None]
"""Called once with the difference in words."""


class LastSeen:
    """The newest head of a ledger that this process has seen committed. Thread-safe."""

    def __init__(self) -> None:
        self._head: Head | None = None
        self._lock = threading.Lock()
        self.lost: Lost | None = None
        """Called when the history differs, from any thread, before `compare` returns."""

    @property
    def head(self) -> Head | None:
        """That head; None if none was seen. Take it before the head to compare is read."""
        return self._head

    def advance(self, head: Head) -> None:
        """Remember a committed head, unless a newer one is known."""
        with self._lock:
            if self._head is None or head.position >= self._head.position:
                self._head = head

    def compare(
        self,
        seen: Head | None,
        head: Head,
        leaf_at: Callable[[int], bytes | None],
        *,
        reconnected: bool,
    ) -> bool:
        """Whether a head continues what was seen before it was read; remembers it in any case.

        seen: `head` as it was before. leaf_at: reads the leaf hash at a position, None if there is
        no event. reconnected: whether the new head comes from a connection that was not asked
        before: then the event last seen is read again. On any other one a larger head is only
        possible if the journal has grown.
        """
        if seen is None or seen.leaf_hash is None:
            self.advance(head)
            return True
        difference = None
        if head.position < seen.position:
            difference = f"event {seen.position} was seen, and the journal ends at {head.position}"
        elif head.position == seen.position:
            if head.leaf_hash != seen.leaf_hash:
                difference = f"event {seen.position} is another one than was seen"
        elif reconnected and leaf_at(seen.position) != seen.leaf_hash:
            difference = f"event {seen.position} is another one than was seen"
        if difference is None:
            self.advance(head)
            return True
        with self._lock:
            self._head = head
        if self.lost is not None:
            self.lost(difference)
        return False

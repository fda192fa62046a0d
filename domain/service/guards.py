"""Stops the commands of a ledger whose journal does not continue its log.

Begin with `WriteGuard.check`. A service compares a ledger with its log before the first command
(`first_check`), and again and again while it runs (`api.transparency.checkpoint_signing`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from domain.store.errors import LogNotContinued, SealBroken, Unavailable

LOG_NOT_CONTINUED = "log_not_continued"
"""The health code of a stopped ledger."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a ledger takes no commands. code: of `/health`; detail: for the operator."""

    code: str
    detail: str


class WriteGuard:
    """Whether a ledger takes commands. Thread-safe.

    A stop lasts until the process ends: the states that it holds may be of a lost history.
    """

    def __init__(self, ledger: str, *, write_unsigned: bool = False) -> None:
        """write_unsigned: whether commands go on after a stop; nothing is signed then."""
        self.ledger = ledger
        self._write_unsigned = write_unsigned
        self._stop: Stop | None = None
        self._first_check: Callable[[], None] | None = None
        self._on_stop: list[Callable[[Stop], None]] = []
        self._lock = threading.Lock()
        self._checking = threading.Lock()

    def require(self, first_check: Callable[[], None]) -> None:
        """Have the first batch of commands wait for a check, which calls `stop` or raises."""
        self._first_check = first_check

    def on_stop(self, call: Callable[[Stop], None]) -> None:
        """Call back at the first stop, or now if there was one."""
        with self._lock:
            self._on_stop.append(call)
            stop = self._stop
        if stop is not None:
            call(stop)

    @property
    def stopped(self) -> Stop | None:
        """Why the ledger is stopped; None if it is not."""
        return self._stop

    def stop(self, code: str, detail: str) -> None:
        """Refuse commands from now on. The first reason counts."""
        with self._lock:
            if self._stop is not None:
                return
            self._stop = stop = Stop(code, detail)
            calls = tuple(self._on_stop)
        log.error("ledger %s takes no commands: %s", self.ledger, detail)
        for call in calls:
            call(stop)

    def check(self) -> None:
        """Raises: LogNotContinued if the ledger is stopped. Costs nothing, never waits."""
        if self._stop is not None and not self._write_unsigned:
            raise LogNotContinued(ledger=self.ledger)

    def check_before_batch(self) -> None:
        """As `check`, after the required first check; the writer's port.

        Raises: LogNotContinued; Unavailable if the first check could not be made.
        """
        if self._first_check is not None:
            with self._checking:
                self._check_first()
        self.check()

    def _check_first(self) -> None:
        if self._first_check is None:  # another thread has made it
            return
        try:
            self._first_check()
        except (LogNotContinued, SealBroken, Unavailable):
            raise
        except Exception as error:
            log.warning("ledger %s: its log could not be compared", self.ledger, exc_info=True)
            raise Unavailable(ledger=self.ledger) from error
        self._first_check = None

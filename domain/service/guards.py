"""Stops the commands of a ledger whose journal does not continue its log, or lacks erasures.

Begin with `WriteGuard.check`. A service compares a ledger with its log and with the register of
erasures before the first command (`require`), and again and again while it runs
(`api.transparency.checkpoint_signing`, `api.transparency.erasure_register`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from domain.store.errors import ErasuresMissing, LogNotContinued, SealBroken, Unavailable

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

    A stop lasts until the process ends: the states that it holds may be of a lost history. What
    lacks erasures is withheld, reads included, until they are done again.
    """

    def __init__(self, ledger: str, *, write_unsigned: bool = False) -> None:
        """write_unsigned: whether commands go on after a stop; nothing is signed then."""
        self.ledger = ledger
        self._write_unsigned = write_unsigned
        self._stop: Stop | None = None
        self._first_checks: list[Callable[[], None]] = []
        self._is_withheld = False
        self._on_stop: list[Callable[[Stop], None]] = []
        self._lock = threading.Lock()
        self._checking = threading.Lock()

    def require(self, first_check: Callable[[], None]) -> None:
        """Have the first batch of commands wait for a check, which calls `stop` or raises."""
        self._first_checks.append(first_check)

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

    def withhold(self, is_withheld: bool) -> None:
        """Refuse commands and reads of a ledger that lacks erasures, or do so no longer."""
        with self._lock:
            if self._is_withheld == is_withheld:
                return
            self._is_withheld = is_withheld
        if is_withheld:
            log.error(
                "ledger %s is not served: it lacks erasures, which `certledger erasures` lists",
                self.ledger,
            )
        else:
            log.warning("ledger %s is served again: its erasures are done", self.ledger)

    def check(self) -> None:
        """Raises: LogNotContinued, ErasuresMissing. Costs nothing, never waits."""
        if self._stop is not None and not self._write_unsigned:
            raise LogNotContinued(ledger=self.ledger)
        self.check_read()

    def check_read(self) -> None:
        """Whether the ledger is shown. Raises: ErasuresMissing."""
        if self._is_withheld:
            raise ErasuresMissing(ledger=self.ledger)

    def check_before_batch(self) -> None:
        """As `check`, after the required first checks; the writer's port.

        Raises: LogNotContinued, ErasuresMissing; Unavailable if a first check could not be made.
        """
        if self._first_checks:
            with self._checking:
                while self._first_checks:  # another thread may have made them
                    self._check_first()
        self.check()

    def _check_first(self) -> None:
        try:
            self._first_checks[0]()
        except (LogNotContinued, SealBroken, Unavailable):
            raise
        except Exception as error:
            log.warning("ledger %s could not be compared", self.ledger, exc_info=True)
            raise Unavailable(ledger=self.ledger) from error
        del self._first_checks[0]

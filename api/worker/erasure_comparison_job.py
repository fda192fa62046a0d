"""Compares ledgers with the register of erasures, in a background thread of `certledger work`.

A ledger that lacks erasures takes no due work until they are done again, and the process that does
due work has to learn of both. In `certledger serve` the thread that signs compares.
"""

from __future__ import annotations

import logging

from api.transparency.erasure_register import ErasureRegister
from api.worker.database_job import DatabaseJob
from domain.errors import LedgerError
from domain.service.ledger import Ledgers
from domain.store.postgres.connection import Connection
from projections.engine.failures import is_transient

POLL_SECONDS = 1.0
"""How long a ledger may be refused after its erasures were done again, or served before."""

RETRY_SECONDS = 5.0
"""Time after a round that failed."""

log = logging.getLogger("certledger.work")


class ErasureComparisonJob(DatabaseJob):
    """Compares all ledgers of a database again and again."""

    def __init__(self, dsn: str, ledgers: Ledgers, register: ErasureRegister) -> None:
        """Opens nothing yet."""
        super().__init__(
            dsn, "erasure comparison", poll_seconds=POLL_SECONDS, retry_seconds=RETRY_SECONDS
        )
        self._ledgers = ledgers
        self._register = register
        self._reported: dict[str, str] = {}

    def round(self, connection: Connection) -> None:
        """Compare each ledger; one that cannot be compared stops no other."""
        for name in self._ledgers.names():
            try:
                self._register.compare(self._ledgers.get(name))
            except LedgerError as error:
                if self._reported.get(name) != str(error):
                    log.error("the erasures of ledger %s are not compared: %s", name, error)
                self._reported[name] = str(error)
            else:
                self._reported.pop(name, None)

    def report(self, error: Exception) -> None:
        """Say why nothing is compared."""
        log.error("erasures are not compared: %s", error, exc_info=not is_transient(error))

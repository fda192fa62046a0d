"""Renews the keys that wrap others, in a background thread: see `domain.store.privacy.key_renewal`.

It is no row of the works: it belongs to no ledger, records no fact, and has to go on when the views
do not. Of all processes of a database one does it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from api.worker.database_job import DatabaseJob
from domain.errors import LedgerError
from domain.service.ledger import LedgerSecrets
from domain.store.postgres.connection import Connection
from domain.store.privacy.key_renewal import REST, KeyRenewal, count_overdue
from projections.engine.failures import is_transient
from projections.engine.generations import epochs_in_use

__all__ = ["KeyRenewalJob", "count_overdue"]

POLL_SECONDS = 10.0
"""Time between two rounds."""

RETRY_SECONDS = 30.0
"""Time after a round that failed."""

log = logging.getLogger("certledger.keys")


class KeyRenewalJob(DatabaseJob):
    """Does rounds of the renewal."""

    def __init__(self, dsn: str, secrets: LedgerSecrets, *, rest: timedelta = REST) -> None:
        """Opens nothing yet. rest: see REST of `key_renewal`."""
        super().__init__(dsn, "key renewal", poll_seconds=POLL_SECONDS, retry_seconds=RETRY_SECONDS)
        self._renewal = KeyRenewal(
            secrets.epoch_keys,
            secrets.algorithm,
            secrets.sealer,
            in_use=epochs_in_use,
            rest=rest,
        )

    def round(self, connection: Connection) -> None:
        """Renew what is due now."""
        self._renewal.round(connection, datetime.now(UTC))

    def report(self, error: Exception) -> None:
        """Say why keys are not renewed. What is overdue shows in /health."""
        expected = isinstance(error, LedgerError) or is_transient(error)
        log.error("keys are not renewed: %s", error, exc_info=not expected)

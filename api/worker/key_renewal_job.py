"""Renews the keys that wrap others, in a background thread: see `domain.store.privacy.key_renewal`.

It is no row of the works: it belongs to no ledger, records no fact, and has to go on when the views
do not. Of all processes of a database one does it.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from domain.errors import LedgerError
from domain.service.ledger import LedgerSecrets
from domain.store.postgres.connection import Connection, close_quietly, connect
from domain.store.privacy.key_renewal import KeyRenewal, count_overdue

__all__ = ["KeyRenewalJob", "count_overdue"]

POLL_SECONDS = 10.0
"""Time between two rounds."""

RETRY_SECONDS = 30.0
"""Time after a round that failed."""

log = logging.getLogger("certledger.keys")


class KeyRenewalJob:
    """Does a round of the renewal again and again until it is stopped."""

    def __init__(self, dsn: str, secrets: LedgerSecrets) -> None:
        """Opens nothing yet."""
        self._dsn = dsn
        self._renewal = KeyRenewal(secrets.epoch_keys, secrets.algorithm)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key renewal", daemon=True)

    def start(self) -> KeyRenewalJob:
        """Start in the background; an unreachable database is retried."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop after the round that was begun."""
        self._stopped.set()
        self._thread.join()

    def __enter__(self) -> KeyRenewalJob:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        connection: Connection | None = None
        while not self._stopped.is_set():
            pause = POLL_SECONDS
            try:
                if connection is None:
                    connection = connect(self._dsn, name="certledger key renewal")
                self._renewal.round(connection, datetime.now(UTC))
            except Exception as error:
                # Whatever it is: without this thread no erasure would ever be complete. What is
                # overdue shows in /health.
                expected = isinstance(error, LedgerError)
                log.error("keys are not renewed: %s", error, exc_info=not expected)
                close_quietly(connection)
                connection = None
                pause = RETRY_SECONDS
            self._stopped.wait(pause)
        close_quietly(connection)

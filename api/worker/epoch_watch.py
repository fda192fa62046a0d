"""Keeps this service up to date on which epochs there are.

Commands, lookups and the lookup workers write and search under the keys of epochs. None of them
waits for the database to learn of a new one: this job reads them all the time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from api.worker.database_job import DatabaseJob
from domain.errors import LedgerError
from domain.store.errors import WrongEpochKey
from domain.store.postgres.connection import Connection
from domain.store.privacy.epoch_keys import Epoch
from domain.store.privacy.index_ciphers import GivenIndexCiphers, index_cipher_keys
from domain.store.privacy.live_epochs import LiveEpochs
from projections.catalogue import VIEWS
from projections.engine import generations
from projections.engine.failures import is_transient
from projections.engine.wrong_views import EVERY_LEDGER, WrongViews

POLL_SECONDS = 5.0
"""How often the epochs are read. They are written under a minute after they began."""

RETRY_SECONDS = 5.0

log = logging.getLogger("certledger.keys")


class EpochWatch(DatabaseJob):
    """Reads the epochs, gives their ciphers to lookups, and says which views they do not open."""

    def __init__(
        self, dsn: str, epochs: LiveEpochs, ciphers: GivenIndexCiphers, wrong: WrongViews
    ) -> None:
        """Opens nothing yet. epochs: of the ledgers. ciphers: of the lookups."""
        super().__init__(dsn, "epoch watch", poll_seconds=POLL_SECONDS, retry_seconds=RETRY_SECONDS)
        self._epochs = epochs
        self._ciphers = ciphers
        self._wrong = wrong

    def round(self, connection: Connection) -> None:
        """Read the epochs now. Without the key of any, no view can be searched."""
        try:
            self._epochs.refresh()
        except WrongEpochKey:
            self._name_closed(connection, ())
            raise
        self._ciphers.set(index_cipher_keys(self._epochs))
        self._name_closed(connection, self._epochs.all)

    def _name_closed(self, connection: Connection, epochs: Iterable[Epoch]) -> None:
        """Say which views none of these epochs opens."""
        with connection.cursor() as cursor:
            current = generations.in_force(cursor, [view.name for view in VIEWS])
        live = {epoch.name for epoch in epochs}
        under = [each for each in current.values() if each.is_under_epoch]
        closed = [each.view for each in under if each.epoch not in live]
        self._wrong.set("epochs", ((view, EVERY_LEDGER) for view in closed))

    def report(self, error: Exception) -> None:
        """Say why the epochs cannot be read; those of before are used meanwhile."""
        expected = isinstance(error, LedgerError) or is_transient(error)
        log.error("the epochs cannot be read: %s", error, exc_info=not expected)

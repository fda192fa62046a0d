"""Deletes the files whose keys an erasure destroyed, in a background thread.

What is to be deleted is folded from the facts by the worklist, and read once more from the journal.
It is no row of the works: it records no fact. A file that is gone needs no receipt, deleting it
twice does no harm, and a new process begins with the first erasure again, so that files which came
back with a restored attachment store are deleted, too. Several processes may do it at once.
"""

from __future__ import annotations

import logging

from api.worker.database_job import DatabaseJob
from domain.errors import LedgerError
from domain.service.files import Files
from domain.service.ledger import Ledgers
from domain.store.blobs import Blobs
from domain.store.errors import SealBroken, WrongKey
from domain.store.postgres.connection import Connection
from projections.engine.failures import is_missing_relation, is_transient
from projections.worklist.queries import ErasedFile, erased_files

POLL_SECONDS = 1.0
"""How long a file may outlive its key unnoticed, after the worklist knows of it."""

RETRY_SECONDS = 5.0
"""Time after a round that failed."""

_START = ErasedFile(0, 0)

log = logging.getLogger("certledger.work")


class FileDeletionJob(DatabaseJob):
    """Deletes erased files; stops after the file that was begun."""

    def __init__(
        self, dsn: str, ledgers: Ledgers, blobs: Blobs, *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Opens nothing yet."""
        super().__init__(
            dsn, "file deletion", poll_seconds=poll_seconds, retry_seconds=RETRY_SECONDS
        )
        self._ledgers = ledgers
        self._blobs = blobs
        self._done: dict[str, ErasedFile] = {}

    def round(self, connection: Connection) -> None:
        """Delete what the worklists of all ledgers have named since the last round.

        A ledger that fails holds up no other. Raises: what the last of them failed with.
        """
        failed: Exception | None = None
        for ledger in self._ledgers.names():
            try:
                self._delete(connection, ledger)
            except Exception as error:
                if connection.closed:
                    raise
                if failed is not None:
                    self.report(failed)
                failed = error
        if failed is not None:
            raise failed

    def report(self, error: Exception) -> None:
        """Say why files are not deleted, but for a worklist that has no tables yet."""
        expected = isinstance(error, LedgerError) or is_transient(error)
        if not is_missing_relation(error):
            log.error("erased files are not deleted: %s", error, exc_info=not expected)

    def _delete(self, connection: Connection, ledger: str) -> None:
        """Delete what a ledger's worklist has named since the last round."""
        while not self._stopped.is_set():
            after = self._done.get(ledger, _START)
            with connection.cursor() as cursor:
                found = erased_files(cursor, ledger, after)
            if not found:
                return
            files = Files(self._ledgers.get(ledger), self._blobs)
            for file in found:
                try:
                    is_deleted = files.delete_erased(file.named_at)
                except (SealBroken, WrongKey) as error:
                    # Somebody altered the database; the audit names it. Other files go on.
                    log.error("%s: position %d: %s", ledger, file.named_at, error)
                else:
                    what = "its file is deleted" if is_deleted else "it names no erased file"
                    log.log(
                        logging.INFO if is_deleted else logging.ERROR,
                        "%s: position %d: %s",
                        *(ledger, file.named_at, what),
                    )
                self._done[ledger] = file

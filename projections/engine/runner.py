"""Follows every ledger and keeps every view up to date, until it is stopped.

It listens first, then reads, then waits with a timeout. The process that holds a ledger's advisory
lock folds it and announces its progress; runners in other processes wait and take over within a
second when it exits. A new ledger is found at the next notification or scan. A view whose tables
are of an older version, or under an earlier epoch, is rebuilt while they go on answering.
Reading order: Runner.start, _work, _run_round; then ledger_projector.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from domain.store.errors import WrongEpochKey
from domain.store.journal.statements import JOURNAL_CHANNEL
from domain.store.postgres.connection import Connection, close_quietly, connect
from domain.store.postgres.notifications import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Notification,
    NotificationListener,
)
from domain.store.privacy.live_epochs import read_live_epochs
from projections.engine import generations
from projections.engine.failures import is_transient
from projections.engine.generation_writer import GenerationWriter
from projections.engine.ledger_projector import LedgerProjector, Superseded
from projections.engine.vaults import VaultSecrets, row_keys_of, vault_of, writer_of
from projections.engine.view import View

BATCH = 1000  # events in a transaction: a few tens of milliseconds
BATCHES = 20  # in a row for one ledger, so that one far behind does not hold up the others
POLL_SECONDS = 1.0
RETRY_SECONDS = 30.0
EPOCH_CHECK_SECONDS = 15.0
_DELAY_FACTOR, _LONGEST_DELAY_SECONDS = 3, 0.02
"""Delay after a round, as a multiple of its duration, and its upper limit."""

log = logging.getLogger(__name__)


Rebuild = Callable[[str, VaultSecrets, Sequence[View]], object]
"""(dsn, secrets, views): rebuilds the views and swaps their tables; `rebuild.replace` is one."""


class Runner:
    """Keeps the views of all ledgers of a database up to date, in one background thread."""

    def __init__(
        self,
        dsn: str,
        secrets: VaultSecrets,
        views: Sequence[View],
        rebuild: Rebuild,
        *,
        batch: int = BATCH,
        poll_seconds: float = POLL_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Opens nothing yet.

        dsn: any login that is a member of certledger_app. secrets: open what views mask.
        rebuild: rebuilds views whose stored tables are outdated.
        """
        self._dsn = dsn
        self._secrets = secrets
        self._views = tuple(views)
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._retry_seconds = retry_seconds
        self._rebuild_views = rebuild
        self._targets: dict[str, GenerationWriter] = {}
        self._projectors: dict[str, LedgerProjector] = {}
        self._rebuilding: set[str] = set()
        self._due: set[str] = set()
        self._scan_due = True
        self._epoch_check_at = 0.0
        self._signal = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="views", daemon=True)
        self._listener = NotificationListener(
            lambda: connect(dsn, name="certledger view listener"),
            (JOURNAL_CHANNEL,),
            self._on_notifications,
            self._check,
        )

    # --- start and stop --------------------------------------------------------------------------

    def start(self) -> None:
        """Create missing tables, then follow in the background.

        Raises: psycopg2.Error if the database cannot be reached; once started, it is retried.
        """
        connection = connect(self._dsn, name="certledger views")
        try:
            generations.ensure(connection, self._views, self._secrets.epoch_keys)
        finally:
            close_quietly(connection)
        self._listener.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current batch."""
        self._stopped.set()
        self._listener.stop()
        with self._signal:
            self._signal.notify_all()
        self._thread.join()

    def __enter__(self) -> Runner:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def claimed_ledgers(self) -> frozenset[str]:
        """The ledgers that this runner folds."""
        return frozenset(self._projectors)

    @property
    def is_connected(self) -> bool:
        """Whether notifications arrive at the moment; without them views lag by a poll."""
        return self._listener.is_connected

    # --- hints -----------------------------------------------------------------------------------

    def _on_notifications(self, received: list[Notification]) -> None:
        with self._signal:
            self._due |= {ledger for _, ledger in received}
            self._signal.notify_all()

    def _check(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        self._request_scan()

    def _request_scan(self) -> None:
        with self._signal:
            self._scan_due = True
            self._signal.notify_all()

    # --- the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            connection: Connection | None = None
            try:
                connection = connect(self._dsn, name="certledger view runner")
                self._targets = {}
                self._projectors = {}
                self._scan_due = True
                while not self._stopped.is_set():
                    started = time.monotonic()
                    is_behind = self._run_round(connection)
                    pause = FIRST_PAUSE_SECONDS
                    if not is_behind:
                        self._delay(time.monotonic() - started)
                        self._wait()
            except Exception as error:
                if is_transient(error):
                    log.warning("views wait for the database: %s", str(error).strip())
                else:
                    # A bug must not end the thread: views would fall behind without a word.
                    log.exception("following the journal failed, retrying")
            finally:
                self._projectors = {}
                close_quietly(connection)
            self._stopped.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _delay(self, round_seconds: float) -> None:
        """Let the next batch grow while other processes use the processor.

        A batch of one event costs half of what a batch of twenty does. Occasional writes are not
        delayed noticeably; under constant writes, views lag a few milliseconds more.
        """
        self._stopped.wait(min(round_seconds * _DELAY_FACTOR, _LONGEST_DELAY_SECONDS))

    def _wait(self) -> None:
        with self._signal:
            if not self._due and not self._scan_due:
                is_signalled = self._signal.wait_for(
                    lambda: self._due or self._scan_due or self._stopped.is_set(),
                    self._poll_seconds,
                )
                if not is_signalled:
                    self._scan_due = True

    def _run_round(self, connection: Connection) -> bool:
        """Advance every ledger that may have new events. Returns: whether there may be more."""
        with self._signal:
            due, is_scan = self._due, self._scan_due
            self._due, self._scan_due = set(), False
        self._reload_generations(connection, always=is_scan and self._is_epoch_check_due())
        if is_scan:
            due = due | self._scan(connection)
        is_behind = False
        for ledger in sorted(due):
            if self._stopped.is_set():
                break
            projector = self._projectors.get(ledger) or self._claim(connection, ledger)
            if projector is not None and self._advance(connection, projector):
                is_behind = True
        return is_behind

    def _advance(self, connection: Connection, projector: LedgerProjector) -> bool:
        try:
            more = projector.advance(connection, list(self._targets.values()), BATCHES)
        except Superseded:
            self._reload_generations(connection, always=True)
            projector.reload_positions(connection, self._views)
            more = True
        if more:
            with self._signal:
                self._due.add(projector.ledger)
        return more

    def _claim(self, connection: Connection, ledger: str) -> LedgerProjector | None:
        """Take the ledger's advisory lock; None if another process holds it.

        The lock belongs to the connection: it is released when the process or connection ends.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                # Of ledgers that exist only: anybody who may connect can name others in
                # notifications, and each lock would stay.
                "SELECT pg_try_advisory_lock(hashtextextended('certledger views of ' || ledger, 0))"
                " FROM certledger.ledgers WHERE ledger = %s",
                (ledger,),
            )
            if cursor.fetchone() != (True,):
                return None
        projector = LedgerProjector(
            ledger,
            vault_of(self._secrets, ledger, connection),
            batch=self._batch,
            retry_seconds=self._retry_seconds,
            row_keys=row_keys_of(self._secrets),
        )
        projector.reload_positions(connection, self._views)
        self._projectors[ledger] = projector
        return projector

    def _scan(self, connection: Connection) -> set[str]:
        """Ledgers that this runner does not fold, and those with new events."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT ledger, position FROM certledger.ledgers")
            heads: Mapping[str, int] = dict(cursor.fetchall())
        targets = list(self._targets.values())
        return {
            ledger
            for ledger, head in heads.items()
            if ledger not in self._projectors or self._projectors[ledger].is_behind(head, targets)
        }

    # --- generations -----------------------------------------------------------------------------

    def _reload_generations(self, connection: Connection, *, always: bool = False) -> None:
        """Read which tables are current; start the rebuild of outdated ones."""
        if len(self._targets) == len(self._views) and not always:
            return
        with connection.cursor() as cursor:
            current = generations.in_force(cursor, [view.name for view in self._views])
            outdated = generations.outdated(
                current, self._views, read_live_epochs(cursor, self._secrets.epoch_keys)
            )
        self._targets = {}
        for view in self._views:
            found = current.get(view.name)
            if found is not None and generations.is_readable(view, found):
                try:
                    self._targets[view.name] = writer_of(self._secrets, view, found)
                except WrongEpochKey as error:  # a rebuild goes on, and so do the other views
                    log.error("%s is not followed: %s", view.name, error)
        outdated = [view for view in outdated if view.name not in self._rebuilding]
        if outdated:
            self._rebuilding |= {view.name for view in outdated}
            threading.Thread(target=self._rebuild, args=(outdated,), daemon=True).start()

    def _is_epoch_check_due(self) -> bool:
        """Whether to look for views of an earlier epoch again."""
        now = time.monotonic()
        is_due = now >= self._epoch_check_at
        if is_due:
            self._epoch_check_at = now + EPOCH_CHECK_SECONDS
        return is_due

    def _rebuild(self, views: Sequence[View]) -> None:
        try:
            self._rebuild_views(self._dsn, self._secrets, views)
        except Exception:
            log.exception("rebuilding %s failed", ", ".join(view.name for view in views))
            self._stopped.wait(self._retry_seconds)
        finally:
            self._rebuilding -= {view.name for view in views}
            self._request_scan()

"""Follows every ledger and keeps every view up to date; one runner a process, for ever.

Listen first, then read, then wait with a timeout. Whichever process holds a ledger's advisory lock
folds it and tells everybody how far it came; the others stand by and take over within a second when
it dies.
A new ledger is found at the next notification or look. A view whose tables are of an older version
is made anew beside them while they go on answering.
Reading order: Runner.start, _work, _follow; then follower.py, rebuild.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.store.journal.statements import CHANNEL
from domain.store.postgres.connection import close_quietly, connect
from projections.engine import generations as schema
from projections.engine.generation_writer import GenerationWriter
from projections.engine.ledger_projector import LedgerProjector, Superseded, is_transient
from projections.engine.listening import NotificationListener
from projections.engine.vaults import VaultSecrets, vault_of
from projections.engine.view import View

BATCH = 1000  # events a transaction: a few tens of milliseconds
BATCHES = 20  # a ledger at a time, so that one with a long way to go does not hold up the others
POLL_SECONDS = 1.0
RETRY_SECONDS = 30.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_REST, _LONGEST_REST_SECONDS = 3, 0.02
"""After a round, in times of what it took, and at most."""

log = logging.getLogger(__name__)


Rebuild = Callable[[str, VaultSecrets, Sequence[View]], Any]
"""(dsn, secrets, views): rebuilds the views and swaps their tables; `rebuild.replace` is one."""


class Runner:
    """The views of all ledgers of a database, kept up to date by one thread."""

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
        """Nothing is opened yet.

        dsn: any login that is a member of certledger_app. secrets: to open what views mask.
        rebuild: what rebuilds views whose stored tables are of an older version.
        """
        self._dsn = dsn
        self._secrets = secrets
        self._views = tuple(views)
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._retry_seconds = retry_seconds
        self._rebuild_views = rebuild
        self._connection: Any = None
        self._targets: dict[str, GenerationWriter] = {}
        self._followers: dict[str, LedgerProjector] = {}
        self._rebuilding: set[str] = set()
        self._due: set[str] = set()
        self._look_at_all = True
        self._signal = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="views", daemon=True)
        self._ear = NotificationListener(
            lambda: connect(dsn, name="certledger view listener"),
            (CHANNEL,),
            self._heard,
            self._ask,
        )

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the tables that are missing, then follow in the background.

        Raises: psycopg2.Error if the database cannot be reached; once started it is waited for.
        """
        connection = connect(self._dsn, name="certledger views")
        try:
            schema.ensure(connection, self._views)
        finally:
            close_quietly(connection)
        self._ear.start()
        self._thread.start()

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopped.set()
        self._ear.stop()
        with self._signal:
            self._signal.notify_all()
        self._thread.join()

    def __enter__(self) -> Runner:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def followed(self) -> frozenset[str]:
        """The ledgers that are folded here."""
        return frozenset(self._followers)

    @property
    def is_connected(self) -> bool:
        """Whether notifications arrive at the moment; without them views are a poll behind."""
        return self._ear.is_connected

    # --- hints -----------------------------------------------------------------------------------

    def _heard(self, heard: list[tuple[str, str]]) -> None:
        with self._signal:
            self._due |= {ledger for _, ledger in heard}
            self._signal.notify_all()

    def _ask(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        self._anything()

    def _anything(self) -> None:
        with self._signal:
            self._look_at_all = True
            self._signal.notify_all()

    # --- the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            try:
                self._connection = connect(self._dsn, name="certledger view runner")
                self._targets = {}
                self._followers = {}
                self._look_at_all = True
                while not self._stopped.is_set():
                    begun = time.monotonic()
                    is_behind = self._follow(self._connection)
                    pause = _FIRST_PAUSE_SECONDS
                    if not is_behind:
                        self._rest(time.monotonic() - begun)
                        self._wait()
            except Exception as error:
                if is_transient(error):
                    log.warning("views wait for the database: %s", str(error).strip())
                else:
                    # A fault of ours must not end the thread: views would stand still in silence.
                    log.exception("views are interrupted")
            finally:
                self._followers = {}
                close_quietly(self._connection)
            self._stopped.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _rest(self, took: float) -> None:
        """Let the next batch grow while others use the processor.

        A batch of one costs half of what a batch of twenty does. Who writes now and then does not
        notice it; where commands come all the time the views are a few milliseconds further back.
        """
        self._stopped.wait(min(took * _REST, _LONGEST_REST_SECONDS))

    def _wait(self) -> None:
        with self._signal:
            if not self._due and not self._look_at_all:
                heard = self._signal.wait_for(
                    lambda: self._due or self._look_at_all or self._stopped.is_set(),
                    self._poll_seconds,
                )
                self._look_at_all = self._look_at_all or not heard

    def _follow(self, connection: Any) -> bool:
        """One round over the ledgers that may have something new.

        Returns: whether there is more than one round takes.
        """
        with self._signal:
            due, everything = self._due, self._look_at_all
            self._due, self._look_at_all = set(), False
        self._refresh(connection)
        if everything:
            due = due | self._look(connection)
        is_behind = False
        for ledger in sorted(due):
            if self._stopped.is_set():
                break
            follower = self._followers.get(ledger) or self._take(connection, ledger)
            if follower is not None and self._advance(connection, follower):
                is_behind = True
        return is_behind

    def _advance(self, connection: Any, follower: LedgerProjector) -> bool:
        try:
            more = follower.advance(connection, list(self._targets.values()), BATCHES)
        except Superseded:
            self._refresh(connection, always=True)
            follower.look(connection, self._views)
            more = True
        if more:
            with self._signal:
                self._due.add(follower.ledger)
        return more

    def _take(self, connection: Any, ledger: str) -> LedgerProjector | None:
        """Become the one who folds a ledger, unless another process is. The lock is the
        connection's: it goes when the process or its connection dies.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_lock(hashtextextended('certledger views of ' || %s, 0)), "
                "EXISTS (SELECT FROM certledger.ledgers WHERE ledger = %s)",
                (ledger, ledger),
            )
            taken, exists = cursor.fetchone()
        if not taken or not exists:
            return None
        follower = LedgerProjector(
            ledger,
            vault_of(self._secrets, ledger, connection),
            batch=self._batch,
            retry_seconds=self._retry_seconds,
        )
        follower.look(connection, self._views)
        self._followers[ledger] = follower
        return follower

    def _look(self, connection: Any) -> set[str]:
        """Ledgers to see to: those that are not folded here, and those with something new."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT ledger, position FROM certledger.ledgers")
            heads: Mapping[str, int] = dict(cursor.fetchall())
        targets = list(self._targets.values())
        return {
            ledger
            for ledger, head in heads.items()
            if ledger not in self._followers or self._followers[ledger].is_behind(head, targets)
        }

    # --- generations -----------------------------------------------------------------------------

    def _refresh(self, connection: Any, *, always: bool = False) -> None:
        """Find out which tables are in force; start what makes outdated ones anew."""
        if len(self._targets) == len(self._views) and not always:
            return
        with connection.cursor() as cursor:
            made = schema.in_force(cursor, [view.name for view in self._views])
        self._targets = {
            view.name: GenerationWriter(view, made[view.name].number)
            for view in self._views
            if view.name in made and made[view.name].version == view.version
        }
        # An older program beside us leaves tables of a newer version alone: it stands by.
        outdated = [
            view
            for view in self._views
            if view.name in made
            and made[view.name].version < view.version
            and view.name not in self._rebuilding
        ]
        if outdated:
            self._rebuilding |= {view.name for view in outdated}
            threading.Thread(target=self._rebuild, args=(outdated,), daemon=True).start()

    def _rebuild(self, views: Sequence[View]) -> None:
        try:
            self._rebuild_views(self._dsn, self._secrets, views)
        except Exception:
            log.exception("making %s anew failed", ", ".join(view.name for view in views))
            self._stopped.wait(self._retry_seconds)
        finally:
            self._rebuilding -= {view.name for view in views}
            self._anything()

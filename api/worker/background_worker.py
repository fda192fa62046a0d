"""Does what is due: asks the worklist, submits the commands, and notes what was refused.

Of several processes, the one that holds a ledger's advisory lock does the work of that ledger. The
lock only saves the others the effort. Nothing is done twice because the idempotency key follows
from the facts: the second process gets the receipt of the first.
It wakes when the worklist has moved, else every second, because time makes things due. A ledger
with something due gets a thread until that is done, so that no ledger waits for another one.
Reading order: BackgroundWorker.start, `_work`, `_round`, `_do`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

from api.worker.outcomes import Outcomes
from api.worker.works import WORKS, Work
from domain.actors import service_actor
from domain.errors import LedgerError
from domain.service.ledger import Ledgers
from domain.service.receipt import Receipt
from domain.store.postgres.connection import Connection, close_quietly, connect
from domain.store.postgres.notifications import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Notification,
    NotificationListener,
)
from projections.engine.failures import is_missing_relation, is_transient
from projections.engine.progress import PROGRESS_CHANNEL
from projections.worklist.queries import WorkItem

POLL_SECONDS = 1.0
"""How long something may be due without being noticed, if no event comes."""

REST_SECONDS = 0.2
"""Rest after a round: under constant writes the worklist moves many times a second."""

BATCH = 100
"""Items of one work and ledger that are submitted together."""

COMMAND_SECONDS = 10.0
"""How long a command may wait before it counts as refused."""

STILL_DUE = "still_due"
"""Code of an item that is due although its command was recorded."""

log = logging.getLogger("certledger.work")

Task = tuple[Work, WorkItem]


class BackgroundWorker:
    """Does the work of the ledgers of one database, in background threads. Thread-safe."""

    def __init__(
        self,
        dsn: str,
        ledgers: Ledgers,
        works: Sequence[Work] = WORKS,
        *,
        poll_seconds: float = POLL_SECONDS,
        batch: int = BATCH,
    ) -> None:
        """Opens nothing yet. ledgers: through which the commands are submitted."""
        self._dsn = dsn
        self._ledgers = ledgers
        self._works = tuple(works)
        self._poll_seconds = poll_seconds
        self._batch = batch
        self._outcomes = Outcomes()
        self._locked: frozenset[str] = frozenset()
        self._busy: dict[str, threading.Thread] = {}
        self._is_signalled = False
        self._signal = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="work", daemon=True)
        self._listener = NotificationListener(
            lambda: connect(dsn, name="certledger work listener"),
            (PROGRESS_CHANNEL,),
            self._on_notifications,
            self._check,
        )

    # --- start and stop --------------------------------------------------------------------------

    def start(self) -> BackgroundWorker:
        """Start working in the background; an unreachable database is retried."""
        self._listener.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop when what was submitted has an outcome."""
        self._stopped.set()
        self._listener.stop()
        self._wake()
        self._thread.join()
        for thread in list(self._busy.values()):
            thread.join()

    def __enter__(self) -> BackgroundWorker:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # --- what an operator sees -------------------------------------------------------------------

    @property
    def locked_ledgers(self) -> frozenset[str]:
        """The ledgers whose work this process does."""
        return self._locked

    def refused(self, ledger: str, work: str) -> tuple[int, str | None]:
        """How many items this process could not do, and the code of the last refusal."""
        return self._outcomes.refused(ledger, work)

    # --- hints -----------------------------------------------------------------------------------

    def _on_notifications(self, received: list[Notification]) -> None:
        self._wake()

    def _check(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        self._wake()

    def _wake(self) -> None:
        with self._signal:
            self._is_signalled = True
            self._signal.notify_all()

    def _wait(self) -> None:
        self._stopped.wait(REST_SECONDS)
        with self._signal:
            self._signal.wait_for(
                lambda: self._is_signalled or self._stopped.is_set(), self._poll_seconds
            )
            self._is_signalled = False

    # --- the thread that looks for work ----------------------------------------------------------

    def _work(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            connection: Connection | None = None
            try:
                connection = connect(self._dsn, name="certledger work")
                while not self._stopped.is_set():
                    self._lock_ledgers(connection)
                    self._round(connection)
                    pause = FIRST_PAUSE_SECONDS
                    self._wait()
            except Exception as error:
                if is_transient(error) or is_missing_relation(error):
                    log.warning("work waits for the database: %s", str(error).strip())
                else:
                    # A bug must not end the thread: nothing would be done without a word.
                    log.exception("looking for work failed, retrying")
            finally:
                self._locked = frozenset()
                close_quietly(connection)
            self._stopped.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _lock_ledgers(self, connection: Connection) -> None:
        """Take the advisory locks that no other process holds; they end with the connection."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT ledger, pg_try_advisory_lock("
                "hashtextextended('certledger work of ' || ledger, 0)) "
                "FROM certledger.ledgers WHERE ledger <> ALL(%s)",
                (list(self._locked),),
            )
            taken = {ledger for ledger, is_taken in cursor.fetchall() if is_taken}
        self._locked |= taken

    def _round(self, connection: Connection) -> None:
        """Begin with what is due, in every ledger that is not being worked on already."""
        with self._signal:
            free = self._locked.difference(self._busy)
        now = datetime.now(UTC)
        tasks: dict[str, list[Task]] = {}
        with connection.cursor() as cursor:
            for work in self._works:
                resting = self._outcomes.resting(work.name)
                found = work.due(
                    cursor, work.name, sorted(free), now, without=resting, limit=self._batch
                )
                for item in self._outcomes.open(work.name, found, free):
                    tasks.setdefault(item.ledger, []).append((work, item))
        for ledger, given in tasks.items():
            thread = threading.Thread(
                target=self._do, args=(ledger, given), name=f"work {ledger}", daemon=True
            )
            with self._signal:
                self._busy[ledger] = thread
            thread.start()

    # --- the thread of a ledger ------------------------------------------------------------------

    def _do(self, name: str, tasks: Sequence[Task]) -> None:
        """Submit the commands of some items together, and wait for their outcomes."""
        try:
            futures = [self.submit(*task) for task in tasks]
            for task, future in zip(tasks, futures, strict=True):
                self._finish(*task, future)
        finally:
            with self._signal:
                del self._busy[name]
            self._wake()

    def submit(self, work: Work, item: WorkItem) -> Future[Receipt]:
        """Submit the command of an item; a refusal at once is the outcome too."""
        key = work.key(item)
        try:
            command = work.command(item, self._ledgers)
            return self._ledgers.get(item.ledger).submit(
                command,
                service_actor(work.name),
                key=key,
                request=f"{key} {command.model_dump_json()}".encode(),
                timeout_seconds=COMMAND_SECONDS,
            )
        except Exception as error:
            refused: Future[Receipt] = Future()
            refused.set_exception(error)
            return refused

    def _finish(self, work: Work, item: WorkItem, future: Future[Receipt]) -> None:
        """Note the outcome of an item."""
        try:
            receipt = future.result(2 * COMMAND_SECONDS)
        except LedgerError as refusal:
            self._refuse(work, item, refusal.code)
        except Exception as error:
            log.error("%s: %s failed", item.ledger, work.name, exc_info=error)
            self._refuse(work, item, "internal_error")
        else:
            if receipt.last_position <= item.folded:
                # The worklist knows the fact, and the item is due all the same.
                self._refuse(work, item, STILL_DUE)
            else:
                self._outcomes.done(work.name, item.key, receipt.last_position)
                log.info("%s: %s of %s is done", item.ledger, work.name, item.item_id)

    def _refuse(self, work: Work, item: WorkItem, code: str) -> None:
        pause = self._outcomes.refuse(work.name, item.key, code)
        log.warning(
            "%s: %s of %s is due since %s and was refused: %s; tried again in %.0f s",
            *(item.ledger, work.name, item.item_id, item.due_at.isoformat(), code, pause),
        )

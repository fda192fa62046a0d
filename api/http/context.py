"""The objects that a running service shares between its handlers.

`api.app` creates the context; handlers find it as `request.app.state.service`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from api.auth.tokens import TokenChecker
from api.errors.request import DatabaseUnreachable
from api.http.pagination import Cursors, PageRequest
from api.http.read_models import ReadModels
from api.http.reader_pool import ReaderPool
from api.lookup.registry import RegistryClient, RegistryConfig
from api.settings import Settings
from api.transparency.audit_state import AuditListener
from api.transparency.health_problems import HealthProblems
from api.worker.background_worker import BackgroundWorker
from domain.service.files import Files
from domain.service.ledger import Ledger, Ledgers
from domain.store.blobs import Blobs
from domain.store.errors import UnknownLedger
from projections.engine.failures import is_transient

T = TypeVar("T")

NEGATIVE_CACHE_S = 2.0
"""How long an unknown ledger name is cached, seconds, so that guessed names cost no query."""
_UNKNOWN_MAX = 1000


@dataclass
class HealthSnapshot:
    """State of the database and the views. at: when it was taken, `time.monotonic`; None: never.

    views: the rows of `/health`. backlog: of the worklist, by ledger and work.
    epochs_overdue: epochs that are over for long and still have a key.
    """

    database_ok: bool = False
    at: float | None = None
    views: list[dict[str, Any]] = field(default_factory=list)
    backlog: list[dict[str, Any]] = field(default_factory=list)
    epochs_overdue: int = 0


@dataclass
class AppContext:
    """The shared objects. Used on the event loop only; blocking work goes through `readers`.

    access: what a lookup worker process needs to open the registry.
    running: (ledger, subject, key) of the writes in flight.
    health: the last snapshot of database and views, taken by `api.routes.health`.
    problems: what the service's parts found wrong. audit: what the background audit reports.
    worker: does what is due by time alone; None if this service leaves that to others.
    """

    settings: Settings
    tokens: TokenChecker
    ledgers: Ledgers
    readers: ReaderPool
    cursors: Cursors
    blobs: Blobs
    views: ReadModels
    access: RegistryConfig
    registry: RegistryClient
    audit: AuditListener
    worker: BackgroundWorker | None
    running: set[tuple[str, str, str]] = field(default_factory=set)
    health: HealthSnapshot = field(default_factory=HealthSnapshot)
    problems: HealthProblems = field(default_factory=HealthProblems)
    _known: dict[str, Ledger] = field(default_factory=dict)
    _unknown: dict[str, float] = field(default_factory=dict)

    def files(self, ledger: Ledger) -> Files:
        """The sealed files of a ledger."""
        return Files(ledger, self.blobs)

    def page(self, list_name: str, cursor: str | None, limit: int) -> PageRequest:
        """The page of a list that a request asks for, within the setting `page_rows_max`.

        list_name: the list with its ledger and filters. Raises: CursorInvalid.
        """
        return self.cursors.page(list_name, cursor, min(limit, self.settings.page_rows_max))

    async def ledger_names(self) -> tuple[str, ...]:
        """Every ledger, in order of name. Raises: DatabaseUnreachable, ServerBusy, ReadTimeout."""
        try:
            return await self.readers.run(self.ledgers.names)
        except Exception as error:
            if is_transient(error):
                raise DatabaseUnreachable() from error
            raise

    def cached_ledger(self, name: str) -> Ledger | None:
        """A ledger that was opened before; None if it was not."""
        return self._known.get(name)

    async def ledger(self, name: str) -> Ledger:
        """A ledger by name. Raises: UnknownLedger, Unavailable, ServerBusy, ReadTimeout."""
        found = self.cached_ledger(name)
        if found is not None:
            return found
        now = time.monotonic()
        if now - self._unknown.get(name, float("-inf")) < NEGATIVE_CACHE_S:
            raise UnknownLedger(ledger=name)
        try:
            found = await self.readers.run(self.ledgers.get, name)
        except UnknownLedger:
            if len(self._unknown) >= _UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[name] = now
            raise
        self._known[name] = found
        return found

    async def create_ledger(self, name: str, site_code: str) -> Ledger:
        """A ledger by name, created if it does not exist. Raises: SiteCodeTaken, Unavailable."""
        found = await self.readers.run(self.ledgers.create, name, site_code)
        self._unknown.pop(name, None)
        self._known[name] = found
        return found

    async def read(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run blocking work on a reader thread; see `ReaderPool.run`."""
        return await self.readers.run(work, *args, **kwargs)

    async def idle(self, timeout_s: float) -> None:
        """Wait until no write is in flight. Raises: TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.running:
                await asyncio.sleep(0.02)

"""Everything a running service holds, in one place; made by `app.open_service`.

Handlers find it as `request.app.state.service`.
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
from api.http.reader_pool import ReaderPool
from api.lookup.registry import RegistryClient
from api.settings import Settings
from domain.service.ledger import Ledger, Ledgers
from domain.store.errors import UnknownLedger
from projections.engine.ledger_projector import is_transient

T = TypeVar("T")

UNKNOWN_FOR_S = 2.0
"""How long a name that is no ledger is believed to be none, so that guessing costs us nothing."""
_UNKNOWN_MAX = 1000


@dataclass
class AppContext:
    """What handlers work with. The event loop owns it; threads get work through `readers`.

    access: what another process needs to open the registry too.
    running: (ledger, subject, key) of the writes that are being carried out. seen: what was last
    seen of the database and the views (`health.Seen`).
    """

    settings: Settings
    tokens: TokenChecker
    ledgers: Ledgers
    readers: ReaderPool
    cursors: Cursors
    blobs: Any
    views: Any
    access: Any
    registry: RegistryClient
    running: set[tuple[str, str, str]] = field(default_factory=set)
    seen: Any = None
    _known: dict[str, Ledger] = field(default_factory=dict)
    _unknown: dict[str, float] = field(default_factory=dict)

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

    def opened(self, name: str) -> Ledger | None:
        """A ledger that was asked for before; None if it was not."""
        return self._known.get(name)

    async def ledger(self, name: str) -> Ledger:
        """A ledger by name. Raises: UnknownLedger, Unavailable, ServerBusy, ReadTimeout."""
        found = self.opened(name)
        if found is not None:
            return found
        now = time.monotonic()
        if now - self._unknown.get(name, float("-inf")) < UNKNOWN_FOR_S:
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
        """A ledger by name, made if there is none. Raises: SiteCodeTaken, Unavailable."""
        found = await self.readers.run(self.ledgers.create, name, site_code)
        self._unknown.pop(name, None)
        self._known[name] = found
        return found

    async def read(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Blocking work on a reader thread; see Readers.run."""
        return await self.readers.run(work, *args, **kwargs)

    async def idle(self, timeout_s: float) -> None:
        """Wait until no write is being carried out."""
        async with asyncio.timeout(timeout_s):
            while self.running:
                await asyncio.sleep(0.02)

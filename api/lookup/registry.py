"""Access to the certificate registry for lookups, in the service or in a lookup worker process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from api.lookup.coalescing import Query, RequestCoalescer, Row
from api.settings import Settings
from domain.store.postgres.async_queries import AsyncQueryPool
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.index_ciphers import GivenIndexCiphers, IndexCipherKey, StoredIndexes
from domain.store.privacy.index_ciphers import SearchTokens as SearchTokens
from projections.certificate_registry import queries as registry_queries
from projections.certificate_registry.standing_changes import RecordChecks, StandingChanges
from projections.engine.wrong_views import WrongViews

LOOKUP_CONNECTIONS = 2
"""Database connections for lookups, and concurrent queries of each kind."""


log = logging.getLogger(__name__)

TokenFactory = Callable[[str, str], SearchTokens]
"""(kind, personal text) to its search tokens; equal in all ledgers."""


class QueryPool(Protocol):
    """Runs prepared queries by name."""

    async def ask(self, statement: str, keys: Sequence[str], until: float) -> list[Row]:
        """The rows of all keys. until: deadline by `loop.time`."""

    def close(self) -> None:
        """Close the connections."""


class RegistryClient:
    """Three coalesced queries, and the blind indexes to query by.

    by_number, by_document, by_token: the certificates of one key; ViewWrong if the seal of one is
    not right or its ledger's rows are wrong, RecordOutdated if it has changed since.
    ciphers: of the epochs that there are; set by `EpochWatch`, or by the main process.
    checks: of every row; blocking readers use them too.
    """

    def __init__(
        self,
        pool: QueryPool,
        indexes: BlindIndexes,
        ciphers: GivenIndexCiphers,
        checks: RecordChecks,
        *,
        deadline_s: float,
    ) -> None:
        changes = self._changes = _Refresh(pool, checks)

        def coalesced(statement: str, check: Check) -> RequestCoalescer:
            query = _checked(partial(pool.ask, statement), partial(check, checks), changes)
            return RequestCoalescer(query, concurrency=LOOKUP_CONNECTIONS, deadline_s=deadline_s)

        self.ciphers = ciphers
        self.search_tokens: TokenFactory = StoredIndexes(indexes, ciphers).search_tokens
        self.checks = checks
        self.by_number = coalesced("by_numbers", registry_queries.checked_found)
        self.by_document = coalesced("by_documents", registry_queries.checked_found)
        self.by_token = coalesced("by_tokens", registry_queries.checked_linked)
        self._pool = pool
        self._deadline_s = deadline_s

    async def prepare(self) -> None:
        """Read the changes of every certificate, so that no lookup waits for that.

        What cannot be read is left to the lookups, which refuse to answer without it.
        """
        loop = asyncio.get_running_loop()
        try:
            while self.checks.changes.is_due:
                await self._changes.read_page(loop.time() + self._deadline_s)
        except Exception as error:
            log.warning("the changes of certificates could not be read: %s", str(error).strip())

    def check_absence(self) -> None:
        """Check before it is said that nothing was found. Raises: ViewWrong."""
        registry_queries.check_absence(self.checks)

    def close(self) -> None:
        """Close the connections; pending lookups fail with an error."""
        self._pool.close()


Check = Callable[[RecordChecks, Row], Row]
"""(checks, row as stored) to the row as it is used. Raises: ViewWrong, RecordOutdated."""


class _Refresh:
    """Asks the journal for changes of certificates, once for all queries that wait for it."""

    def __init__(self, pool: QueryPool, checks: RecordChecks) -> None:
        self._pool = pool
        self._changes = checks.changes
        self._asking = asyncio.Lock()

    async def __call__(self, until: float) -> None:
        """Raises: TimeoutError, psycopg2.Error."""
        while self._changes.is_due:
            await self.read_page(until)

    async def read_page(self, until: float) -> None:
        """Ask once, if that is due. Raises: TimeoutError, psycopg2.Error."""
        async with asyncio.timeout_at(until):
            await self._asking.acquire()
        try:
            changes = self._changes
            if changes.is_due:
                asked_at = changes.clock()
                rows = await self._pool.ask("standing_changes", changes.keys(), until)
                changes.take(rows, asked_at)
        finally:
            self._asking.release()


def _checked(query: Query, check: Callable[[Row], Row], refresh: _Refresh) -> Query:
    """The query with every row checked. It fails as a whole; its keys are then asked one by one."""

    async def ask(keys: Sequence[str], until: float) -> list[Row]:
        await refresh(until)
        return [check(row) for row in await query(keys, until)]

    return ask


@dataclass(frozen=True)
class RegistryConfig:
    """What a registry client needs. algorithm: of the stored blind indexes.

    ciphers: of the epochs that there are; derived, they open nothing else.
    row_keys: that sealed the rows; derived, they seal nothing else.
    """

    dsn: str = field(repr=False)
    index_key: bytes = field(repr=False)
    ciphers: tuple[IndexCipherKey, ...]
    algorithm: str
    row_keys: tuple[bytes, ...] = field(repr=False)

    def open(self, settings: Settings, wrong: WrongViews) -> RegistryClient:
        """A client; it connects with the first query. wrong: views that are not shown."""
        pool = AsyncQueryPool(
            self.dsn,
            registry_queries.prepared(),
            size=LOOKUP_CONNECTIONS,
            name="certledger lookups",
            server_seconds=settings.deadline_s + 1,  # the client's own deadline comes first
        )
        return RegistryClient(
            pool,
            BlindIndexes(self.index_key, self.algorithm),
            GivenIndexCiphers(self.ciphers),
            RecordChecks(self.row_keys, StandingChanges(), wrong),
            deadline_s=settings.deadline_s,
        )

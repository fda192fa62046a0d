"""Access to the certificate registry for lookups, in the service or in a lookup worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from api.lookup.coalescing import Query, RequestCoalescer, Row
from api.settings import Settings
from domain.store.postgres.async_queries import AsyncQueryPool
from domain.store.privacy.blind_index import BlindIndexes
from domain.store.privacy.blind_index import SearchTokens as SearchTokens
from projections.certificate_registry import queries as registry_queries

LOOKUP_CONNECTIONS = 2
"""Database connections for lookups, and concurrent queries of each kind."""


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
    not right. row_keys: that sealed the rows.
    """

    def __init__(
        self,
        pool: QueryPool,
        search_tokens: TokenFactory,
        row_keys: Sequence[bytes],
        *,
        deadline_s: float,
    ) -> None:
        def coalesced(statement: str, check: Check) -> RequestCoalescer:
            query = _checked(partial(pool.ask, statement), partial(check, row_keys))
            return RequestCoalescer(query, concurrency=LOOKUP_CONNECTIONS, deadline_s=deadline_s)

        self.search_tokens = search_tokens
        self.row_keys = row_keys
        self.by_number = coalesced("by_numbers", registry_queries.checked_found)
        self.by_document = coalesced("by_documents", registry_queries.checked_found)
        self.by_token = coalesced("by_tokens", registry_queries.checked_linked)
        self._pool = pool

    def close(self) -> None:
        """Close the connections; pending lookups fail with an error."""
        self._pool.close()


Check = Callable[[Sequence[bytes], Row], Row]
"""(row keys, row as stored) to the row as it is used. Raises: ViewWrong."""


def _checked(query: Query, check: Callable[[Row], Row]) -> Query:
    """The query with every row checked. It fails as a whole; its keys are then asked one by one."""

    async def ask(keys: Sequence[str], until: float) -> list[Row]:
        return [check(row) for row in await query(keys, until)]

    return ask


@dataclass(frozen=True)
class RegistryConfig:
    """What a registry client needs. algorithm: of the stored blind indexes.

    row_keys: that sealed the rows; derived, they seal nothing else.
    """

    dsn: str = field(repr=False)
    index_key: bytes = field(repr=False)
    algorithm: str
    row_keys: tuple[bytes, ...] = field(repr=False)

    def open(self, settings: Settings) -> RegistryClient:
        """A client; it connects with the first query."""
        pool = AsyncQueryPool(
            self.dsn,
            registry_queries.prepared(),
            size=LOOKUP_CONNECTIONS,
            name="certledger lookups",
            server_seconds=settings.deadline_s + 1,  # the client's own deadline comes first
        )
        indexes = BlindIndexes(self.index_key, self.algorithm)
        return RegistryClient(
            pool, indexes.search_tokens, self.row_keys, deadline_s=settings.deadline_s
        )

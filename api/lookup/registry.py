"""Access to the certificate registry for lookups, in the service or in a lookup worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from api.lookup.coalescing import RequestCoalescer, Row
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

    by_number, by_document, by_token: the certificates of one key.
    """

    def __init__(self, pool: QueryPool, search_tokens: TokenFactory, *, deadline_s: float) -> None:
        def coalesced(statement: str) -> RequestCoalescer:
            query = partial(pool.ask, statement)
            return RequestCoalescer(query, concurrency=LOOKUP_CONNECTIONS, deadline_s=deadline_s)

        self.search_tokens = search_tokens
        self.by_number = coalesced("by_numbers")
        self.by_document = coalesced("by_documents")
        self.by_token = coalesced("by_tokens")
        self._pool = pool

    def close(self) -> None:
        """Close the connections; pending lookups fail with an error."""
        self._pool.close()


@dataclass(frozen=True)
class RegistryConfig:
    """What a registry client needs. algorithm: of the stored blind indexes."""

    dsn: str = field(repr=False)
    index_key: bytes = field(repr=False)
    algorithm: str

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
        return RegistryClient(pool, indexes.search_tokens, deadline_s=settings.deadline_s)

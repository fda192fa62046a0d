"""What public lookups ask of the certificate registry, in whichever process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from api.lookup.coalescing import RequestCoalescer
from api.settings import Settings
from domain.store.postgres.async_queries import AsyncQueryPool
from domain.store.privacy.blind_index import BlindIndexes
from projections.certificate_registry import queries as registry_queries

LOOKUPS_AT_ONCE = 2
"""Connections for lookups, and queries of one kind of them under way at the same time."""


class Sought(Protocol):
    """A personal text that is looked for: in it is every index that it may be stored as."""

    def __contains__(self, stored: object) -> bool: ...
    def all(self) -> tuple[str, ...]:
        """The indexes to look for."""


class RegistryClient:
    """Three questions, and how personal text is looked for.

    by_number, by_document, by_token: ask for the certificates of one key.
    sought: kind and personal text -> what it may be stored as; equal in all ledgers.
    """

    def __init__(
        self,
        lines: Any,
        sought: Callable[[str, str], Sought],
        *,
        deadline_s: float,
    ) -> None:
        """lines: asks the prepared questions, `ask(statement, keys, until)`."""

        def together(statement: str) -> RequestCoalescer:
            ask = partial(lines.ask, statement)
            return RequestCoalescer(ask, at_once=LOOKUPS_AT_ONCE, deadline_s=deadline_s)

        self.sought = sought
        self.by_number = together("by_numbers")
        self.by_document = together("by_documents")
        self.by_token = together("by_tokens")
        self._lines = lines

    def close(self) -> None:
        """Close the connections; who still waits for an answer gets an error."""
        self._lines.close()


@dataclass(frozen=True)
class RegistryConfig:
    """What it takes to ask the registry. algorithm: of the blind indexes that are stored."""

    dsn: str = field(repr=False)
    index_key: bytes = field(repr=False)
    algorithm: str

    def opened(self, settings: Settings) -> RegistryClient:
        """The registry; nothing is connected before the first question."""
        lines = AsyncQueryPool(
            self.dsn,
            registry_queries.prepared(),
            size=LOOKUPS_AT_ONCE,
            name="certledger lookups",
            server_seconds=settings.deadline_s + 1,  # we give up first
        )
        indexes = BlindIndexes(self.index_key, self.algorithm)
        return RegistryClient(lines, indexes.sought, deadline_s=settings.deadline_s)

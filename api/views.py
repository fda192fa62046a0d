"""The views as the service asks them: a runner that keeps them, connections that read them.

Queries are functions of the projections room that take a cursor; they run on the reader threads.
Waiting for a position costs no thread: it is a future of the runner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2

from api.refusals import DatabaseUnreachable, ViewBehind
from domain.ledger import Secrets
from domain.store.connection import Pool, connect
from domain.store.vault import Vault
from projections.health import ViewState
from projections.runner import Runner

T = TypeVar("T")

SCORE_BOARD = "score_board"
REFUND_LEDGER = "refund_ledger"
REGISTRY = "certificate_registry"


class Views:
    """Views of all ledgers: kept up to date in the background, asked through a few connections."""

    def __init__(self, dsn: str, secrets: Secrets, *, connections: int) -> None:
        """Make the tables that are missing and begin to follow.

        Raises: psycopg2.Error when the database can't be reached.
        """
        self._pool = Pool(lambda: connect(dsn, name="certledger api"), size=connections)
        # Blind indexes depend on the key alone, so one vault without persons serves all ledgers.
        vault = Vault(
            "", secrets.master_keys, secrets.index_key, lambda _: {}, algorithm=secrets.algorithm
        )
        self.blind_index = vault.blind_index
        self.runner = Runner(dsn, secrets)
        self.runner.start()

    def ask(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Rows of a query, blocking; its first argument is the cursor.

        Raises: DatabaseUnreachable.
        """
        try:
            found: T = self._pool.run(lambda cursor: query(cursor, *args, **kwargs))
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            raise DatabaseUnreachable() from None
        return found

    async def wait_for(
        self, view: str, ledger: str, position: int | None, timeout_s: float
    ) -> None:
        """Wait until a view has come to a position. Raises: ViewBehind."""
        if not position:
            return
        waiting = asyncio.wrap_future(self.runner.reached(ledger, view, position))
        try:
            async with asyncio.timeout(timeout_s):
                await waiting
        except TimeoutError:
            raise ViewBehind(position=position) from None

    def states(self) -> list[ViewState]:
        """Every view of every ledger; blocking. Raises: psycopg2.Error."""
        return self.runner.view_states()

    def ping(self) -> None:
        """Ask the database anything; blocking. Raises: DatabaseUnreachable."""
        self.ask(lambda cursor: cursor.execute("SELECT 1"))

    def close(self) -> None:
        """Stop following, close the connections."""
        self.runner.stop()
        self._pool.close()

"""The views as the service asks them: a process that keeps them, connections that read them.

Queries are functions of the projections room that take a cursor; they run on the reader threads.
Waiting for a position costs no thread: it is a future. What this works with is handed in by the
composition root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from api.errors.database import refusal_of
from api.errors.request import ViewBehind
from projections.catalogue import VIEWS
from projections.engine.health import ViewState, view_states
from projections.engine.progress import ProgressTracker
from projections.runner_process import RunnerProcess

T = TypeVar("T")

SCORE_BOARD = "score_board"
REFUND_LEDGER = "refund_ledger"
REGISTRY = "certificate_registry"


class Connections(Protocol):
    """A few connections for reading; `domain.store.postgres.connection.Pool` is one."""

    def run(self, work: Callable[[Any], Any]) -> Any: ...
    def close(self) -> None: ...


class ReadModels:
    """Views of all ledgers: kept up to date beside us, asked through a few connections."""

    def __init__(
        self, lookout: ProgressTracker, beside: RunnerProcess, connections: Connections
    ) -> None:
        """Take what is asked."""
        self._lookout = lookout
        self._beside = beside
        self._connections = connections

    def ask(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Rows of a query, blocking; its first argument is the cursor.

        Raises: DatabaseUnreachable, ViewBeingMade.
        """
        try:
            found: T = self._connections.run(lambda cursor: query(cursor, *args, **kwargs))
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            raise refusal from error
        return found

    async def wait_for(
        self, view: str, ledger: str, position: int | None, timeout_s: float
    ) -> None:
        """Wait until a view has come to a position. Raises: ViewBehind."""
        if not position:
            return
        waiting = asyncio.wrap_future(self._lookout.reached(ledger, view, position))
        try:
            async with asyncio.timeout(timeout_s):
                await waiting
        except TimeoutError:
            raise ViewBehind(position=position) from None

    def states(self) -> list[ViewState]:
        """Every view of every ledger; blocking. Raises: DatabaseUnreachable."""
        return self.ask(view_states, VIEWS)

    @property
    def are_kept(self) -> bool:
        """Whether the process beside us runs; while it does not, another may keep them."""
        return self._beside.pid is not None

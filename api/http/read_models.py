"""Read access to the views: queries on pooled connections, and waiting for a position.

Queries are functions of `projections` that take a cursor; they run in the reader threads. Waiting
for a position needs no thread: it is a future. The composition root passes in the parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from api.errors.database import to_http_error
from api.errors.request import ViewBehind
from projections.catalogue import VIEWS
from projections.engine.health import ViewState, view_states
from projections.engine.progress import ProgressTracker
from projections.engine.view import Cursor
from projections.engine.wrong_views import WrongViews
from projections.runner_process import RunnerProcess

T = TypeVar("T")

SCORE_BOARD = "score_board"
REFUND_LEDGER = "refund_ledger"
REGISTRY = "certificate_registry"


class Connections(Protocol):
    """A connection pool for reading; `domain.store.postgres.connection.Pool` is one."""

    def run(self, work: Callable[[Cursor], T]) -> T: ...
    def close(self) -> None: ...


class ReadModels:
    """The views of all ledgers, which the runner process keeps up to date."""

    def __init__(
        self,
        progress: ProgressTracker,
        runner: RunnerProcess,
        connections: Connections,
        wrong: WrongViews,
        row_keys: Sequence[bytes],
    ) -> None:
        """wrong: what is not shown; lookups use the same. row_keys: check the views' progress."""
        self.wrong = wrong
        self._row_keys = row_keys
        self._progress = progress
        self._runner = runner
        self._connections = connections
        self._altered: set[tuple[str, str]] = set()

    def ask(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Rows of a query, blocking; its first argument is the cursor.

        Raises: DatabaseUnreachable, ViewBeingMade.
        """
        try:
            return self._connections.run(lambda cursor: query(cursor, *args, **kwargs))
        except Exception as error:
            refusal = to_http_error(error)
            if refusal is None:
                raise
            raise refusal from error

    async def wait_for(
        self, view: str, ledger: str, position: int | None, timeout_s: float
    ) -> None:
        """Wait until a view has folded a position (read your writes).

        Raises: ViewBehind; ViewWrong if nothing of the view may be shown.
        """
        self.ensure_right(view, ledger)
        if not position:
            return
        waiting = asyncio.wrap_future(self._progress.when_reached(ledger, view, position))
        try:
            async with asyncio.timeout(timeout_s):
                await waiting
        except TimeoutError:
            raise ViewBehind(position=position) from None

    def ensure_right(self, view: str, ledger: str) -> None:
        """Raises: ViewWrong if the audit found rows of a view that its events did not make."""
        self.wrong.check(view, ledger)

    def is_wrong(self, view: str, ledger: str) -> bool:
        """Whether nothing of a view may be shown."""
        return self.wrong.concerns(view, ledger)

    def have_folded(self, ledger: str, position: int) -> bool:
        """Whether every view of a ledger has come to a position, as far as this process knows."""
        waiting = [self._progress.when_reached(ledger, view.name, position) for view in VIEWS]
        # `cancel` fails on a future that has its result.
        return not any([each.cancel() for each in waiting])

    def forget(self, ledger: str) -> None:
        """Forget how far the views of a ledger have come: its journal lost a part of it."""
        self._progress.forget(ledger)

    def states(self) -> list[ViewState]:
        """The state of every view of every ledger; blocking.

        A view whose progress was altered is not shown from then on, until it is right again.
        Raises: DatabaseUnreachable.
        """
        states: list[ViewState] = self.ask(view_states, VIEWS, self._row_keys)
        wrong = {(state.view, state.ledger) for state in states if state.is_wrong}
        for ledger in {ledger for _, ledger in wrong ^ self._altered}:
            self._progress.forget(ledger)  # it may know a position that was never reached
        self._altered = wrong
        self.wrong.set("progress", wrong)
        return states

    @property
    def runner_alive(self) -> bool:
        """Whether this service's runner process runs; without it, another service's may fold."""
        return self._runner.pid is not None

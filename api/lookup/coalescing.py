"""Coalesces concurrent lookups into one batched query.

Under load dozens of lookups arrive within the few milliseconds that one query takes. They wait for
the next query and share it, so the database gets few queries with many keys; without load a lookup
is queried immediately. Every key has its own deadline and its own result: when a query fails as a
whole, its keys are queried again one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from api.errors.database import to_http_error
from api.errors.request import ReadTimeout, ServerBusy

KEYS_MAX = 256
"""Keys of one query."""
PENDING_MAX = 4096
"""Keys that may wait for a query; further ones are refused."""

Row = tuple[Any, ...]
"""A row; its first column is the key it was found by."""
Query = Callable[[Sequence[str], float], Awaitable[list[Row]]]
"""(keys, deadline by `loop.time`) to the rows of all keys."""
Callback = Callable[[list[Row], Exception | None], None]
"""Takes the rows of a key, or the reason why there are none."""


class _Pending(NamedTuple):
    """The callers that wait for one key. deadline: of the first of them."""

    deadline: float
    callbacks: list[Callback]


class RequestCoalescer:
    """Collects keys while queries are running. Used from one event loop."""

    def __init__(
        self,
        query: Query,
        *,
        concurrency: int,
        deadline_s: float,
        pending_max: int = PENDING_MAX,
    ) -> None:
        """concurrency: queries running at the same time. deadline_s: how long a key may wait."""
        self._query = query
        self._concurrency = concurrency
        self._deadline_s = deadline_s
        self._pending_max = pending_max
        self._running = 0
        self._pending: dict[str, _Pending] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: str) -> list[Row]:
        """The rows of one key.

        Raises: ServerBusy, ReadTimeout, DatabaseUnreachable, ViewBeingMade, and what the query
            raises.
        """
        result: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()

        def resolve(rows: list[Row], failure: Exception | None) -> None:
            if result.done():  # the caller was cancelled
                return
            if failure is not None:
                result.set_exception(failure)
            else:
                result.set_result(rows)

        self.submit(key, resolve)
        return await result

    def submit(self, key: str, callback: Callback) -> None:
        """Call back with the rows of one key, never before this returns. Raises: ServerBusy."""
        pending = self._pending.get(key)
        if pending is not None:
            pending.callbacks.append(callback)
            return
        if len(self._pending) >= self._pending_max:
            raise ServerBusy()
        loop = asyncio.get_running_loop()
        self._pending[key] = _Pending(loop.time() + self._deadline_s, [callback])
        if self._running < self._concurrency:
            self._running += 1
            # The task starts after the current loop iteration, so its first query also takes the
            # other keys that arrive in this iteration.
            task = loop.create_task(self._drain())
            # The loop itself holds tasks weakly: an unreferenced one may be collected early.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        """Query batch after batch until no key is pending."""
        try:
            while self._pending:
                batch = self._pending
                if len(batch) <= KEYS_MAX:
                    self._pending = {}
                else:
                    batch = {key: batch.pop(key) for key in list(batch)[:KEYS_MAX]}
                await self._run(batch)
        finally:
            self._running -= 1

    async def _run(self, batch: dict[str, _Pending]) -> None:
        """Query one batch and resolve each of its keys, whatever happens."""
        # A dict keeps insertion order: the first key is the oldest and has the earliest deadline.
        deadline = next(iter(batch.values())).deadline
        try:
            rows = await self._query(list(batch), deadline)
        except Exception as error:
            failure = _to_http_error(error)
            if len(batch) > 1 and failure is error:
                for key, pending in batch.items():
                    await self._run({key: pending})
                return
            for pending in batch.values():
                _resolve(pending, [], failure)
            return
        by_key: dict[str, list[Row]] = {}
        for row in rows:
            by_key.setdefault(row[0], []).append(row)
        for key, pending in batch.items():
            _resolve(pending, by_key.get(key, []), None)


def _resolve(pending: _Pending, rows: list[Row], failure: Exception | None) -> None:
    for callback in pending.callbacks:
        callback(rows, failure)


def _to_http_error(error: Exception) -> Exception:
    """The refusal for a database failure; the error itself if a key of the query caused it."""
    refusal = ReadTimeout() if isinstance(error, TimeoutError) else to_http_error(error)
    if refusal is None:
        return error
    refusal.__cause__ = error
    return refusal

"""Questions that arrive together share one query.

Under load dozens of lookups come within the milliseconds that one query takes. Those that wait
are asked together with the next one, so the database sees few queries with many keys, and a single
question in quiet times is asked at once. Each has a deadline, and gets an answer of its own: a
query that fails as a whole is asked again key by key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from api.errors.database import refusal_of
from api.errors.request import ReadTimeout, ServerBusy

KEYS_MAX = 256
"""Keys of one query."""
WAITING_MAX = 4096
"""Keys that may wait; more are refused at once."""

Found = tuple[Any, ...]
"""A row; its first column is the key it answers."""
Query = Callable[[Sequence[str], float], Awaitable[list[Found]]]
"""Rows for many keys, and until when they are wanted, as of `loop.time`."""
Then = Callable[[list[Found], Exception | None], None]
"""What to do with the rows of a key, or with why there are none."""


class _Waiting(NamedTuple):
    """Those who wait for one key. until: when the first of them gives up."""

    until: float
    then: list[Then]


class RequestCoalescer:
    """Collects keys while queries are under way. Used from one event loop."""

    def __init__(self, query: Query, *, at_once: int, deadline_s: float) -> None:
        """at_once: queries under way at the same time. deadline_s: what a key may wait."""
        self._query = query
        self._at_once = at_once
        self._deadline_s = deadline_s
        self._under_way = 0
        self._waiting: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: str) -> list[Found]:
        """Rows of one key.

        Raises: ServerBusy, ReadTimeout, DatabaseUnreachable, ViewBeingMade, and what the query
            raises.
        """
        answer: asyncio.Future[list[Found]] = asyncio.get_running_loop().create_future()

        def then(rows: list[Found], failure: Exception | None) -> None:
            if answer.done():  # whoever asked is gone
                return
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(rows)

        self.tell(key, then)
        return await answer

    def tell(self, key: str, then: Then) -> None:
        """Call back with the rows of one key, never before this returns. Raises: ServerBusy."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.then.append(then)
            return
        if len(self._waiting) >= WAITING_MAX:
            raise ServerBusy()
        loop = asyncio.get_running_loop()
        self._waiting[key] = _Waiting(loop.time() + self._deadline_s, [then])
        if self._under_way < self._at_once:
            self._under_way += 1
            # Begins after everything else that came in with this key, and takes it along.
            task = loop.create_task(self._ask_all())
            # A task nobody holds may be collected before it ends.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                asked = self._waiting
                if len(asked) <= KEYS_MAX:
                    self._waiting = {}
                else:
                    asked = {key: asked.pop(key) for key in list(asked)[:KEYS_MAX]}
                await self._ask_some(asked)
        finally:
            self._under_way -= 1

    async def _ask_some(self, asked: dict[str, _Waiting]) -> None:
        """Answer these keys, all of them, whatever happens."""
        # The first in a dict is the oldest, and its deadline the first to come.
        until = next(iter(asked.values())).until
        try:
            rows = await self._query(list(asked), until)
        except Exception as error:
            failure = _refusal(error)
            if len(asked) > 1 and failure is error:
                for key, waiting in asked.items():
                    await self._ask_some({key: waiting})
                return
            for waiting in asked.values():
                _answer(waiting, [], failure)
            return
        found: dict[str, list[Found]] = {}
        for row in rows:
            found.setdefault(row[0], []).append(row)
        for key, waiting in asked.items():
            _answer(waiting, found.get(key, []), None)


def _answer(waiting: _Waiting, rows: list[Found], failure: Exception | None) -> None:
    for then in waiting.then:
        then(rows, failure)


def _refusal(error: Exception) -> Exception:
    """What callers are told when a query failed; the error itself if it is about what they ask."""
    refusal = ReadTimeout() if isinstance(error, TimeoutError) else refusal_of(error)
    if refusal is None:
        return error
    refusal.__cause__ = error
    return refusal

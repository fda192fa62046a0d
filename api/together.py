"""Questions that arrive together share one query.

Under load dozens of lookups come within the milliseconds that one query takes. Those that wait
are asked together with the next one, so the database sees few queries with many keys, and a single
question in quiet times is asked at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from api.refusals import ServerBusy
from projections.view import Row

KEYS_MAX = 256
"""Keys of one query."""
WAITING_MAX = 4096

Query = Callable[[Sequence[str]], list[Row]]
"""Rows for many keys; blocking."""


class Together:
    """Collects keys while a query is under way. Used from one event loop."""

    def __init__(
        self, query: Query, key_of: Callable[[Row], str], run: Callable[..., Any], *, at_once: int
    ) -> None:
        """query: answers many keys. key_of: the key a row answers. run: does blocking work.

        at_once: queries under way at the same time.
        """
        self._query = query
        self._key_of = key_of
        self._run = run
        self._at_once = at_once
        self._under_way = 0
        self._waiting: dict[str, list[asyncio.Future[list[Row]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: str) -> list[Row]:
        """Rows of one key. Raises: ServerBusy, and what the query raises."""
        if len(self._waiting) >= WAITING_MAX:
            raise ServerBusy()
        answer: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._under_way < self._at_once:
            self._under_way += 1
            task = asyncio.create_task(self._ask_all())
            # A task nobody holds may be collected before it ends.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                keys = list(self._waiting)[:KEYS_MAX]
                asked = {key: self._waiting.pop(key) for key in keys}
                await self._ask_some(asked)
        finally:
            self._under_way -= 1

    async def _ask_some(self, asked: dict[str, list[asyncio.Future[list[Row]]]]) -> None:
        found: dict[str, list[Row]] = defaultdict(list)
        failure: Exception | None = None
        try:
            for row in await self._run(self._query, list(asked)):
                found[self._key_of(row)].append(row)
        except Exception as error:
            failure = error
        for key, answers in asked.items():
            for answer in answers:
                if answer.done():  # whoever asked is gone
                    continue
                if failure is not None:
                    answer.set_exception(failure)
                else:
                    answer.set_result(found[key])

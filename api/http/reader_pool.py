"""The few threads that read from the database for requests.

The event loop never waits for the database itself. Reads go to a small, bounded crew: when it has
too much to do the caller hears so at once, instead of waiting in a queue that only grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from api.errors.request import ReadTimeout, ServerBusy

P = ParamSpec("P")
T = TypeVar("T")


class ReaderPool:
    """A crew of threads with a limit on what may wait for it. Used from one event loop."""

    def __init__(self, *, threads: int, queue_max: int, deadline_s: float) -> None:
        """Start nothing yet; threads begin with the first work."""
        self._crew = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._limit = threads + queue_max
        self._deadline_s = deadline_s
        self._asked = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do blocking work and come back with its result.

        Raises: ServerBusy when too many wait, ReadTimeout after the deadline, and what the
            work raises.
        """
        if self._asked >= self._limit:
            raise ServerBusy()
        self._asked += 1
        done = self._crew.submit(work, *args, **kwargs)
        loop = asyncio.get_running_loop()
        # Counted down when the work ends, not when its caller gives up: a thread that hangs in a
        # query is still taken.
        done.add_done_callback(lambda _: loop.call_soon_threadsafe(self._one_less))
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.wrap_future(done)
        except TimeoutError:
            raise ReadTimeout() from None

    def _one_less(self) -> None:
        self._asked -= 1

    @property
    def asked(self) -> int:
        """How much work is waiting or being done."""
        return self._asked

    def close(self) -> None:
        """Let the work that was begun end; drop what only waits."""
        self._crew.shutdown(wait=True, cancel_futures=True)

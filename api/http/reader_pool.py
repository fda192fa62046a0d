"""The bounded thread pool that runs blocking reads for requests.

The event loop never waits for the database. When too many reads are queued, the caller gets
ServerBusy at once instead of waiting in a queue that only grows.
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
    """A thread pool with a bounded queue. Used from one event loop."""

    def __init__(self, *, threads: int, queue_max: int, deadline_s: float) -> None:
        """Create the pool; threads start with the first call.

        deadline_s: how long a caller waits for its result, seconds, queueing included.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._limit = threads + queue_max
        self._deadline_s = deadline_s
        self._pending = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work on a thread and return its result.

        Raises: ServerBusy when the queue is full, ReadTimeout after the deadline, and what the
            work raises.
        """
        if self._pending >= self._limit:
            raise ServerBusy()
        self._pending += 1
        done = self._executor.submit(work, *args, **kwargs)
        loop = asyncio.get_running_loop()
        # Counted down when the work ends, not when its caller times out: a thread that hangs in a
        # query is still occupied.
        done.add_done_callback(lambda _: loop.call_soon_threadsafe(self._work_done))
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.wrap_future(done)
        except TimeoutError:
            raise ReadTimeout() from None

    def _work_done(self) -> None:
        self._pending -= 1

    @property
    def pending(self) -> int:
        """Calls that are queued or running."""
        return self._pending

    def close(self) -> None:
        """Finish the running calls and cancel the queued ones."""
        self._executor.shutdown(wait=True, cancel_futures=True)

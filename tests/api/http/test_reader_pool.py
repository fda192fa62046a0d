"""The reader pool: bounded, with a deadline, and never on the thread of the event loop."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from api.errors.request import ReadTimeout, ServerBusy
from api.http.reader_pool import ReaderPool


def test_work_runs_on_a_thread_of_the_pool():
    async def ask() -> int:
        readers = ReaderPool(threads=1, queue_max=1, deadline_s=5)
        try:
            return await readers.run(threading.get_ident)
        finally:
            readers.close()

    assert asyncio.run(ask()) != threading.get_ident()


def test_an_exception_of_the_work_reaches_the_caller():
    async def ask() -> None:
        readers = ReaderPool(threads=1, queue_max=1, deadline_s=5)
        try:
            await readers.run(int, "no number")
        finally:
            readers.close()

    with pytest.raises(ValueError):
        asyncio.run(ask())


def test_a_call_beyond_the_queue_limit_is_refused_at_once():
    release = threading.Event()

    async def concurrent_clients() -> list[object]:
        readers = ReaderPool(threads=1, queue_max=2, deadline_s=5)
        first = [asyncio.create_task(readers.run(release.wait, 5)) for _ in range(3)]
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        with pytest.raises(ServerBusy):
            await readers.run(release.wait, 5)
        assert time.perf_counter() - began < 0.5
        release.set()
        answers = await asyncio.gather(*first)
        assert await readers.run(len, "abc") == 3
        assert readers.pending == 0
        readers.close()
        return list(answers)

    assert asyncio.run(concurrent_clients()) == [True, True, True]


def test_a_call_past_its_deadline_is_abandoned_but_still_counted():
    release = threading.Event()

    async def ask() -> int:
        readers = ReaderPool(threads=1, queue_max=2, deadline_s=0.05)
        with pytest.raises(ReadTimeout):
            await readers.run(release.wait, 5)
        pending = readers.pending
        release.set()
        await asyncio.to_thread(readers.close)
        return pending

    assert asyncio.run(ask()) == 1

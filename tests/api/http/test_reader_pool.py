"""The crew that reads: bounded, in time, and never the event loop's own thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from api.errors.request import ReadTimeout, ServerBusy
from api.http.reader_pool import ReaderPool


def test_work_is_done_beside_the_event_loop():
    async def ask() -> int:
        readers = ReaderPool(threads=1, queue_max=1, deadline_s=5)
        try:
            return await readers.run(threading.get_ident)
        finally:
            readers.close()

    assert asyncio.run(ask()) != threading.get_ident()


def test_what_work_raises_is_raised_to_who_asked():
    async def ask() -> None:
        readers = ReaderPool(threads=1, queue_max=1, deadline_s=5)
        try:
            await readers.run(int, "no number")
        finally:
            readers.close()

    with pytest.raises(ValueError):
        asyncio.run(ask())


def test_more_than_can_wait_is_refused_at_once():
    release = threading.Event()

    async def crowd() -> list[object]:
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
        assert readers.asked == 0
        readers.close()
        return list(answers)

    assert asyncio.run(crowd()) == [True, True, True]


def test_an_answer_that_takes_too_long_is_given_up_but_still_counted():
    release = threading.Event()

    async def ask() -> int:
        readers = ReaderPool(threads=1, queue_max=2, deadline_s=0.05)
        with pytest.raises(ReadTimeout):
            await readers.run(release.wait, 5)
        held = readers.asked
        release.set()
        await asyncio.to_thread(readers.close)
        return held

    assert asyncio.run(ask()) == 1

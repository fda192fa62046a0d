"""Concurrent lookups are coalesced: shared queries, own results, one deadline.

Covers: api/lookup/coalescing.py, api/lookup/registry.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import psycopg2
import pytest

from api.errors.request import DatabaseUnreachable, ReadTimeout, ServerBusy
from api.lookup.coalescing import Query, RequestCoalescer


def coalescer(query: Query, deadline_s: float = 5, **given: Any) -> RequestCoalescer:
    return RequestCoalescer(query, concurrency=1, deadline_s=deadline_s, **given)


def test_concurrent_lookups_share_queries():
    asked: list[list[str]] = []

    async def query(keys: Sequence[str], deadline: float) -> list[tuple[str, ...]]:
        await asyncio.sleep(0.01)
        asked.append(list(keys))
        return [(key,) for key in keys if key != "none"]

    async def ask_concurrently() -> list[Any]:
        lookups = coalescer(query)
        keys = ["a", "b", "none", "a", *(f"k{n}" for n in range(50))]
        return await asyncio.gather(*(lookups.ask(key) for key in keys))

    answers = asyncio.run(ask_concurrently())
    assert answers[0] == answers[3] == [("a",)]
    assert answers[2] == []
    assert all(len(rows) == 1 for rows in answers[4:])
    assert len(asked) <= 2


def test_a_failed_batch_is_queried_again_key_by_key():
    async def query(keys: Sequence[str], deadline: float) -> list[tuple[str, ...]]:
        if "bad" in keys:
            raise ValueError("bad")
        return [(key,) for key in keys]

    async def ask_concurrently() -> list[Any]:
        lookups = coalescer(query)
        keys = ("a", "bad", "b")
        return await asyncio.gather(*(lookups.ask(key) for key in keys), return_exceptions=True)

    first, bad, last = asyncio.run(ask_concurrently())
    assert (first, last) == ([("a",)], [("b",)])
    assert isinstance(bad, ValueError)


def test_a_connection_failure_fails_the_batch_and_the_next_lookup_queries_again():
    calls = 0

    async def query(keys: Sequence[str], deadline: float) -> list[tuple[str, ...]]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise psycopg2.OperationalError("the server closed the connection")
        return [(key,) for key in keys]

    async def twice() -> tuple[list[Any], list[Any]]:
        lookups = coalescer(query)
        first = await asyncio.gather(lookups.ask("a"), lookups.ask("b"), return_exceptions=True)
        return first, await lookups.ask("a")

    first, second = asyncio.run(twice())
    assert all(isinstance(error, DatabaseUnreachable) for error in first)
    assert second == [("a",)]
    assert calls == 2


def test_a_cancelled_lookup_leaves_the_others_of_its_key_alone():
    async def query(keys: Sequence[str], deadline: float) -> list[tuple[str, ...]]:
        await asyncio.sleep(0.02)
        return [(key,) for key in keys]

    async def cancel_one() -> list[Any]:
        lookups = coalescer(query)
        cancelled = asyncio.create_task(lookups.ask("a"))
        remaining = asyncio.create_task(lookups.ask("a"))
        await asyncio.sleep(0.005)
        cancelled.cancel()
        return await remaining

    assert asyncio.run(cancel_one()) == [("a",)]


def test_the_deadline_of_a_key_includes_the_queries_it_waits_for():
    async def query(keys: Sequence[str], deadline: float) -> list[tuple[str, ...]]:
        async with asyncio.timeout_at(deadline):
            await asyncio.sleep(60)
        return []

    async def ask() -> list[float]:
        lookups = coalescer(query, deadline_s=0.2)

        async def took(key: str) -> float:
            begun = time.perf_counter()
            with pytest.raises(ReadTimeout):
                await lookups.ask(key)
            return time.perf_counter() - begun

        first = asyncio.create_task(took("a"))
        await asyncio.sleep(0.1)
        return [await took("b"), await first]

    assert all(0.15 < seconds < 0.35 for seconds in asyncio.run(ask()))


def test_keys_above_the_limit_are_refused_immediately():
    release = asyncio.Event()

    async def query(keys: Sequence[str], deadline: float) -> list[tuple[str, ...]]:
        await release.wait()
        return [(key,) for key in keys]

    async def ask_concurrently() -> list[Any]:
        lookups = coalescer(query, pending_max=2)
        first = asyncio.create_task(lookups.ask("under way"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(lookups.ask(key)) for key in ("a", "b", "a")]
        await asyncio.sleep(0)
        with pytest.raises(ServerBusy):
            await lookups.ask("c")
        release.set()
        return await asyncio.gather(first, *waiting)

    assert asyncio.run(ask_concurrently()) == [[("under way",)], [("a",)], [("b",)], [("a",)]]

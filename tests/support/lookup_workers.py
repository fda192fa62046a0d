"""A service whose connections start in a lookup worker, so that a worker sees every request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI

from api.server.connection import HttpConnection, Timeouts
from api.server.lookup_worker import answer_lookups
from api.server.lookup_worker_connection import LookupWorkerConnection
from api.server.lookup_worker_pool import LookupWorkerPool
from api.server.main import Server
from api.settings import Settings
from tests.support.service import running
from tests.support.waiting import wait_until

Running = Callable[..., AbstractContextManager[str]]
SHORT = Timeouts(head_s=0.5, body_s=0.5, keep_alive_s=0.5, write_s=0.5)


class ImmediateHandover(HttpConnection):
    """A connection that is passed to the lookup worker before its first request."""

    def connection_made(self, transport: Any) -> None:
        comes_back = self._begun is not None
        super().connection_made(transport)
        if comes_back or self._is_one_too_many:
            return
        assert self._elsewhere is not None
        [process] = self._elsewhere._processes
        if process.is_ready and process.give(transport.get_extra_info("socket").fileno()):
            transport.abort()


class ShortTimeouts(HttpConnection):
    """A connection with timeouts of half a second."""

    waits = SHORT


class ShortTimeoutsHandover(ImmediateHandover):
    """The same, passed to the lookup worker first."""

    waits = SHORT


def with_short_timeouts(server: Server, app: FastAPI) -> None:
    server.config.http = partial(ShortTimeouts, **server.config.http.keywords)  # type: ignore


def with_lookup_worker(
    server: Server, app: FastAPI, answer: Any = answer_lookups, connection: type = ImmediateHandover
) -> None:
    app.state.elsewhere = LookupWorkerPool(1, answer)
    server.config.http = partial(
        connection,
        **server.config.http.keywords | {"elsewhere": app.state.elsewhere},  # type: ignore
    )


def with_short_timeouts_and_worker(server: Server, app: FastAPI) -> None:
    with_lookup_worker(server, app, answer_with_short_timeouts, ShortTimeoutsHandover)


@contextmanager
def running_with_lookup_worker(
    settings: Settings, prepare: Any = with_lookup_worker
) -> Iterator[str]:
    """The address of such a service, once its lookup worker is ready."""
    with running(settings, prepare) as url:
        wait_for_lookup_workers(url, 1)
        yield url


def wait_for_lookup_workers(url: str, count: int) -> None:
    wait_until(lambda: lookup_workers_of(url) == count, timeout_s=60)


def lookup_workers_of(url: str) -> int:
    return int(httpx.get(f"{url}/health", trust_env=False).json()["lookup_processes"])


def answer_with_short_timeouts(*given: Any) -> None:
    """Entry point of a lookup worker with timeouts of half a second."""
    LookupWorkerConnection.waits = SHORT
    answer_lookups(*given)


def answer_until_clients_leave(*given: Any) -> None:
    """Entry point of a lookup worker that stops only when its clients have left."""
    LookupWorkerConnection.shutdown = lambda _: None  # type: ignore[method-assign]
    answer_lookups(*given)

"""A service whose connections start in a lookup worker, so that a worker sees every request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI

from api.server.connection import HttpConnection, Timeouts
from api.server.lookup_worker import run_lookup_worker
from api.server.lookup_worker_pool import SILENT_CHECKS_MAX, LookupWorkerPool
from api.server.main import Server
from api.settings import Settings
from tests.support.service import running
from tests.support.waiting import wait_until

Running = Callable[..., AbstractContextManager[str]]
SHORT = Timeouts(head_s=0.5, body_s=0.5, keep_alive_s=0.5, write_s=0.5)


class ImmediateHandover(HttpConnection):
    """A connection that is handed over to the lookup worker before its first request."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        workers = self._workers
        if self._over_connection_limit or not isinstance(workers, LookupWorkerPool):
            return
        [worker] = workers._workers
        if worker.is_ready and worker.send_socket(transport.get_extra_info("socket").fileno()):
            transport.abort()


class ShortTimeouts(HttpConnection):
    """A connection with timeouts of half a second."""

    timeouts = SHORT


class ShortTimeoutsHandover(ImmediateHandover):
    """The same, handed over to the lookup worker first."""

    timeouts = SHORT


def with_short_timeouts(server: Server, app: FastAPI) -> None:
    server.config.http = partial(ShortTimeouts, **server.config.http.keywords)  # type: ignore


def with_lookup_worker(
    server: Server,
    app: FastAPI,
    run: Callable[..., None] = run_lookup_worker,
    connection: type[HttpConnection] = ImmediateHandover,
    silent_checks_max: int = SILENT_CHECKS_MAX,
) -> None:
    pool = LookupWorkerPool(1, run, silent_checks_max=silent_checks_max)
    app.state.lookup_workers = pool
    server.config.http = partial(
        connection,
        **server.config.http.keywords | {"workers": pool},  # type: ignore
    )


def with_short_timeouts_and_worker(server: Server, app: FastAPI) -> None:
    with_lookup_worker(server, app, run_with_short_timeouts, ShortTimeoutsHandover)


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


def run_with_short_timeouts(*given: Any) -> None:
    """Entry point of a lookup worker with timeouts of half a second."""
    run_lookup_worker(*given, connection_class=ShortTimeouts)


class UntilClientLeaves(HttpConnection):
    """A connection that a stop of the server does not close."""

    def shutdown(self) -> None:
        return


def run_until_clients_leave(*given: Any) -> None:
    """Entry point of a lookup worker that stops only when its clients have left."""
    run_lookup_worker(*given, connection_class=UntilClientLeaves)

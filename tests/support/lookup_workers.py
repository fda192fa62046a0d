"""A service whose connections begin in a lookup process, so that all that is asked meets one."""

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


class AtOnce(HttpConnection):
    """A connection that goes to the lookup process before anything is asked on it."""

    def connection_made(self, transport: Any) -> None:
        comes_back = self._begun is not None
        super().connection_made(transport)
        if comes_back or self._is_one_too_many:
            return
        assert self._elsewhere is not None
        [process] = self._elsewhere._processes
        if process.is_ready and process.give(transport.get_extra_info("socket").fileno()):
            transport.abort()


class Impatient(HttpConnection):
    """A connection that waits for nobody longer than half a second."""

    waits = SHORT


class ImpatientAtOnce(AtOnce):
    """The same, that begins in the lookup process."""

    waits = SHORT


def impatient(server: Server, app: FastAPI) -> None:
    server.config.http = partial(Impatient, **server.config.http.keywords)  # type: ignore


def elsewhere_at_once(
    server: Server, app: FastAPI, answer: Any = answer_lookups, connection: type = AtOnce
) -> None:
    app.state.elsewhere = LookupWorkerPool(1, answer)
    server.config.http = partial(
        connection,
        **server.config.http.keywords | {"elsewhere": app.state.elsewhere},  # type: ignore
    )


def impatient_elsewhere(server: Server, app: FastAPI) -> None:
    elsewhere_at_once(server, app, answer_impatiently, ImpatientAtOnce)


@contextmanager
def running_elsewhere(settings: Settings, prepare: Any = elsewhere_at_once) -> Iterator[str]:
    """The address of such a service, once its lookup process is ready."""
    with running(settings, prepare) as url:
        wait_for_processes(url, 1)
        yield url


def wait_for_processes(url: str, count: int) -> None:
    wait_until(lambda: processes_of(url) == count, timeout_s=60)


def processes_of(url: str) -> int:
    return int(httpx.get(f"{url}/health", trust_env=False).json()["lookup_processes"])


def answer_impatiently(*given: Any) -> None:
    """What a lookup process runs that waits for nobody longer than half a second."""
    LookupWorkerConnection.waits = SHORT
    answer_lookups(*given)


def answer_and_stay(*given: Any) -> None:
    """What a lookup process runs that stops no sooner than its clients are gone."""
    LookupWorkerConnection.shutdown = lambda _: None  # type: ignore[method-assign]
    answer_lookups(*given)

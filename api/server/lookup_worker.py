"""A process beside the service's own that answers public lookups, and nothing else.

It gets connections through a channel (`api/server/socket_passing.py`) and hands back what it has
no answer for.
It holds neither the master key nor what signs or checks tokens. Reading order: `answer_lookups`,
`_serve`.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from email.utils import formatdate
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from api.lookup.rate_limit import RateLimiter, Unlimited
from api.lookup.registry import RegistryConfig
from api.server import socket_passing as channel
from api.server.connection import close_late
from api.server.lookup_fast_path import LookupFastPath
from api.server.lookup_worker_connection import LookupWorkerConnection
from api.server.process_setup import configure_logging, freeze_gc
from api.server.socket_passing import SocketChannel
from api.settings import Settings

GRACE_S = 20.0
"""How long requests that were begun may take once the process is to stop, seconds."""


def answer_lookups(
    connection: Connection, end: int, settings: Settings, access: RegistryConfig, limit: int | None
) -> None:
    """Answer until the caller is gone or a signal says stop.

    end: descriptor of our end of the channel. limit: of the memory of the caller's limit.
    """
    configure_logging()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(connection, end, settings, access, limit))


async def _serve(
    connection: Connection, end: int, settings: Settings, access: RegistryConfig, limit: int | None
) -> None:
    stopped = _stop_signals(connection)
    registry = access.open(settings)
    state = SimpleNamespace(
        settings=settings,
        lookup_limit=Unlimited() if limit is None else RateLimiter(file=limit),
        service=SimpleNamespace(registry=registry),
    )
    config = uvicorn.Config(_nothing, ws="none", log_config=None, server_header=False)
    config.load()
    served = ServerState()

    def make(_: bytes) -> LookupWorkerConnection:
        return LookupWorkerConnection(
            config=config,
            server_state=served,
            app_state={},
            lookups=lookups,
            settings=settings,
            channel=to_service,
        )

    lookups = LookupFastPath(state)
    told = asyncio.Event()  # that nothing more is on its way here

    def hear(kind: bytes) -> None:
        if kind in (channel.LEAVING, b""):
            told.set()

    to_service = SocketChannel(socket.socket(fileno=end), make, hear)
    freeze_gc()
    to_service.post(channel.READY)
    while not stopped.is_set():
        served.default_headers = _date()
        close_late(served.connections, asyncio.get_running_loop().time())
        to_service.post(channel.ALIVE)
        await _wait(stopped, 1)
    to_service.is_stopping = True
    to_service.post(channel.LEAVING)
    for each in list(served.connections):
        each.shutdown()
    deadline = time.monotonic() + GRACE_S
    while (
        served.connections or to_service.is_busy or not told.is_set()
    ) and time.monotonic() < deadline:
        close_late(served.connections, asyncio.get_running_loop().time())
        await asyncio.sleep(0.02)
    registry.close()


def _stop_signals(connection: Connection) -> asyncio.Event:
    """Set once the caller is gone or a signal says stop."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        loop.remove_reader(connection.fileno())
        stopped.set()

    loop.add_reader(connection.fileno(), stop)  # nothing is ever sent: it ends
    loop.add_signal_handler(signal.SIGTERM, stop)
    return stopped


async def _wait(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        pass


def _date() -> list[tuple[bytes, bytes]]:
    return [(b"date", formatdate(time.time(), usegmt=True).encode())]


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """Where the server looks for an application: no request comes that far."""

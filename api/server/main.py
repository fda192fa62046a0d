"""Starting the service for real: uvicorn with uvloop and httptools, and a stop that loses nothing.

SIGTERM and SIGINT stop new connections, finish the requests that were begun, write what was
accepted, and stop the database if we started it. A SIGKILL loses nothing that was acknowledged.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from api.app import create_app
from api.server.command_fast_path import CommandFastPath
from api.server.connection import HttpConnection, close_late
from api.server.lookup_fast_path import LookupFastPath
from api.server.lookup_worker_pool import LookupWorkerPool
from api.server.process_setup import configure_logging, freeze_gc
from api.settings import Settings

BACKLOG = 2048
FILES_BESIDE = 256
"""Files and sockets that are open beside those of connections."""
GRACE_S = 30
"""How long requests that were begun may take once the service is to stop, seconds."""


def serve(settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Serve until a signal says stop.

    ready: called once with `http://host:port` when requests are answered.
    Raises: SettingsInvalid, and OSError when the port is taken.
    """
    configure_logging()
    _allow_connections(settings.connections_max)

    def settled(url: str) -> None:
        freeze_gc()
        if ready is not None:
            ready(url)

    listening = listen(settings.host, settings.port)
    Server(create_app(settings), settled).run(sockets=[listening])


def _allow_connections(wanted: int) -> None:
    """Raise the limit of open files to what so many connections need, as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _config(app: Any) -> uvicorn.Config:
    app.state.elsewhere = LookupWorkerPool(app.state.settings.lookup_processes_wanted)
    lookups = LookupFastPath(app.state)
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=partial(
            HttpConnection,
            lookups=lookups,
            commands=CommandFastPath(app, lookups.answers),
            settings=app.state.settings,
            elsewhere=app.state.elsewhere,
        ),
        ws="none",
        lifespan="on",
        access_log=False,  # our own line knows the route and keeps addresses out
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=65_536,
    )


class Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, app: Any, ready: Callable[[str], None] | None = None) -> None:
        super().__init__(_config(app))
        self._state = app.state
        self._ready = ready or (lambda _: None)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop."""
        if counter % 10 == 0:
            close_late(self.server_state.connections, asyncio.get_running_loop().time())
            self._state.elsewhere.look()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._start_lookup_processes()
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    def _start_lookup_processes(self) -> None:
        settings: Settings = self._state.settings
        limit = self._state.lookup_limit.file
        known = (settings.without_secrets(), self._state.service.access, limit)
        self._state.elsewhere.start(self._make, known, () if limit is None else (limit,))

    def _make(self, begun: bytes) -> Any:
        """A protocol for a connection that another process hands back."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            begun=begun,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        began = time.monotonic()
        await self._state.elsewhere.stop()  # while there is still a database to ask
        self.config.timeout_graceful_shutdown = max(1, GRACE_S - int(time.monotonic() - began))
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is an error before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.set_inheritable(True)
    return listening

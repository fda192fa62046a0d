"""Starts and stops the service: uvicorn with uvloop and httptools, and the lookup workers.

SIGTERM and SIGINT refuse new connections, finish the requests in progress, record the commands that
were accepted, and stop the database if the service started it. A SIGKILL loses nothing that was
acknowledged. Reading order: `serve`, Server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from tempfile import TemporaryDirectory, gettempdir
from typing import TypedDict, cast

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.server.command_fast_path import CommandFastPath
from api.server.connection import HttpConnection, close_expired
from api.server.forwarding import ForwardedConnection
from api.server.lookup_fast_path import LookupFastPath
from api.server.lookup_worker import WorkerConfig
from api.server.lookup_worker_pool import LookupWorkerPool
from api.server.process_setup import configure_logging, freeze_gc
from api.settings import Settings

BACKLOG = 2048
FILES_RESERVED = 256
"""Files and sockets that are open in addition to those of client connections."""
GRACE_S = 30
"""How long requests in progress may take once the service has to stop, seconds."""
SOCKET_PATH_MAX = 107
"""Longest path of a Unix socket, bytes."""

log = logging.getLogger("certledger")


def serve(settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    ready: called once with `http://host:port` when requests are answered.
    Raises: SettingsInvalid, and OSError when the port is taken.
    """
    configure_logging()
    _allow_connections(settings.connections_max)

    def on_ready(url: str) -> None:
        freeze_gc()
        if ready is not None:
            ready(url)

    listening = listen(settings.host, settings.port)
    Server(create_app(settings), on_ready).run(sockets=[listening])


def _allow_connections(wanted: int) -> None:
    """Raise the limit of open files as far as so many connections need and the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class FastPaths(TypedDict):
    """The arguments that all connections of a server share."""

    lookups: LookupFastPath
    commands: CommandFastPath
    settings: Settings


class Server(uvicorn.Server):
    """The HTTP server of the main process."""

    def __init__(self, app: FastAPI, ready: Callable[[str], None] | None = None) -> None:
        """ready: see `serve`."""
        self._state = app.state
        self._settings: Settings = app.state.settings
        self._state.lookup_workers = LookupWorkerPool(self._settings.lookup_processes_wanted)
        lookups = LookupFastPath(app.state)
        self._shared: FastPaths = {
            "lookups": lookups,
            "commands": CommandFastPath(app, lookups.answers),
            "settings": self._settings,
        }
        self._ready = ready
        self._forwarded: asyncio.Server | None = None  # listens for requests of lookup workers
        self._closing = ExitStack()
        protocol = partial(HttpConnection, **self._shared, workers=self._workers)
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=cast("type[asyncio.Protocol]", protocol),
                ws="none",
                lifespan="on",
                access_log=False,  # ours names the route and leaves addresses out
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                backlog=BACKLOG,
                h11_max_incomplete_event_size=65_536,
            )
        )

    @property
    def _workers(self) -> LookupWorkerPool:
        workers: LookupWorkerPool = self._state.lookup_workers
        return workers

    async def on_tick(self, counter: int) -> bool:
        """Check deadlines and workers once a second; called ten times. Returns: whether to stop."""
        if counter % 10 == 0:
            close_expired(self.server_state.connections, asyncio.get_running_loop().time())
            self._workers.check_liveness()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then the lookup workers, and report readiness."""
        await super().startup(sockets)
        if not self.started:
            return
        if self._workers.wanted:
            try:
                await self._start_lookup_workers()
            except OSError as error:
                log.error("no lookup workers, the service answers all lookups: %s", error)
        if sockets and self._ready is not None:
            host, port = sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def _start_lookup_workers(self) -> None:
        """Listen for the requests that workers forward, and start the workers. Raises: OSError."""
        folder = self._closing.enter_context(socket_directory())
        path = os.path.join(folder, "main")
        loop = asyncio.get_running_loop()
        self._forwarded = await loop.create_unix_server(
            self._forwarded_connection, path, backlog=BACKLOG
        )
        limit_file: int | None = self._state.lookup_limit.file
        access = self._state.service.access
        self._workers.start(
            WorkerConfig(self._settings.without_secrets(), access, limit_file, path),
            self._state.service.views.wrong,
            self._state.service.registry.ciphers,
        )

    def _forwarded_connection(self) -> ForwardedConnection:
        return ForwardedConnection(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            **self._shared,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in order: new connections, lookup workers, forwarded requests, the application.

        Workers stop while the main process still answers, because their requests in progress need
        it and the database.
        """
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        began = time.monotonic()
        await self._workers.stop()
        self.config.timeout_graceful_shutdown = max(1, GRACE_S - int(time.monotonic() - began))
        if self._forwarded is not None:
            self._forwarded.close()
        await super().shutdown(sockets)
        self._closing.close()


def socket_directory() -> TemporaryDirectory[str]:
    """A directory that only this user can enter (0700), with a path short enough for a socket."""
    folder = gettempdir()
    is_long = len(os.fsencode(folder)) > SOCKET_PATH_MAX - 40
    return TemporaryDirectory(
        prefix="certledger-", dir="/tmp" if is_long else folder, ignore_cleanup_errors=True
    )


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port in use is an error before anything starts. Raises: OSError."""
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

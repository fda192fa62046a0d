"""A lookup worker: a child process that serves client connections handed over by the service.

It is the same HTTP server with the same connection class, but it accepts no connections itself: it
receives them from the main process through a socket. It answers public lookups and forwards every
other request (`api/server/forwarding.py`). It holds neither the master key nor any key that signs
or checks tokens. Reading order: `run_lookup_worker`, LookupWorker.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import orjson
import uvicorn

from api.lookup.rate_limit import RateLimiter, Unlimited
from api.lookup.registry import RegistryClient, RegistryConfig
from api.server.connection import HttpConnection, close_expired
from api.server.forwarding import ABORT, Forwarder
from api.server.lookup_fast_path import LookupFastPath
from api.server.process_setup import configure_logging, freeze_gc
from api.settings import Settings
from api.web.error_pages import render_error
from domain.store.privacy.index_ciphers import IndexCipherKey
from projections.engine.wrong_views import EVERY_LEDGER, Place, WrongViews

GRACE_S = 20
"""How long requests in progress may take once the process has to stop, seconds."""
ARRIVAL_S = 0.1
"""How long a stop waits for requests on connections that have only just arrived, seconds."""

STATUS = struct.Struct("=?Q")
"""A worker's report: whether it takes connections, and how many of those it received have ended."""


CONNECTION = b"c"
"""The message with the descriptor of a connection."""

_WRONG, _CIPHERS = b"w", b"i"
MESSAGE_BYTES_MAX = 65_536
"""Of a message from the main process."""


def wrong_message(wrong: Iterable[Place]) -> bytes:
    """The message that says which views are wrong: all of them, each time."""
    message = _WRONG + orjson.dumps(sorted(wrong))
    if len(message) > MESSAGE_BYTES_MAX:
        message = _WRONG + orjson.dumps(sorted({(view, EVERY_LEDGER) for view, _ in wrong}))
    return message


class WorkerConfig(NamedTuple):
    """What the service gives to each worker.

    settings: without secrets. limit_file: descriptor of the memory of the shared rate limiter; None
    if lookups are not limited. main_process: path of the Unix socket for forwarded requests.
    """

    settings: Settings
    registry: RegistryConfig
    limit_file: int | None
    main_process: str


def ciphers_message(keys: Iterable[IndexCipherKey]) -> bytes:
    """The message with the ciphers of the epochs that there are: all of them, each time."""
    return _CIPHERS + orjson.dumps([(epoch, key.hex()) for epoch, key in keys])


def run_lookup_worker(
    parent: Connection[Any, Any],
    channel: int,
    config: WorkerConfig,
    connection_class: type[HttpConnection] = HttpConnection,
) -> None:
    """Serve until the parent has exited or SIGTERM arrives.

    channel: descriptor of the socket on which connections arrive.
    """
    configure_logging()
    # uvicorn raises a signal again after its stop. Exiting the usual way writes the last log lines.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = config.settings
    wrong = WrongViews()
    registry = config.registry.open(settings, wrong)
    limit = Unlimited() if config.limit_file is None else RateLimiter(file=config.limit_file)
    state = SimpleNamespace(
        settings=settings, lookup_limit=limit, service=SimpleNamespace(registry=registry)
    )
    forwarder = Forwarder(config.main_process, settings, render_error)
    lookups = LookupFastPath(state)
    protocol = partial(connection_class, lookups=lookups, commands=None, settings=settings)
    server_config = uvicorn.Config(
        forwarder,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    channel_socket = socket.socket(fileno=channel)
    LookupWorker(server_config, parent, channel_socket, registry, forwarder, wrong).run([])


class LookupWorker(uvicorn.Server):
    """A server that receives its connections instead of accepting them."""

    def __init__(
        self,
        config: uvicorn.Config,
        parent: Connection[Any, Any],
        channel: socket.socket,
        registry: RegistryClient,
        forwarder: Forwarder,
        wrong: WrongViews,
    ) -> None:
        """wrong: the views that the registry does not show; the main process says which."""
        super().__init__(config)
        self._parent = parent
        self._channel = channel
        self._registry = registry
        self._forwarder = forwarder
        self._wrong = wrong
        self._ended = 0  # connections
        self._opening: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to receive connections, once lookups need not wait for what they begin with."""
        await self._registry.prepare()
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._parent.fileno(), self._on_parent_exit)  # it never sends anything
        self._channel.setblocking(False)
        loop.add_reader(self._channel.fileno(), self._receive_socket)
        freeze_gc()

    def _on_parent_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._parent.fileno())
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Check deadlines and report once a second; called ten times. Returns: whether to stop."""
        if counter % 10 == 0:
            close_expired(self.server_state.connections, asyncio.get_running_loop().time())
            self._report()
        return await super().on_tick(counter)

    def _report(self) -> None:
        """Send the status to the main process; a report that is lost is made up for by the next."""
        with suppress(OSError):  # the main process is busy, or has exited
            self._channel.send(STATUS.pack(not self.should_exit, self._ended))

    def _on_end(self) -> None:
        self._ended += 1
        self._report()

    def _receive_socket(self) -> bool:
        """Receive the next message, mostly a connection. Returns: whether there was one."""
        loop = asyncio.get_running_loop()
        try:
            message, descriptors, _, _ = socket.recv_fds(
                self._channel, MESSAGE_BYTES_MAX, 1, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError:
            message, descriptors = b"", []
        if not message:  # the main process has closed its end
            loop.remove_reader(self._channel.fileno())
            return False
        if message.startswith(_WRONG):
            self._wrong.set("service", map(tuple, orjson.loads(message[1:])))
            return True
        if message.startswith(_CIPHERS):
            keys = orjson.loads(message[1:])
            self._registry.ciphers.set([IndexCipherKey(n, bytes.fromhex(k)) for n, k in keys])
            return True
        if not descriptors:  # no descriptor was free here: the system has closed the connection
            self._on_end()
        for descriptor in descriptors:
            task = loop.create_task(self._open(descriptor))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, descriptor: int) -> None:
        """Serve a connection that was received."""
        received = socket.socket(fileno=descriptor)
        try:
            received.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, received)
        except OSError:  # the client has closed it
            received.close()
            self._on_end()

    def _protocol(self) -> HttpConnection:
        state: dict[str, Any] = {}
        make = cast("partial[HttpConnection]", self.config.http_protocol_class)
        connection = make(
            config=self.config,
            server_state=self.server_state,
            app_state=state,
            on_lost=self._on_end,
        )
        state[ABORT] = lambda: connection.transport.abort()
        return connection

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Receive the connections that are on their way, and finish the requests in progress."""
        self._channel.shutdown(socket.SHUT_RD)  # the main process can send no more
        while self._receive_socket():
            pass
        self._report()
        await asyncio.sleep(ARRIVAL_S)
        await super().shutdown(sockets)
        await self._forwarder.close()
        self._registry.close()

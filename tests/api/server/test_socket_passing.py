"""Connections on their way between processes: in order, whole, none with another's bytes."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from api.server import socket_passing as channel
from api.server.socket_passing import SocketChannel


class Taken(asyncio.Protocol):
    """A connection that has arrived; only what was read from it before is of interest."""

    def __init__(self, begun: bytes, taken: list[bytes]) -> None:
        self.begun = begun
        self.taken = taken

    def connection_made(self, transport: Any) -> None:
        self.taken.append(self.begun)
        transport.close()


def test_a_channel_that_is_full_keeps_connections_in_order_and_loses_none():
    taken: list[bytes] = []
    sent = [bytes([number % 250]) * (number * 1000) for number in range(150)]

    def make(begun: bytes) -> Taken:
        return Taken(begun, taken)

    async def pass_on() -> None:
        ours, theirs = channel.pair()
        giving = SocketChannel(ours, make, lambda _: None)
        with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
            for begun in sent:
                with socket.create_connection(server.getsockname()) as given:
                    assert giving.give(given.fileno(), begun)
        assert giving.is_busy
        taking = SocketChannel(theirs, make, lambda _: None)
        async with asyncio.timeout(20):
            while len(taken) < len(sent):
                await asyncio.sleep(0.01)
        taking.close()
        giving.close()
        with pytest.raises(OSError):
            os.fstat(ours.fileno())

    asyncio.run(pass_on())
    assert taken == sent


@pytest.mark.parametrize(
    ("fails", "is_full", "gone"),
    [
        ("dup", False, []),
        ("dup", True, []),
        ("send_fds", False, [b"g"]),
        ("send_fds", True, [b"g", b"g"]),
    ],
)
def test_a_connection_that_cannot_be_passed_on_leaves_nothing_to_the_next(
    fails: str, is_full: bool, gone: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    taken: list[bytes] = []
    heard: list[bytes] = []

    def make(begun: bytes) -> Taken:
        return Taken(begun, taken)

    def fail(*_: Any) -> None:
        raise OSError(errno.ETOOMANYREFS, "too many")

    async def pass_on() -> None:
        ours, theirs = channel.pair()
        giving = SocketChannel(ours, make, heard.append)
        with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as closing:
            lost, kept = (
                closing.enter_context(socket.create_connection(server.getsockname()))
                for _ in range(2)
            )
            while is_full and not giving.is_busy:
                giving.post(b"other")
            taking = SocketChannel(theirs, make, lambda _: None)
            with monkeypatch.context() as failing:
                failing.setattr(os if fails == "dup" else socket, fails, fail)
                assert giving.give(lost.fileno(), b"x" * 100_000) == bool(gone)
                assert not giving.give(lost.fileno(), b"") or (is_full and gone)
                while fails == "send_fds" and giving.is_busy:
                    await asyncio.sleep(0.01)
            assert giving.give(kept.fileno(), b"GET")
            async with asyncio.timeout(20):
                while not taken or len(heard) < len(gone):
                    await asyncio.sleep(0.01)
        taking.close()
        giving.close()

    asyncio.run(pass_on())
    assert taken == [b"GET"]
    assert heard == gone

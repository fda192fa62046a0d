"""A proxy in front of PostgreSQL that loses the connection exactly when a COMMIT was sent."""

import contextlib
import enum
import socket
import threading
from pathlib import Path

import psycopg2.extensions

_BLOCK = 65_536


class Cut(enum.Enum):
    """What becomes of the first message that writes events and commits."""

    AFTER_COMMIT = "the server commits, its answer is lost"
    BEFORE_COMMIT = "the message is lost, the server sees the connection close"
    BEFORE_COMMIT_UNNOTICED = "the message is lost, the server notices only after a while"


class CuttingProxy:
    """Relays everything; cuts once, then relays again unless it has to refuse."""

    def __init__(self, dsn: str, directory: Path, cut: Cut, *, refuse_afterwards: bool) -> None:
        self._target = psycopg2.extensions.parse_dsn(dsn)
        self._cut = cut
        self._refuse_afterwards = refuse_afterwards
        self._lock = threading.Lock()
        self._directory = directory
        self.has_cut = threading.Event()
        self.allow = threading.Event()
        self._answered = threading.Event()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(directory / ".s.PGSQL.5432"))
        self._server.listen(32)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def dsn(self) -> str:
        here = {"host": str(self._directory), "port": "5432"}
        return psycopg2.extensions.make_dsn(**(self._target | here))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> "CuttingProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._refuse_afterwards and self.has_cut.is_set() and not self.allow.is_set():
                client.close()
                continue
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(f"{self._target['host']}/.s.PGSQL.{self._target['port']}")
            thread = threading.Thread(target=self._relay, args=(client, upstream), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, client: socket.socket, upstream: socket.socket) -> None:
        lost = threading.Event()
        answers = threading.Thread(target=self._back, args=(upstream, client, lost), daemon=True)
        answers.start()
        with contextlib.suppress(OSError):
            self._forth(client, upstream, lost)
        for end in (client, upstream):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        answers.join(10)
        client.close()
        upstream.close()

    def _forth(self, client: socket.socket, upstream: socket.socket, lost: threading.Event) -> None:
        message = b""
        while block := client.recv(_BLOCK):
            message += block
            if b"EXECUTE certledger_events" not in message:
                upstream.sendall(message)
                message = b""
            elif message.endswith(b"; COMMIT\x00"):
                with self._lock:
                    cut_now = not self.has_cut.is_set()
                    self.has_cut.set()
                if not cut_now:
                    upstream.sendall(message)
                    message = b""
                    continue
                self._lose(client, upstream, message, lost)
                return

    def _lose(
        self,
        client: socket.socket,
        upstream: socket.socket,
        message: bytes,
        lost: threading.Event,
    ) -> None:
        lost.set()  # nothing the server says reaches the client from now on
        if self._cut is Cut.AFTER_COMMIT:
            upstream.sendall(message)
            self._answered.wait(10)
        client.shutdown(socket.SHUT_RDWR)
        if self._cut is Cut.BEFORE_COMMIT_UNNOTICED:
            # The old transaction goes on holding the head lock meanwhile.
            threading.Event().wait(1.5)

    def _back(self, upstream: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while block := upstream.recv(_BLOCK):
                if lost.is_set():
                    self._answered.set()
                else:
                    client.sendall(block)

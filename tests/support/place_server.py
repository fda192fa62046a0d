"""A place of heads that answers over HTTP, in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class PlaceServer(ThreadingHTTPServer):
    """kept: path -> note. broken: answers every request with this status instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept: dict[str, str] = {}
        self.broken: int | None = None
        self.requests = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/heads"


class _Handler(BaseHTTPRequestHandler):
    server: PlaceServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/"):
            after = int(parse_qs(url.query).get("after", ["0"])[0])
            found = [p.rpartition("/")[2] for p in self.server.kept if p.startswith(url.path)]
            self._answer(200, "".join(f"{n}\n" for n in found if int(n) > after))
        elif url.path in self.server.kept:
            self._answer(200, self.server.kept[url.path])
        else:
            self._answer(404, "")

    def do_PUT(self) -> None:
        note = self.rfile.read(int(self.headers["Content-Length"])).decode()
        kept = self.server.kept.get(self.path)
        if self.server.broken is None and kept is None:
            self.server.kept[self.path] = note
        self._answer(409 if kept is not None and kept != note else 201, "")

    def _answer(self, status: int, text: str) -> None:
        self.server.requests += 1
        body = text.encode()
        self.send_response(self.server.broken or status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def place_server() -> Iterator[PlaceServer]:
    """A running place."""
    with PlaceServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

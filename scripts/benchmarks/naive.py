"""The naive service as a process."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.benchmarks import peers
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import DATABASE

NAIVE = "naive FastAPI"


@contextmanager
def naive_service(server: Server) -> Iterator[int]:
    """Starts it; gives its port. Raises: Unavailable."""
    server.database("naive")
    process = subprocess.Popen(
        [
            *(peers.python(), str(peers.HERE / "naive_service.py")),
            *(server.socket_dir, DATABASE, "naive", "postgres"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("port "):
            raise RuntimeError("the naive service did not start")
        yield int(line.split()[1])
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()

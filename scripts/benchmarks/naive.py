"""The naive service as a process."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from api.auth.secrets import load_secrets
from api.cli.environment import settings_of
from scripts.benchmarks import peers
from scripts.benchmarks.measure import Unavailable, say
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import DATABASE

NAIVE = "naive FastAPI"
KEEPING = "naive FastAPI, pool never shrinks"
KEPT = {NAIVE: 4, KEEPING: 40}
"""Connections that the pool keeps when they come back; it gives out 40 at most."""


@contextmanager
def naive_service(server: Server, name: str = NAIVE) -> Iterator[int | None]:
    """Starts it on the tables of a service; gives its port, or None if it cannot be had.

    name: one of KEPT.
    """
    try:
        python = peers.python()
    except Unavailable as reason:
        say(f"{name} is skipped: {reason}")
        yield None
        return
    server.database("naive")
    index_key = load_secrets(settings_of(server.postgres.data_dir)).index_key
    process = subprocess.Popen(
        [
            *(python, str(peers.HERE / "naive_service.py")),
            *(server.socket_dir, DATABASE, "naive", "postgres", str(KEPT[name])),
        ],
        env=os.environ | {"INDEX_KEY": index_key.hex()},
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

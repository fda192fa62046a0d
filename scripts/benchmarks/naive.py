"""Runs the naive service as a process."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from api.app import epoch_keys_of
from api.auth.secrets import load_service_keys
from api.cli.environment import settings_of
from domain.store.privacy.cipher_suites import AES, suite_key
from domain.store.privacy.index_ciphers import index_cipher_key
from domain.store.privacy.live_epochs import live_epochs_of
from scripts.benchmarks import peer_environments as peers
from scripts.benchmarks.measure import Unavailable, say
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import DATABASE

NAIVE = "naive FastAPI"
FIXED_POOL = "naive FastAPI, pool never shrinks"
POOL_SIZES = {NAIVE: 4, FIXED_POOL: 40}
"""Connections that the pool keeps open when they are returned; its maximum is 40."""


@contextmanager
def naive_service(server: Server, name: str = NAIVE) -> Iterator[int | None]:
    """Starts it on the tables of a service; yields its port, or None if it is unavailable.

    name: one of POOL_SIZES.
    """
    try:
        python = peers.python()
    except Unavailable as reason:
        say(f"{name} is skipped: {reason}")
        yield None
        return
    server.database("naive")
    settings = settings_of(server.postgres.data_dir)
    keys = load_service_keys(settings)
    epochs = live_epochs_of(server.dsn(DATABASE), epoch_keys_of(settings, keys.master_key))
    epoch, cipher = index_cipher_key(epochs.writing)
    indexes = {
        "INDEX_KEY": keys.index_key.hex(),
        "INDEX_CIPHER": suite_key(AES, cipher).hex(),
        "INDEX_FORM": f"{AES.index_name}.{epoch}",
    }
    process = subprocess.Popen(
        [
            *(python, str(peers.HERE / "naive_service.py")),
            *(server.socket_dir, DATABASE, "naive", "postgres", str(POOL_SIZES[name])),
        ],
        env=os.environ | indexes,
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

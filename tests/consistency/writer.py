"""A process that writes to a ledger. Arguments: DSN, name, seed, rounds, file for the history.

Run with `python -m tests.consistency.writer`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from domain.store.writer.group_commit import Committer
from tests.consistency.history import Recorder
from tests.consistency.store_clients import Client, StubStateCache, run_concurrently
from tests.support.keys import journal_of


def main(dsn: str, name: str, seed: str, rounds: str, path: str) -> None:
    """Three clients of one committer."""
    journal, cache = journal_of(dsn, "omc"), StubStateCache()
    with (
        Path(path).open("wb", buffering=0) as file,
        Committer(
            journal,
            cached_version=cache.cached_version,
            apply_committed=cache.apply_committed,
            batch_max=4,
        ) as committer,
    ):
        recorder = Recorder(file)
        clients = [
            Client(f"{name}-{n}", int(seed), [(committer, cache)], journal, recorder)
            for n in range(3)
        ]
        run_concurrently(clients, int(rounds))
    journal.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A process of its own that writes to a ledger: DSN, name, seed, rounds, and where to write down.

Run with `python -m tests.consistency.writer`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from domain.store.journal.journal import Journal
from domain.store.writer.group_commit import Committer
from tests.consistency.history import Recorder
from tests.consistency.store_clients import Client, Owner, at_once


def main(dsn: str, name: str, seed: str, rounds: str, path: str) -> None:
    """Three clients of one committer."""
    journal, owner = Journal(dsn, "omc"), Owner()
    with (
        Path(path).open("wb", buffering=0) as file,
        Committer(
            journal,
            cached_version=owner.cached_version,
            apply_committed=owner.apply_committed,
            batch_max=4,
        ) as committer,
    ):
        recorder = Recorder(file)
        clients = [
            Client(f"{name}-{n}", int(seed), [(committer, owner)], journal, recorder)
            for n in range(3)
        ]
        at_once(clients, int(rounds))
    journal.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

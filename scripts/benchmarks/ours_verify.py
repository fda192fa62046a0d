"""Our client of `verify`, and the bare loop it is compared with."""

import hashlib
import json
import sys
import time

from domain.store.journal.journal import Journal
from domain.store.tlog.audit import verify
from scripts.benchmarks.server import journal_of
from scripts.benchmarks.verify import HASHES, LOOP

_IN_MEMORY = 100_000  # envelopes that are hashed repeatedly


def loop(journal: Journal, events: int) -> float:
    """Seconds that hashing `events` envelopes takes, once they are in memory."""
    envelopes = [event.envelope for event in journal.read(0, _IN_MEMORY)]
    sha256 = hashlib.sha256
    done, took = 0, 0.0
    while done < events:
        part = envelopes[: events - done]
        begun = time.perf_counter()
        for envelope in part:
            sha256(b"\0" + envelope).digest()
        took += time.perf_counter() - begun
        done += len(part)
    return took


def main() -> None:
    """Execute the order and print the sample."""
    order = json.loads(sys.argv[1])
    journal = journal_of(order["dsn"], order["ledger"])
    if order["what"] == LOOP:
        took = loop(journal, order["events"])
    else:
        begun = time.perf_counter()
        report = verify(journal, hashes_only=order["what"] == HASHES)
        took = time.perf_counter() - begun
        assert report.is_good and report.size == order["events"], report.findings
    journal.close()
    print(json.dumps({"rate": order["events"] / took}))


if __name__ == "__main__":
    main()

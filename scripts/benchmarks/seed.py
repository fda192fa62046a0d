"""Seeds journals with many events through the journal's own append."""

from scripts.benchmarks.sample import STREAM_LENGTH, append_of
from scripts.benchmarks.server import Server, journal_of

_APPENDS = 1000  # a transaction
_WRITERS = 50  # streams that grow concurrently, so that neighbours differ


def seed(server: Server, database: str, events: int, run: int = 0) -> int:
    """Append at least `events` payments as the `append` benchmark writes them.

    run: must differ between calls on the same ledger. Returns: the number of events.
    """
    journal = journal_of(server.dsn(database))
    each = -(-events // (_WRITERS * STREAM_LENGTH)) * STREAM_LENGTH
    order = [(w, n) for n in range(each) for w in range(_WRITERS)]
    for begin in range(0, len(order), _APPENDS):
        with journal.transaction() as transaction:
            transaction.append(append_of(w, n, run) for w, n in order[begin : begin + _APPENDS])
    journal.close()
    server.execute(database, "VACUUM ANALYZE")
    return len(order)

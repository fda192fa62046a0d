"""rebuild: all views made anew from the first event, beside the live ones.

Against following with a transaction for each event, which is what the stock runner does, with the
same views; and against one INSERT … SELECT that makes the registry's certificates in SQL, of which
nothing that folds in the program can be faster.
"""

import time
from itertools import count

from api.cli_store import Store
from domain.store.mapper import Entry
from projections import rebuild
from projections.runner import Runner
from projections.views import VIEWS
from projections.waiting import Lookout
from scripts.benchmarks.cohorts import cohort_store, copy
from scripts.benchmarks.measure import Comparison, Contender, Plan, Sample, compare, take_turns
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import DATABASE

EVENTS = 1_000_000
SINGLE = "a transaction an event"
SQL = "one INSERT … SELECT"

_TABLE = """DROP TABLE IF EXISTS views.bench_certificates;
CREATE TABLE views.bench_certificates (ledger text, number text, position bigint, fact jsonb,
    recorded_at timestamptz, PRIMARY KEY (ledger, number, position))"""

_INSERT = """INSERT INTO views.bench_certificates
SELECT ledger, data ->> 'number', position, data, recorded_at FROM (
    SELECT ledger, position, recorded_at,
        convert_from(envelope, 'UTF8')::jsonb -> 'data' AS data
    FROM certledger.journal WHERE topic LIKE 'certificate%' OFFSET 0) j
WHERE data ? 'number'"""


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure all three on copies of the example cohort."""
    with cohort_store(server) as (store, entries):
        copies = -(-plan.size(EVENTS) // len(entries))
        for number in range(1, copies):
            copy(store, entries, number)
        events = copies * len(entries)
        store.ensure_views()
        server.execute(DATABASE, "VACUUM ANALYZE")
        more = count(copies)
        contenders = [
            Contender("ours", lambda: _rebuilt(store)),
            Contender(SINGLE, lambda: _followed(store, entries, next(more), plan)),
            Contender(SQL, lambda: _in_sql(server)),
        ]
        samples = take_turns(contenders, plan.rounds, server.settle)
    bars = {SINGLE: ">= 150", SQL: ">= 1/3"}
    return compare("rebuild", "all views", "events/s", samples, "ours", bars, rows=events)


def _rebuilt(store: Store) -> Sample:
    begun = time.perf_counter()
    rebuild.replace(store.dsn, store.secrets)
    return {"rate": _events(store) / (time.perf_counter() - begun)}


def _events(store: Store) -> int:
    return sum(store.ledgers.get(n).journal.head().position for n in store.ledgers.names())


def _followed(store: Store, entries: list[Entry], number: int, plan: Plan) -> Sample:
    """A new ledger, followed event by event."""
    few = entries[: plan.size(100_000, least=1_000)]
    ledger = copy(store, few, number)
    runner = Runner(store.dsn, store.secrets, batch=1)
    begun = time.perf_counter()
    with runner, Lookout(store.dsn) as lookout:
        for view in VIEWS:
            lookout.wait_for(ledger.name, view.name, len(few), 600)
    return {"rate": len(few) / (time.perf_counter() - begun)}


def _in_sql(server: Server) -> Sample:
    server.execute(DATABASE, _TABLE)
    [(events,)] = server.execute(DATABASE, "SELECT count(*) FROM certledger.journal")
    begun = time.perf_counter()
    server.execute(DATABASE, _INSERT)
    return {"rate": events / (time.perf_counter() - begun)}

"""rebuild: all views rebuilt from the first event while the live ones stay in use.

Against the `eventsourcing` library's ProjectionRunner with the same views (stock_projection.py),
following from the first event; and against one INSERT … SELECT that makes the registry's table of
certificates in SQL (registry_sql.py). Every rate is events of the journal a second, whether views
handle them or not.
"""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import count

from api.cli.environment import CliEnvironment
from domain.store.mapper import JournalEntry
from projections.catalogue import VIEWS
from projections.engine.view import View
from projections.rebuild import rebuild
from scripts.benchmarks import registry_sql, stock_projection
from scripts.benchmarks.cohorts import cohort_store, copy
from scripts.benchmarks.measure import Comparison, Contender, Plan, Sample, compare, take_turns
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import DATABASE

EVENTS = 1_000_000
OURS = "ours"
STOCK = "stock ProjectionRunner"
RUNNER_PER_VIEW = "stock ProjectionRunner, one per view, with its topics"
SQL = "one INSERT … SELECT"


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure all of them on copies of the example cohort."""
    with cohort_store(server) as (store, entries):
        copies = -(-plan.size(EVENTS) // len(entries))
        for number in range(1, copies):
            copy(store, entries, number)
        store.ensure_views()
        server.execute(DATABASE, "VACUUM ANALYZE")
        more = count(copies)
        few = entries[: plan.size(100_000, least=1_000)]

        def followed(groups: Sequence[Sequence[View]], *, filtered: bool) -> Sample:
            return _followed(store, few, next(more), groups, filtered=filtered)

        contenders = [
            Contender(OURS, lambda: _rebuilt(store)),
            Contender(STOCK, lambda: followed([VIEWS], filtered=False)),
            Contender(RUNNER_PER_VIEW, lambda: followed([[view] for view in VIEWS], filtered=True)),
            Contender(SQL, lambda: _in_sql(server)),
        ]
        samples = take_turns(contenders, plan.rounds, server.settle)
    return compare(
        "rebuild",
        "all views",
        "events/s",
        samples,
        OURS,
        {STOCK: ">= 150", RUNNER_PER_VIEW: "", SQL: ">= 1/3"},
        rows=copies * len(entries),
        ledgers=copies,
        handled=_handled(entries, copies),
    )


def _handled(entries: Sequence[JournalEntry], copies: int) -> dict[str, int]:
    """How many of the events each view handles, and how many any of them does."""
    topics = Counter[str](entry.fact.TOPIC for entry in entries)  # type: ignore[attr-defined]
    views = {view.name: set(view.handles) for view in VIEWS}
    views["any"] = set().union(*views.values())
    return {
        name: copies * sum(topics[topic] for topic in handled) for name, handled in views.items()
    }


def _rebuilt(store: CliEnvironment) -> Sample:
    begun = time.perf_counter()
    rebuild.replace(store.dsn, store.secrets)
    took = time.perf_counter() - begun
    events = sum(store.ledgers.get(n).journal.head().position for n in store.ledgers.names())
    return {"rate": events / took}


def _followed(
    store: CliEnvironment,
    entries: list[JournalEntry],
    number: int,
    groups: Sequence[Sequence[View]],
    *,
    filtered: bool,
) -> Sample:
    """A new ledger, followed to its end by a runner for each group of views."""
    ledger = copy(store, entries, number)
    topics = [entry.fact.TOPIC for entry in entries]  # type: ignore[attr-defined]
    begun = time.perf_counter()
    stock_projection.follow(
        store.dsn, store.secrets, ledger.name, topics, groups, filtered=filtered
    )
    return {"rate": len(entries) / (time.perf_counter() - begun)}


def _in_sql(server: Server) -> Sample:
    registry_sql.prepare(server, DATABASE)
    [(events,)] = server.execute(DATABASE, "SELECT count(*) FROM certledger.journal")
    begun = time.perf_counter()
    registry_sql.fill(server, DATABASE)
    return {"rate": events / (time.perf_counter() - begun)}

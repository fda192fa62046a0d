"""growth: whether append and lookup latency grow with the size of the registry.

A few callers that wait for each answer, alternating between a large and a small registry. Appends
go to one of the registry's ledgers and run last, because no view could fold their events.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count

from scripts.benchmarks.http_turns import ask, lookup_client, request_file
from scripts.benchmarks.lookup import CERTIFICATES, KEYS, by_link
from scripts.benchmarks.measure import Comparison, Contender, Plan, Sample, child, ours, take_turns
from scripts.benchmarks.registry import Registries, Registry
from scripts.benchmarks.service import DATABASE, service

SMALL = 100_000
SECONDS = 5.0
CALLERS = 8

Turn = Callable[[], Sample]


def run(registries: Registries, plan: Plan) -> list[Comparison]:
    """Measure lookups on both, then appends on both."""
    large = registries.of(plan.size(CERTIFICATES))
    small = registries.of(plan.size(SMALL))
    seconds = plan.seconds(SECONDS)

    def compared(what: str, turns: dict[str, Turn], client: str) -> Comparison:
        contenders = [Contender(name, turn) for name, turn in turns.items()]
        samples = take_turns(contenders, plan.rounds, settle)
        return Comparison(
            "growth",
            f"{what} at {large.events} events, {large.certificates} certificates",
            "p50 ms",
            samples["large"],
            f"at {small.events}, {small.certificates}",
            samples["small"],
            "<= 1.2",
            key="p50_ms",
            also=large.conditions() | {"callers": CALLERS, "client": client},
        )

    def settle() -> None:
        large.server.settle()
        small.server.settle()

    both = {"large": large, "small": small}
    with ExitStack() as closing:
        lookups = {name: _lookup(one, seconds, closing) for name, one in both.items()}
        found = [compared("lookup", lookups, lookup_client())]
    appends = {name: _append(one, seconds) for name, one in both.items()}
    found.append(compared("append", appends, "Python"))
    registries.give_up()
    return found


def _lookup(registry: Registry, seconds: float, closing: ExitStack) -> Turn:
    port = closing.enter_context(service(registry.server)).port
    lookups = by_link(registry.holders(KEYS // 3))
    file = closing.enter_context(request_file(one.request for one in lookups))
    return lambda: ask(port, file, CALLERS, seconds=seconds)


def _append(registry: Registry, seconds: float) -> Turn:
    runs = count(round(time.time()) % 1_000_000)  # a reused registry contains earlier runs
    order = {
        "dsn": registry.server.dsn(DATABASE),
        "ledger": registry.ledger,
        "writers": CALLERS,
        "clients": "tasks",
        "seconds": seconds,
        "key_file": str(registry.server.postgres.data_dir / "keys" / "journal"),
    }
    return lambda: child(ours("ours_append"), {**order, "run": next(runs)})

"""growth: is an append into a long journal as quick as one into a short one?

Lookups over many certificates are compared by running `lookup` on databases of both sizes.
"""

from scripts.benchmarks.measure import Comparison, Contender, Plan, Sample, child, ours, take_turns
from scripts.benchmarks.seed import seed
from scripts.benchmarks.server import LEDGER, Server

LARGE, SMALL = 10_000_000, 100_000
SECONDS = 5.0
WRITERS = 8


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Append to both, by turns."""
    sizes = {"large": plan.size(LARGE), "small": plan.size(SMALL)}
    dsns = {name: server.ledger_database(name) for name in sizes}
    for name, size in sizes.items():
        seed(server, name, size, run=900)
    turns = dict.fromkeys(sizes, 0)

    def turn(name: str) -> Contender:
        def measure() -> Sample:
            turns[name] += 1
            order = {"dsn": dsns[name], "ledger": LEDGER, "writers": WRITERS, "clients": "tasks"}
            seconds = plan.seconds(SECONDS)
            return child(ours("ours_append"), {**order, "seconds": seconds, "run": turns[name]})

        return Contender(name, measure)

    samples = take_turns([turn(name) for name in sizes], plan.rounds, server.settle)
    case = f"append into {sizes['large']} events by {sizes['small']}"
    found = Comparison(
        "growth", case, "p50 ms", samples["large"], "the small one", samples["small"], "<= 1.2",
        key="p50_ms", also={"rows": sizes["large"], "writers": WRITERS},
    )  # fmt: skip
    return [found]

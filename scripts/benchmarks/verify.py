"""verify: the audit of a journal, against hashing the same bytes in a bare loop.

Twice: hashes and roots only, as the loop does, and the full audit, which also parses every envelope
and compares it with the columns.
"""

from scripts.benchmarks.measure import (
    Comparison,
    Contender,
    Plan,
    Sample,
    child,
    compare,
    ours,
    take_turns,
)
from scripts.benchmarks.seed import seed
from scripts.benchmarks.server import LEDGER, Server

EVENTS = 1_000_000
_LEAST = 100_000  # fewer are through before connections and statements have been set up

LOOP = "a loop of hashlib.sha256"
HASHES, WHOLE = "hashes and roots", "the whole audit"


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure both audits and the loop on one journal."""
    dsn = server.ledger_database("verified")
    events = seed(server, "verified", plan.size(EVENTS, _LEAST))

    def turn(what: str) -> Contender:
        def measure() -> Sample:
            order = {"dsn": dsn, "ledger": LEDGER, "what": what, "events": events}
            return child(ours("ours_verify"), order)

        return Contender(what, measure)

    samples = take_turns([turn(w) for w in (HASHES, LOOP, WHOLE)], plan.rounds, server.settle)
    return [
        *compare("verify", HASHES, "events/s", samples, HASHES, {LOOP: ">= 0.4"}, rows=events),
        *compare("verify", WHOLE, "events/s", samples, WHOLE, {LOOP: ""}, rows=events),
    ]

"""audit: `certledger verify` on one long ledger of journeys, against limits of time.

Twice: events, seals and heads only, and everything with lawfulness, on as many cores as there are.
"""

import time

from api.cli.environment import open_environment, settings_of
from api.cli.import_ import load_example
from domain.audit.full import audit_ledger, subject_of
from scripts.benchmarks.journeys import NAME, long_ledger
from scripts.benchmarks.measure import Comparison, Plan, Sample
from scripts.benchmarks.server import Server

EVENTS = 1_000_000
HASHES_S, WHOLE_S = 10.0, 60.0
"""Limits for EVENTS events, seconds."""


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Make the ledger, then audit it both ways."""
    with open_environment(settings_of(server.postgres.data_dir)) as store:
        load_example(store)
        long_ledger(store, plan.size(EVENTS))
        server.settle()
        found = []
        for case, hashes_only, limit in (
            ("hashes and seals", True, HASHES_S),
            ("everything, with lawfulness", False, WHOLE_S),
        ):
            samples: list[Sample] = []
            size = 0
            for _ in range(1 if plan.quick else plan.rounds):
                begun = time.perf_counter()
                report = audit_ledger(
                    subject_of(store.ledgers.get(NAME)),
                    store.blobs,
                    hashes_only=hashes_only,
                    secrets=store.secrets,
                )
                took = time.perf_counter() - begun
                assert report.is_good, [str(each) for each in report.findings[:5]]
                size = report.log.size
                samples.append({"rate": took * EVENTS / size, "took_s": took})
            name = f"limit for {EVENTS:,} events"
            limits: list[Sample] = [{"rate": limit}]
            found.append(
                Comparison("audit", case, "s", samples, name, limits, "<= 1", also={"events": size})
            )
    return found

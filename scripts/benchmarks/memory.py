"""memory: does the service grow with what it has served?"""

from contextlib import ExitStack

from scripts.benchmarks.command import Applications
from scripts.benchmarks.http_turns import request_file, send
from scripts.benchmarks.lookup import lookups
from scripts.benchmarks.measure import Comparison, Plan
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import link_tokens, service

FEW, LOOKUPS, COMMANDS = 10_000, 10_000_000, 1_000_000
CONNECTIONS = 32


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Resident memory after many requests by that after a few, of each kind."""
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        links = lookups(link_tokens(server, 100_000))
        few, many = plan.size(FEW), plan.size(LOOKUPS) // (10 if plan.quick else 1)
        commands = plan.size(COMMANDS) // (20 if plan.quick else 1)
        resident: list[dict[str, float]] = []
        for number, writes in ((few, few), (many, commands)):
            repeated = links * (number // len(links) + 1)
            with request_file(repeated[:number]) as file:
                send(running.port, file, CONNECTIONS)
            with Applications(running, writes).prepared() as file:
                send(running.port, file, CONNECTIONS)
            resident.append({"rate": running.resident_kib() / 1024})
    before, after = resident
    case = f"after {many} lookups and {commands} commands, by after {few}"
    also = {"connections": CONNECTIONS, "limit_mib": 400}
    return [
        Comparison(
            "memory", case, "MiB resident", [after], "after a few", [before], "<= 1.2", also=also
        )
    ]

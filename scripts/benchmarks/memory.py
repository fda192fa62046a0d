"""memory: whether resident memory grows with the number of served requests.

Half of the commands register persons, half open applications. Lookups use a small registry, which
the commands make grow, together with its views.
"""

from contextlib import ExitStack

from scripts.benchmarks.command import Applications
from scripts.benchmarks.http_turns import RequestFile, ask, lookup_client, request_file
from scripts.benchmarks.lookup import by_link
from scripts.benchmarks.measure import Comparison, Plan, say
from scripts.benchmarks.registry import seed
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import Service, service

FEW, LOOKUPS, COMMANDS = 10_000, 10_000_000, 1_000_000
CERTIFICATES = 100_000
CONNECTIONS = 32
PARTS, QUICK_PARTS = 20, 4
LIMIT_MIB = 400
_TURN_S = 10.0


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Resident memory after many requests of each kind, relative to that after a few."""
    registry = seed(server, plan.size(CERTIFICATES))
    few, lookups, commands = (plan.size(number) for number in (FEW, LOOKUPS, COMMANDS))
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        requests = (one.request for one in by_link(registry.holders(CERTIFICATES)))
        file = closing.enter_context(request_file(requests))

        opened = Applications(running, registry.ledger)

        def serve(lookups: int, commands: int) -> float:
            _look_up(running, file, lookups, plan)
            opened.turn(commands // 2)
            running.wait_for_views()
            return running.resident_mib()

        before = serve(few, few)
        parts = QUICK_PARTS if plan.quick else PARTS
        after = []
        for part in range(parts):
            after.append(serve(lookups // parts, commands // parts))
            say(f"{part + 1} of {parts} parts: {after[-1]:.0f} MiB")
    case = f"after {lookups} lookups and {commands} commands"
    also = {"connections": CONNECTIONS, "client": lookup_client(), "parts_mib": after}
    found = [{"rate": after[-1], "most": max(after)}]
    return [
        Comparison("memory", case, "MiB resident", found, name, [{"rate": other}], bar, also=also)
        for name, other, bar in (
            (f"after {few} of each", before, "<= 1.2"),
            ("the limit", LIMIT_MIB, "<= 1"),
        )
    ]


def _look_up(running: Service, file: RequestFile, number: int, plan: Plan) -> None:
    """At least `number` lookups, however long they take."""
    done = 0.0
    while done < number:
        done += ask(running.port, file, CONNECTIONS, seconds=plan.seconds(_TURN_S))["requests"]

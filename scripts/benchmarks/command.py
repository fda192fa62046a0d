"""command: applications opened over HTTP: validation, rules, rights, idempotency, commit.

The naive service checks as good as nothing and has no idempotency; it saves one aggregate.
"""

from contextlib import ExitStack
from itertools import count

from scripts.benchmarks.http_turns import Request, request_file, send
from scripts.benchmarks.measure import (
    Comparison,
    Contender,
    Plan,
    Sample,
    Unavailable,
    compare,
    take_turns,
)
from scripts.benchmarks.naive import NAIVE, naive_service
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import (
    COHORT_LEDGER,
    Service,
    application,
    person,
    requests,
    service,
)

CONNECTIONS = 32
COMMANDS = 20_000
NAIVE_COMMANDS = 2_000


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure both."""
    commands = plan.size(COMMANDS)
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        opened = Applications(running, commands)
        contenders = [Contender("ours", opened.turn)]
        try:
            port = closing.enter_context(naive_service(server))
        except Unavailable:
            pass
        else:
            few = plan.size(NAIVE_COMMANDS)
            contenders.append(Contender(NAIVE, lambda: _naive(port, few)))
        samples = take_turns(contenders, plan.rounds, server.settle)
    case = f"{CONNECTIONS} connections"
    return compare(
        "command", case, "commands/s", samples, "ours", {NAIVE: ">= 10"}, commands=commands
    )


class Applications:
    """Persons registered ahead, then applications opened: each person once."""

    def __init__(self, running: Service, commands: int) -> None:
        self._running = running
        self._commands = commands
        self._token = running.token("agency", "bench")
        self._turns = count(1)

    def prepared(self) -> list[Request]:
        """Registers persons; the requests that open their applications."""
        run = f"B{next(self._turns)}"
        first = int(run[1:]) * 100_000
        numbers = range(first, first + self._commands)
        base = f"/ledgers/{COHORT_LEDGER}"
        persons = requests(
            f"{base}/persons", [person(run, n) for n in numbers], self._token, f"{run}p"
        )
        with request_file(persons) as file:
            send(self._running.port, file, CONNECTIONS, expected=(201,))
        bodies = [application(run, n) for n in numbers]
        return requests(f"{base}/applications", bodies, self._token, f"{run}a")

    def turn(self) -> Sample:
        with request_file(self.prepared()) as file:
            return send(self._running.port, file, CONNECTIONS, expected=(201,))


_naive_turns = count(1)


def _naive(port: int, commands: int) -> Sample:
    run = f"N{next(_naive_turns)}"
    bodies = [application(run, n) for n in range(commands)]
    with request_file(requests("/applications", bodies, "none", run)) as file:
        return send(port, file, CONNECTIONS, expected=(201,))

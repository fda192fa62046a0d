"""command: applications opened over HTTP: validation, rules, rights, idempotency, commit.

The naive service checks as good as nothing and has no idempotency; it saves one aggregate.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

from scripts.benchmarks.http_turns import RequestFile, request_file, send
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
    commands,
    person,
    service,
)

CONNECTIONS = 32
COMMANDS = 20_000
NAIVE_COMMANDS = 2_000


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure both."""
    number = plan.size(COMMANDS)
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        opened = Applications(running, number)
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
    bars = {NAIVE: ">= 10"}
    return compare("command", case, "commands/s", samples, "ours", bars, commands=number)


class Applications:
    """Persons registered ahead, then applications opened: each person once."""

    def __init__(self, running: Service, number: int) -> None:
        self._running = running
        self._number = number
        self._token = running.token("agency", "bench")
        self._turns = count(1)

    @contextmanager
    def prepared(self) -> Iterator[RequestFile]:
        """Registers persons; the requests that open their applications."""
        run = f"B{next(self._turns)}"
        first = int(run[1:]) * 100_000
        numbers = range(first, first + self._number)
        base = f"/ledgers/{COHORT_LEDGER}"
        persons = (person(run, n) for n in numbers)
        with request_file(commands(f"{base}/persons", persons, self._token, f"{run}p")) as file:
            send(self._running.port, file, CONNECTIONS)
        opened = (application(run, n) for n in numbers)
        applications = commands(f"{base}/applications", opened, self._token, f"{run}a")
        with request_file(applications) as file:
            yield file

    def turn(self) -> Sample:
        with self.prepared() as file:
            return send(self._running.port, file, CONNECTIONS)


_naive_turns = count(1)


def _naive(port: int, number: int) -> Sample:
    run = f"N{next(_naive_turns)}"
    bodies = (application(run, n) for n in range(number))
    with request_file(commands("/applications", bodies, "none", run)) as file:
        return send(port, file, CONNECTIONS)

"""command: applications opened over HTTP: validation, rules, rights, idempotency, commit.

The naive service checks next to nothing and has no idempotency; it saves one aggregate.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from typing import Any

from scripts.benchmarks.http_turns import RequestFile, request_file, send
from scripts.benchmarks.measure import (
    Comparison,
    Contender,
    Plan,
    Sample,
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
FIRST_PERSON = 100_000  # beyond the persons already in the ledger


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure both."""
    number = plan.size(COMMANDS)
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        opened = Applications(running)
        contenders = [Contender("ours", lambda: opened.turn(number))]
        port = closing.enter_context(naive_service(server))
        if port is not None:
            few = plan.size(NAIVE_COMMANDS)
            contenders.append(Contender(NAIVE, lambda: _naive(port, few)))
        samples = take_turns(contenders, plan.rounds, server.settle)
    case = f"{CONNECTIONS} connections"
    bars = {NAIVE: ">= 10"}
    return compare("command", case, "commands/s", samples, "ours", bars, commands=number)


class Applications:
    """Registers persons in advance, then opens one application for each."""

    def __init__(self, running: Service, ledger: str = COHORT_LEDGER) -> None:
        self._running = running
        self._base = f"/ledgers/{ledger}"
        self._token = running.token("agency", "bench")
        self._turns = count(1)
        self._next = FIRST_PERSON

    @contextmanager
    def prepared(self, number: int) -> Iterator[RequestFile]:
        """Registers persons and waits for the views; yields the requests of their applications."""
        run = f"B{next(self._turns)}"
        numbers = range(self._next, self._next + number)
        self._next = numbers.stop
        persons = (person(run, n) for n in numbers)
        with self._commands("persons", persons, f"{run}p") as file:
            send(self._running.port, file, CONNECTIONS)
        self._running.wait_for_views()
        with self._commands("applications", (application(run, n) for n in numbers), run) as file:
            yield file

    def turn(self, number: int) -> Sample:
        """Two commands per person; the second one is measured."""
        with self.prepared(number) as file:
            return send(self._running.port, file, CONNECTIONS)

    def _commands(
        self, kind: str, bodies: Iterable[dict[str, Any]], prefix: str
    ) -> AbstractContextManager[RequestFile]:
        return request_file(commands(f"{self._base}/{kind}", bodies, self._token, prefix))


_naive_turns = count(1)


def _naive(port: int, number: int) -> Sample:
    run = f"N{next(_naive_turns)}"
    bodies = (application(run, n) for n in range(number))
    with request_file(commands("/applications", bodies, "none", run)) as file:
        return send(port, file, CONNECTIONS)

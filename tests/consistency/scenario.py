"""A scenario: concurrent clients on one ledger, their recorded history, and its judgement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.store.tlog.audit import verify
from tests.consistency.checker import check
from tests.consistency.concurrent_clients import RequestGenerator, prepare
from tests.consistency.database_oracle import Stored, read_stored
from tests.consistency.domain_clients import Client, Endpoint, Latest, run_concurrently
from tests.consistency.domain_reads import LEDGER, VIEWS
from tests.consistency.domain_spec import DomainSpec, Request
from tests.consistency.history import Answer, Recorder, Refused, Replayed, Saw, Wrote
from tests.consistency.journal_invariants import expect_no_violations
from tests.support.commands import document_of, name_of
from tests.support.model_results import Journey

CLIENTS = 6


class Scenario:
    """A ledger in the middle of its work, and concurrent clients of it.

    position: last of the journal before the clients start.
    """

    def __init__(self, ledger: Ledger, seed: int) -> None:
        """Bring an empty ledger to the initial state."""
        self._model = prepare(ledger)
        self._seed = seed
        self.position = ledger.journal.head().position
        self._moment = datetime.now(UTC)
        self._generator, self._latest = (
            RequestGenerator(deepcopy(self._model), seed),
            Latest(self.position),
        )
        self._runs = self._asked = 0
        self.recorder = Recorder()

    def run(self, endpoints: Sequence[Endpoint], rounds: int) -> None:
        """Run the clients until every command has a certain outcome."""
        self._runs += 1
        names = [f"c{n} of {self._runs}" for n in range(CLIENTS)]
        clients = [
            Client(name, self._seed, endpoints, self._generator, self.recorder, self._latest)
            for name in names
        ]
        run_concurrently(clients, rounds)
        assert not any(client.undecided for client in clients)

    def ask(self, endpoint: Endpoint, *requests: Request) -> list[Future[Answer]]:
        """Send a few requests without waiting, each under its own key."""
        futures = []
        for request in requests:
            self._asked += 1
            keyed = replace(request, key=f"asked {self._asked}") if not request.key else request
            end = self.recorder.begin("asker", keyed)
            futures.append(endpoint.ask(keyed))
            futures[-1].add_done_callback(lambda done, end=end: end(done.result()))
        return futures

    def new_candidate(self) -> list[Request]:
        """Requests of a new candidate: register, apply, pay."""
        return self._generator.new_candidate()

    def spec(self, stored: Stored) -> DomainSpec:
        """The specification from the initial state on; stored: the final tables."""
        model = deepcopy(self._model)
        return DomainSpec(stored, model, self.position, self._moment, LEDGER | VIEWS)

    def judge(self, dsn: str, secrets: LedgerSecrets) -> None:
        """Fail unless the history is strictly serialisable."""
        stored = read_stored(dsn, "omc")
        spec = self.spec(stored)
        expect_no_violations(check(self.recorder.operations(), stored, spec, self.position))
        ledgers = Ledgers(dsn, secrets)
        try:
            ledger = ledgers.get("omc")
            assert verify(ledger.journal).is_good
            expect_readable(ledger, spec.model(stored.position))
        finally:
            ledgers.close()

    def expect_varied_outcomes(self) -> None:
        """Fail unless the history has several outcomes of every kind."""
        kinds = Counter(type(one.answer) for one in self.recorder.operations())
        assert all(kinds[kind] > 5 for kind in (Wrote, Replayed, Refused, Saw)), kinds


def expect_readable(ledger: Ledger, model: Journey) -> None:
    """Sealed fields open without any cache, unless their person is erased."""
    for app, a in model.apps.items():
        erased = "statements" in model.persons[a["person"]]["destroyed"]
        facts = [entry.fact for entry in ledger.history(f"application-{app}")]
        [assessed] = [fact for fact in facts if hasattr(fact, "qualifications")]
        assert (assessed.qualifications is None) is erased, app
    for person, p in model.persons.items():
        if "identity" not in p["destroyed"]:
            identity = ledger.identity(person)
            assert identity.document_number == document_of(int(p["document"][1:]))
            assert identity.name == name_of(int(person[1:]))

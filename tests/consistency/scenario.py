"""A crowd gathers at the doors of a ledger; what it does is taken down, and judged in the end."""

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
from tests.consistency.concurrent_clients import Crowd, prepare
from tests.consistency.database_oracle import Stored, read_stored
from tests.consistency.domain_clients import Client, Door, Latest, at_once
from tests.consistency.domain_reads import LEDGER, VIEWS
from tests.consistency.domain_spec import DomainSpec, Wish
from tests.consistency.history import Answer, Recorder, Refused, Replayed, Saw, Wrote
from tests.consistency.journal_invariants import expect_none
from tests.support.commands import document_of, name_of
from tests.support.model_results import Journey

CLIENTS = 6


class Gathering:
    """A ledger in the middle of its work, and what a crowd does there.

    position: where the journal ended before the crowd came.
    """

    def __init__(self, ledger: Ledger, seed: int) -> None:
        """Bring the ledger, which is empty, to where the crowd meets it."""
        self._model = prepare(ledger)
        self._seed = seed
        self.position = ledger.journal.head().position
        self._moment = datetime.now(UTC)
        self._crowd, self._latest = Crowd(deepcopy(self._model), seed), Latest(self.position)
        self._gathered = self._asked = 0
        self.recorder = Recorder()

    def at(self, doors: Sequence[Door], rounds: int) -> None:
        """Let the clients ask and look, until everything they asked for is certain."""
        self._gathered += 1
        names = [f"c{n} of {self._gathered}" for n in range(CLIENTS)]
        clients = [
            Client(name, self._seed, doors, self._crowd, self.recorder, self._latest)
            for name in names
        ]
        at_once(clients, rounds)
        assert not any(client.undecided for client in clients)

    def ask(self, door: Door, *wishes: Wish) -> list[Future[Answer]]:
        """Ask for a few things right after each other, under keys of their own."""
        futures = []
        for wish in wishes:
            self._asked += 1
            keyed = replace(wish, key=f"asked {self._asked}") if not wish.key else wish
            end = self.recorder.begin("asker", keyed)
            futures.append(door.ask(keyed))
            futures[-1].add_done_callback(lambda done, end=end: end(done.result()))
        return futures

    def newcomer(self) -> list[Wish]:
        """What somebody wants who is not known yet: to register, to apply, to pay."""
        return self._crowd.newcomer()

    def spec(self, stored: Stored) -> DomainSpec:
        """What the ledger has to do from here on; stored: its tables in the end."""
        model = deepcopy(self._model)
        return DomainSpec(stored, model, self.position, self._moment, LEDGER | VIEWS)

    def judge(self, dsn: str, secrets: LedgerSecrets) -> None:
        """The history is one that the ledger may have."""
        stored = read_stored(dsn, "omc")
        spec = self.spec(stored)
        expect_none(check(self.recorder.operations(), stored, spec, self.position))
        ledgers = Ledgers(dsn, secrets)
        try:
            ledger = ledgers.get("omc")
            assert verify(ledger.journal).is_good
            expect_readable(ledger, spec.model(stored.position))
        finally:
            ledgers.close()

    def expect_busy(self) -> None:
        """It was not a dull one."""
        kinds = Counter(type(one.answer) for one in self.recorder.operations())
        assert all(kinds[kind] > 5 for kind in (Wrote, Replayed, Refused, Saw)), kinds


def expect_readable(ledger: Ledger, model: Journey) -> None:
    """What was sealed can be opened, by one who remembers nothing, unless its person is erased."""
    for app, a in model.apps.items():
        erased = model.persons[a["person"]]["erased"]
        facts = [entry.fact for entry in ledger.history(f"application-{app}")]
        [assessed] = [fact for fact in facts if hasattr(fact, "qualifications")]
        assert (assessed.qualifications is None) is erased, app
    for person, p in model.persons.items():
        if not p["erased"]:
            identity = ledger.identity(person)
            assert identity.document_number == document_of(int(p["document"][1:]))
            assert identity.name == name_of(int(person[1:]))

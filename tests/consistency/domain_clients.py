"""Clients of a ledger or of a service: generated commands, reads, and retries until certain.

Clients call an `Endpoint`: `tests.consistency.clients` has one for a ledger and one for a service.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from tests.consistency.concurrent_clients import RequestGenerator
from tests.consistency.domain_reads import LEDGER, PAGE, VIEWS
from tests.consistency.domain_spec import Read, Request
from tests.consistency.history import (
    Answer,
    NotDone,
    Recorder,
    Replayed,
    Saw,
    Shown,
    Unknown,
    Wrote,
)

TRIES = 200
PAUSE_S = 0.1
WAIT_S = 100
"""Longest time to wait for an answer."""


class Endpoint(Protocol):
    """What clients call; used by many threads."""

    views: bool

    def ask(self, request: Request) -> Future[Answer]:
        """Send a command."""
        ...

    def read(self, read: Read, min_position: int) -> Answer:
        """Execute a read. Returns: Saw, Shown or NotDone."""
        ...


class Latest:
    """The newest position in any answer. Thread-safe."""

    def __init__(self, position: int) -> None:
        self._position = position
        self._lock = threading.Lock()

    def note(self, position: int) -> None:
        with self._lock:
            self._position = max(self._position, position)

    @property
    def position(self) -> int:
        return self._position


class Client:
    """Sends commands and reads, each round to one endpoint or to two at the same time."""

    def __init__(
        self,
        name: str,
        seed: int,
        endpoints: Sequence[Endpoint],
        generator: RequestGenerator,
        recorder: Recorder,
        latest: Latest,
    ) -> None:
        self._name = name
        self._rng = random.Random(f"{name} {seed}")
        self._endpoints = endpoints
        self._generator = generator
        self._recorder = recorder
        self._latest = latest
        self._newest = 0  # position in the answers to this client
        self._keys = 0
        self.undecided = 0

    def work(self, rounds: int) -> None:
        """Send commands, read, and repeat commands without a certain outcome."""
        for _ in range(rounds):
            for request, answer in self._burst():
                self._settle(request, answer)
            for _ in range(self._rng.randint(1, 3)):
                self._read()

    def _burst(self) -> list[tuple[Request, Answer]]:
        rng = self._rng
        asked: list[tuple[Request, Future[Answer]]] = []
        endpoint = rng.choice(self._endpoints)
        for request in self._generator.draw(rng):
            self._keys += 1
            keyed = replace(request, key=f"{self._name} {self._keys}")
            asked.append((keyed, self._ask(endpoint, keyed)))
            if rng.random() < 0.25:  # the same again without waiting, maybe to another endpoint
                asked.append((keyed, self._ask(rng.choice(self._endpoints), keyed)))
            elif rng.random() < 0.05:  # another request under that key
                other = replace(rng.choice(self._generator.draw(rng)), key=keyed.key)
                if other.by[0] == keyed.by[0]:
                    asked.append((other, self._ask(endpoint, other)))
        return [(request, answer.result(WAIT_S)) for request, answer in asked]

    def _ask(self, endpoint: Endpoint, request: Request) -> Future[Answer]:
        end = self._recorder.begin(self._name, request)
        future = endpoint.ask(request)
        future.add_done_callback(lambda done: end(done.result()))
        return future

    def _settle(self, request: Request, answer: Answer) -> None:
        for _ in range(TRIES):
            if not isinstance(answer, Unknown | NotDone):
                break
            time.sleep(self._rng.uniform(0, PAUSE_S))
            answer = self._ask(self._rng.choice(self._endpoints), request).result(WAIT_S)
        else:
            self.undecided += 1
        if isinstance(answer, Wrote | Replayed):
            self._generator.apply(request)
            self._note(answer.receipt["last_position"])

    def _note(self, position: int) -> None:
        self._newest = max(self._newest, position)
        self._latest.note(position)

    def _read(self) -> None:
        rng = self._rng
        endpoint = rng.choice(self._endpoints)
        names = sorted(LEDGER | VIEWS) if endpoint.views else sorted(LEDGER)
        what = rng.choice(names)
        of = "" if what in ("events", "totals", "notices", "statistics") else self._of(what)
        after = max(0, self._latest.position - PAGE // 2) if what == "events" else 0
        read = Read(what, of, after)
        # What this client has read; what any client has read; or no minimum.
        least = rng.choice((self._newest, self._newest, self._latest.position, 0))
        min_position = least if what in VIEWS else 0
        answer = self._recorder.run(self._name, read, lambda: endpoint.read(read, min_position))
        if isinstance(answer, Shown | Saw):
            self._note(newest_in(what, answer.what))

    def _of(self, what: str) -> str:
        return self._generator.known(self._rng, what)


def newest_in(what: str, shown: object) -> int:
    """The newest position that an answer carries; 0 if it carries none."""
    if what == "events":
        return max((position for position, _ in shown), default=0)
    if what == "refunds":
        return max((row[-1] for row in shown), default=0)
    if what == "payments":
        return max((position for position, _ in shown[0]), default=0)
    return max(shown or [0]) if what == "steps" else 0


def run_concurrently(clients: Sequence[Client], rounds: int) -> None:
    """Run all clients, each in its own thread. Raises: what one of them raised."""
    with ThreadPoolExecutor(len(clients)) as pool:
        for done in [pool.submit(client.work, rounds) for client in clients]:
            done.result()

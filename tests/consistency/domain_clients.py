"""Clients of a ledger or of a service: wishes of a crowd, reads, and the same again until certain.

A `Door` is where they ask: `tests.consistency.clients` has one on a ledger and one on a service.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from tests.consistency.concurrent_clients import Crowd
from tests.consistency.domain_reads import LEDGER, PAGE, VIEWS
from tests.consistency.domain_spec import Read, Wish
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
"""After so long an answer is taken never to come."""


class Door(Protocol):
    """Where clients ask; used by many threads."""

    views: bool

    def ask(self, wish: Wish) -> Future[Answer]:
        """Ask for something to happen."""
        ...

    def read(self, read: Read, min_position: int) -> Answer:
        """Look at something; Saw, Shown or NotDone."""
        ...


class Latest:
    """The newest position that anybody was told of. Thread-safe."""

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
    """One who asks and looks, each round at one of the doors or at two at once."""

    def __init__(
        self,
        name: str,
        seed: int,
        doors: Sequence[Door],
        crowd: Crowd,
        recorder: Recorder,
        latest: Latest,
    ) -> None:
        self._name = name
        self._dice = random.Random(f"{name} {seed}")
        self._doors = doors
        self._crowd = crowd
        self._recorder = recorder
        self._latest = latest
        self._seen = 0  # the newest position this client knows of
        self._keys = 0
        self.undecided = 0

    def work(self, rounds: int) -> None:
        """Ask, look, and ask again what is not certain."""
        for _ in range(rounds):
            for wish, answer in self._burst():
                self._settle(wish, answer)
            for _ in range(self._dice.randint(1, 3)):
                self._look()

    def _burst(self) -> list[tuple[Wish, Answer]]:
        dice = self._dice
        asked: list[tuple[Wish, Future[Answer]]] = []
        door = dice.choice(self._doors)
        for wish in self._crowd.draw(dice):
            self._keys += 1
            keyed = replace(wish, key=f"{self._name} {self._keys}")
            asked.append((keyed, self._ask(door, keyed)))
            if dice.random() < 0.25:  # the same again at once, maybe through another door
                asked.append((keyed, self._ask(dice.choice(self._doors), keyed)))
            elif dice.random() < 0.05:  # another wish under that key
                other = replace(dice.choice(self._crowd.draw(dice)), key=keyed.key)
                if other.by[0] == keyed.by[0]:
                    asked.append((other, self._ask(door, other)))
        return [(wish, answer.result(WAIT_S)) for wish, answer in asked]

    def _ask(self, door: Door, wish: Wish) -> Future[Answer]:
        end = self._recorder.begin(self._name, wish)
        future = door.ask(wish)
        future.add_done_callback(lambda done: end(done.result()))
        return future

    def _settle(self, wish: Wish, answer: Answer) -> None:
        for _ in range(TRIES):
            if not isinstance(answer, Unknown | NotDone):
                break
            time.sleep(self._dice.uniform(0, PAUSE_S))
            answer = self._ask(self._dice.choice(self._doors), wish).result(WAIT_S)
        else:
            self.undecided += 1
        if isinstance(answer, Wrote | Replayed):
            self._crowd.learn(wish)
            self._note(answer.receipt["last_position"])

    def _note(self, position: int) -> None:
        self._seen = max(self._seen, position)
        self._latest.note(position)

    def _look(self) -> None:
        dice = self._dice
        door = dice.choice(self._doors)
        names = sorted(LEDGER | VIEWS) if door.views else sorted(LEDGER)
        what = dice.choice(names)
        of = "" if what in ("events", "totals", "notices", "statistics") else self._of(what)
        after = max(0, self._latest.position - PAGE // 2) if what == "events" else 0
        read = Read(what, of, after)
        # What this client knows of; what anybody knows of; or whatever there is.
        least = dice.choice((self._seen, self._seen, self._latest.position, 0))
        min_position = least if what in VIEWS else 0
        answer = self._recorder.run(self._name, read, lambda: door.read(read, min_position))
        if isinstance(answer, Shown | Saw):
            self._note(newest_in(what, answer.what))

    def _of(self, what: str) -> str:
        return self._crowd.known(self._dice, what)


def newest_in(what: str, shown: object) -> int:
    """The newest position that an answer carries; 0 if it carries none."""
    if what == "events":
        return max((position for position, _ in shown), default=0)
    if what == "refunds":
        return max((row[-1] for row in shown), default=0)
    if what == "payments":
        return max((position for position, _ in shown[0]), default=0)
    return max(shown or [0]) if what == "steps" else 0


def at_once(clients: Sequence[Client], rounds: int) -> None:
    """Let them all work, each in a thread of its own. Raises: what one of them raised."""
    with ThreadPoolExecutor(len(clients)) as pool:
        for done in [pool.submit(client.work, rounds) for client in clients]:
            done.result()

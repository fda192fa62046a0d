"""What clients asked a ledger for and what they were told, each with its two moments.

A history is a list of operations. The checker knows nothing but it and the journal as it stands
in the end, so everything that a caller was told is kept as it was told. Times are nanoseconds of
the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_SHOWN = 1000
"""Characters of an operation that are shown."""

# --- what a client can be told --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wrote:
    """It was recorded just now. events: as told, where the caller is shown them."""

    receipt: Any
    events: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """It had been recorded before, under the same key. known: what else is told of it."""

    receipt: Any
    known: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The ledger as it stands forbids it, and nothing was recorded."""

    code: str
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotDone:
    """Nothing was recorded, for a reason that says nothing of the ledger."""

    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows what became of it."""

    why: str


@dataclass(frozen=True, slots=True)
class Saw:
    """A read of the ledger itself: what stood there at some moment between question and answer."""

    what: Any


@dataclass(frozen=True, slots=True)
class Shown:
    """A read of a view, which may be behind, but not behind the position that was asked for."""

    what: Any
    min_position: int = 0


Answer = Wrote | Replayed | Refused | NotDone | Unknown | Saw | Shown


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One thing that a client did. returned: None if no answer ever came."""

    client: str
    asked: Any
    invoked: int
    returned: int | None
    answer: Answer

    def __str__(self) -> str:
        return f"{self.client} asked {self.asked} and was told {self.answer}"[:_SHOWN]


# --- writing it down ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    client: str
    asked: Any
    invoked: int
    returned: int | None = None
    answer: Answer = field(default_factory=lambda: Unknown("no answer ever came"))


class Recorder:
    """Takes down operations as they begin and end. Thread-safe."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        """file: where each half goes at once, unbuffered, so that it outlives a killed process."""
        self._operations: list[_Open] = []
        self._lock = threading.Lock()
        self._file = file

    def begin(self, client: str, asked: Any) -> Callable[[Answer], None]:
        """Note that something is asked now; call what is returned when the answer is there."""
        opened = _Open(client, asked, time.monotonic_ns())
        with self._lock:
            number = len(self._operations)
            self._operations.append(opened)
            self._keep((number, client, asked, opened.invoked))

        def end(answer: Answer) -> None:
            returned = time.monotonic_ns()
            with self._lock:
                opened.returned, opened.answer = returned, answer
                self._keep((number, returned, answer))

        return end

    def run(self, client: str, asked: Any, work: Callable[[], Answer]) -> Answer:
        """Do something from beginning to end."""
        end = self.begin(client, asked)
        answer = work()
        end(answer)
        return answer

    @property
    def count(self) -> int:
        """How many operations have begun."""
        return len(self._operations)

    def operations(self) -> list[Operation]:
        """Everything so far."""
        with self._lock:
            return [
                Operation(one.client, one.asked, one.invoked, one.returned, one.answer)
                for one in self._operations
            ]

    def _keep(self, half: tuple[Any, ...]) -> None:
        if self._file is not None:
            self._file.write(pickle.dumps(half))


def read_back(path: Path) -> list[Operation]:
    """The operations of a recorder's file, also of one that ends in the middle of a word."""
    begun: dict[int, _Open] = {}
    with path.open("rb") as file:
        while True:
            try:
                number, *half = pickle.load(file)
            except (EOFError, pickle.UnpicklingError):
                break
            if len(half) == 3:
                begun[number] = _Open(*half)
            else:
                begun[number].returned, begun[number].answer = half
    return [
        Operation(one.client, one.asked, one.invoked, one.returned, one.answer)
        for one in begun.values()
    ]

"""Histories: the operations of clients with their invocation, return and answer.

The checker gets nothing but the history and the final journal, so the recorder stores every answer
unchanged. Times are nanoseconds of the machine's monotonic clock, which all its processes share.
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

# --- answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wrote:
    """Recorded now. events: as answered, where the caller gets them."""

    receipt: Any
    events: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """Recorded before, under the same key. known: other fields of the answer."""

    receipt: Any
    known: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The current state forbids it; nothing was recorded."""

    code: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotDone:
    """Nothing was recorded, for a reason unrelated to the state."""

    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The outcome is unknown."""

    why: str


@dataclass(frozen=True, slots=True)
class Saw:
    """A read of the ledger itself: its state at some moment between invocation and return."""

    what: Any


@dataclass(frozen=True, slots=True)
class Shown:
    """A read of a view, which may lag, but not behind the requested position."""

    what: Any
    min_position: int = 0


Answer = Wrote | Replayed | Refused | NotDone | Unknown | Saw | Shown


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of a client. returned: None if no answer came."""

    client: str
    asked: Any
    invoked: int
    returned: int | None
    answer: Answer

    def __str__(self) -> str:
        return f"{self.client} asked {self.asked} and got {self.answer}"[:_SHOWN]


# --- recording ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    client: str
    asked: Any
    invoked: int
    returned: int | None = None
    answer: Answer = field(default_factory=lambda: Unknown("no answer came"))


class Recorder:
    """Records operations as they begin and end. Thread-safe."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        """file: gets each half at once, unbuffered, so that it survives a killed process."""
        self._operations: list[_Open] = []
        self._lock = threading.Lock()
        self._file = file

    def begin(self, client: str, asked: Any) -> Callable[[Answer], None]:
        """Record an invocation now. Returns: a function to call with the answer."""
        opened = _Open(client, asked, time.monotonic_ns())
        with self._lock:
            number = len(self._operations)
            self._operations.append(opened)
            self._write((number, client, asked, opened.invoked))

        def end(answer: Answer) -> None:
            returned = time.monotonic_ns()
            with self._lock:
                opened.returned, opened.answer = returned, answer
                self._write((number, returned, answer))

        return end

    def run(self, client: str, asked: Any, work: Callable[[], Answer]) -> Answer:
        """Record a whole operation."""
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

    def _write(self, half: tuple[Any, ...]) -> None:
        if self._file is not None:
            self._file.write(pickle.dumps(half))


def read_back(path: Path) -> list[Operation]:
    """The operations of a recorder's file, which may end in the middle of a record."""
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

"""Checks that a recorded history is strictly serialisable.

The journal gives the order: positions are dense and assigned one by one, so no search for an order
is needed. The checker decides exactly:

- acknowledged writes are recorded once, complete and as answered; refused ones are not; unknown
  ones are recorded completely or not at all;
- each command was executed on the state before its first event, with the right result;
- an operation that returned before another was invoked precedes it (`_Timeline`);
- operations that wrote nothing (refusals, replays, reads) have a point between invocation and
  return where their answer is right;
- a view shows a state not older than the requested position and not newer than its return.

A `Spec`, a model of a few lines, defines right results and answers. Neither the checker nor the
models use code of the program under test.
Reading order: Spec, check, _attribute, _Timeline, _views.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from tests.consistency.database_oracle import Event, Stored
from tests.consistency.history import Operation, Refused, Replayed, Saw, Shown, Unknown, Wrote
from tests.consistency.journal_invariants import Violation, structure


class Spec(Protocol):
    """The sequential specification of the ledger, one command after the other."""

    def name_of(self, asked: Any) -> Hashable | None:
        """Identifies the events of a request; None if it writes nothing."""
        ...

    def name_of_event(self, event: Event) -> Hashable:
        """The name of the request that an event came of."""
        ...

    def request_of(self, asked: Any) -> Hashable:
        """The request under that name, where several may share it."""
        ...

    def take(self, asked: Any, events: Sequence[Event]) -> str | None:
        """Apply one command. Returns: why it cannot lead to these events; then nothing changed."""
        ...

    def answer_error(self, operation: Operation, events: Sequence[Event]) -> str | None:
        """What in the answer of a write differs from its events; None if nothing."""
        ...

    def agrees(self, operation: Operation, position: int) -> bool:
        """Whether an answer that writes nothing is right in the state after a position."""
        ...

    def shows(self, operation: Operation, position: int) -> bool:
        """Whether a view that has folded this position shows what was answered."""
        ...

    def final(self, stored: Stored) -> Iterable[Violation]:
        """Differences between the other tables and the specification."""
        ...


@dataclass(frozen=True, slots=True)
class Write:
    """The events of one command in the journal, and the operation that wrote them."""

    events: tuple[Event, ...]
    operation: Operation

    @property
    def first(self) -> int:
        return self.events[0].position

    @property
    def last(self) -> int:
        return self.events[-1].position


def check(
    operations: Sequence[Operation], stored: Stored, spec: Spec, base: int = 0
) -> list[Violation]:
    """All violations in a history.

    base: position up to which the journal was written before the history began.
    """
    found = structure(stored)
    if found:
        return found  # without an order there is nothing to compare with
    writes, found = _attribute(operations, stored, spec, base)
    boundaries = [base, *(write.last for write in writes)]
    timeline = _Timeline(writes, boundaries, spec)
    found += timeline.check(operations)
    found += _views(operations, timeline, spec)
    found += spec.final(stored)
    return found


# --- which operation wrote which events -----------------------------------------------------------


def _attribute(
    operations: Sequence[Operation], stored: Stored, spec: Spec, base: int
) -> tuple[list[Write], list[Violation]]:
    """Match the journal, command by command, with requests and answers."""
    attempts: dict[Hashable, list[Operation]] = {}
    for operation in sorted(operations, key=lambda each: each.invoked):
        name = spec.name_of(operation.asked)
        if name is not None:
            attempts.setdefault(name, []).append(operation)
    writes: list[Write] = []
    found: list[Violation] = []
    runs: dict[Hashable, tuple[Event, ...]] = {}
    events = [event for event in stored.events if event.position > base]
    for name, group in groupby(events, key=spec.name_of_event):
        run = tuple(group)
        if name in runs:
            found.append(Violation("duplicate append", f"{name} is repeated at {_places(run)}"))
            continue
        runs[name] = run
        write, wrong = _writer(attempts.get(name, []), run, spec)
        found += wrong
        if write is not None:
            writes.append(write)
    for name, tries in attempts.items():
        found += _acknowledged(name, tries, runs.get(name), spec)
    return writes, found


def _writer(
    attempts: Sequence[Operation], run: tuple[Event, ...], spec: Spec
) -> tuple[Write | None, list[Violation]]:
    """Which of the attempts wrote these events: the acknowledged one, or else the earliest that may
    have and that the events fit. An attempt answered with a replay may have: a writer that lost its
    connection retries, and finds its own write."""
    if not attempts:
        return None, [Violation("event from nobody", f"{_places(run)}: {run[0].topic}")]
    new = [one for one in attempts if isinstance(one.answer, Wrote)]
    candidates = new or [one for one in attempts if isinstance(one.answer, Unknown | Replayed)]
    again = {spec.request_of(one.asked) for one in attempts if isinstance(one.answer, Replayed)}
    if again:  # then it is known which request it was
        candidates = [one for one in candidates if spec.request_of(one.asked) in again]
    if not candidates:
        answers = [one.answer for one in attempts]
        detail = f"{_places(run)}: {attempts[0]}; the answers were {answers}"
        return None, [Violation("refused, but recorded", detail)]
    reasons = []
    for one in candidates:
        reason = spec.take(one.asked, run)
        if reason is None:
            return Write(run, one), []
        reasons.append(reason)
    wrong = Violation("decided wrongly", f"{_places(run)}: {candidates[0]}: {reasons[0]}")
    return Write(run, candidates[0]), [wrong]


def _acknowledged(
    name: Hashable, attempts: Sequence[Operation], run: tuple[Event, ...] | None, spec: Spec
) -> Iterable[Violation]:
    """Acknowledged writes are recorded as answered, and acknowledged once as new."""
    acknowledged = [one for one in attempts if isinstance(one.answer, Wrote)]
    if len(acknowledged) > 1:
        yield Violation("accepted twice", f"{name}: {acknowledged[0]}; {acknowledged[1]}")
    for one in acknowledged:
        if run is None:
            yield Violation("lost append", str(one))
        elif (reason := spec.answer_error(one, run)) is not None:
            yield Violation("wrong answer", f"{_places(run)}: {one}: {reason}")


def _places(events: Sequence[Event]) -> str:
    return f"{events[0].position}..{events[-1].position}"


# --- the real-time order --------------------------------------------------------------------------


class _Timeline:
    """Linearization points for all operations, in the order of the journal and of the clock.

    Takes operations in order of invocation and puts each at the earliest position where its answer
    is right, and not before any operation that had returned by then. One operation bounds another
    only from below, so if the earliest positions do not fit, no others do.
    """

    def __init__(self, writes: Sequence[Write], boundaries: Sequence[int], spec: Spec) -> None:
        self._written = {write.operation: write for write in writes}
        self._boundaries = sorted(boundaries)
        self._spec = spec
        begun = sorted((write.operation.invoked, write.first) for write in writes)
        self._begun = [invoked for invoked, _ in begun]
        # The smallest position of the writes invoked later than a moment.
        self._first = [2**63] * (len(begun) + 1)
        for place in reversed(range(len(begun))):
            self._first[place] = min(begun[place][1], self._first[place + 1])

    def newest(self, moment: int | None) -> int:
        """The last position that can have existed at a moment: later requests cannot."""
        if moment is None:
            return self._boundaries[-1]
        return min(self._boundaries[-1], self._first[bisect_right(self._begun, moment)] - 1)

    def between(self, low: int, high: int) -> Sequence[int]:
        """Positions from low to high that are the last of a command."""
        begin = bisect_left(self._boundaries, low)
        return self._boundaries[begin : bisect_right(self._boundaries, high)]

    def check(self, operations: Sequence[Operation]) -> Iterable[Violation]:
        """Operations without a possible position."""
        ended: list[tuple[int, int, int]] = []
        low, cause = self._boundaries[0], -1
        ordered = sorted(operations, key=lambda each: each.invoked)
        for number, operation in enumerate(ordered):
            while ended and ended[0][0] < operation.invoked:
                _, position, by = heapq.heappop(ended)
                if position > low:
                    low, cause = position, by
            write = self._written.get(operation)
            if write is not None:
                after = write.last
                if write.first <= low:
                    before = f"before that, at {low}: {ordered[cause]}"
                    yield Violation("order inverted", f"at {write.first}: {operation}; {before}")
                if isinstance(operation.answer, Replayed) and not self._is_true(write):
                    yield Violation("wrong answer", f"at {write.first}: {operation}")
            elif isinstance(operation.answer, Refused | Replayed | Saw):
                after = self._place(operation, low)
                if after < 0:
                    yield self._without_place(operation, low)
                    continue
            else:
                continue
            # An unknown write may take effect long after its caller gave up.
            if operation.returned is not None and not isinstance(operation.answer, Unknown):
                heapq.heappush(ended, (operation.returned, after, number))

    def _is_true(self, write: Write) -> bool:
        return self._spec.agrees(write.operation, write.last)

    def _place(self, operation: Operation, low: int) -> int:
        for position in self.between(low, self.newest(operation.returned)):
            if self._spec.agrees(operation, position):
                return position
        return -1

    def _without_place(self, operation: Operation, low: int) -> Violation:
        high = self.newest(operation.returned)
        kind = _kind(operation, self._boundaries, self._spec.agrees, low, high)
        return Violation(kind, f"between {low} and {high}: {operation}")


def _kind(operation: Operation, positions: Sequence[int], right: Any, low: int, high: int) -> str:
    what = "read" if isinstance(operation.answer, Saw | Shown) else "answer"
    for position in positions:
        if right(operation, position):
            return f"stale {what}" if position < low else f"{what} from the future"
    return f"{what} that was never right"


def _views(operations: Sequence[Operation], timeline: _Timeline, spec: Spec) -> Iterable[Violation]:
    """A view shows the state of some position, not before the requested one."""
    for operation in operations:
        if not isinstance(operation.answer, Shown):
            continue
        low, high = operation.answer.min_position, timeline.newest(operation.returned)
        # Only the ends of commands count: all events of a command are committed at once.
        fits = (spec.shows(operation, at) for at in timeline.between(low, high))
        if not any(fits):
            every = timeline.between(0, 2**63)
            kind = _kind(operation, every, spec.shows, low, high)
            yield Violation(kind, f"between {low} and {high}: {operation}")

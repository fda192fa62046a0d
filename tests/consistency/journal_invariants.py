"""Invariants of every journal: dense positions and versions, no duplicates, monotonic times."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from tests.consistency.database_oracle import Event, Stored


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation. kind: a fixed phrase."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def expect_no_violations(found: Sequence[Violation]) -> None:
    """Fail with the counts by kind and the first few violations, if there are any."""
    if found:
        kinds = dict(Counter(one.kind for one in found))
        raise AssertionError("\n".join([str(kinds), *map(str, found[:5])]))


def structure(stored: Stored) -> list[Violation]:
    """All violations in the tables alone."""
    return [*_positions(stored), *_versions(stored), *_rows(stored), *_commands(stored)]


def _positions(stored: Stored) -> Iterable[Violation]:
    events = stored.events
    for place, event in enumerate(events, 1):
        if event.position != place:
            yield Violation("positions not dense", f"{event.position} instead of {place}")
            break
    for earlier, later in pairwise(events):
        if later.recorded_at < earlier.recorded_at:
            yield Violation("recorded_at runs backwards", f"from {earlier.position} on")
    if events and (stored.position, stored.recorded_at) != (
        events[-1].position,
        events[-1].recorded_at,
    ):
        yield Violation("head differs", f"it says {stored.position} at {stored.recorded_at}")


def _versions(stored: Stored) -> Iterable[Violation]:
    last: dict[str, int] = {}
    ids: set[str] = set()
    for event in stored.events:
        expected = last.get(event.stream, 0) + 1
        if event.version != expected:
            where = f"{event.stream} {event.version} at {event.position}, not {expected}"
            yield Violation("versions not dense", where)
        last[event.stream] = event.version
        if event.event_id in ids:
            yield Violation("event twice", f"{event.event_id} again at {event.position}")
        ids.add(event.event_id)


def _rows(stored: Stored) -> Iterable[Violation]:
    for event in stored.events:
        if hashlib.sha256(b"\x00" + event.envelope).digest() != event.leaf_hash:
            yield Violation("leaf hash differs", f"at {event.position}")
        said = {name: event.parsed.get(name) for name in _SAID}
        if said != _columns(stored.ledger, event):
            yield Violation("envelope differs from its row", f"at {event.position}: {said}")


_SAID = ("ledger", "stream", "version", "topic", "event_id", "occurred_at", "recorded_at")


def _columns(ledger: str, event: Event) -> dict[str, object]:
    times = (_written(event.occurred_at), _written(event.recorded_at))
    row = (ledger, event.stream, event.version, event.topic, event.event_id, *times)
    return dict(zip(_SAID, row, strict=True))


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _commands(stored: Stored) -> Iterable[Violation]:
    """A command's row spans all events of the command and no others."""
    spans: dict[str, tuple[int, int]] = {}
    count: dict[str, int] = {}
    for event in stored.events:
        first, _ = spans.get(event.command_id, (event.position, 0))
        spans[event.command_id] = first, event.position
        count[event.command_id] = count.get(event.command_id, 0) + 1
    names: set[tuple[str, str]] = set()
    for row in stored.commands:
        span = (row.first_position, row.last_position)
        if spans.get(row.command_id) != span:
            yield Violation("command row differs", f"{row.principal} {row.key} says {span}")
        elif span[1] - span[0] + 1 != count[row.command_id]:
            yield Violation("torn append", f"{row.principal} {row.key} at {span}")
        if (row.principal, row.key) in names:
            yield Violation("accepted twice", f"{row.principal} {row.key}")
        names.add((row.principal, row.key))

"""Compares stored snapshots with the states that the events fold into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from domain.audit.events import Event
from domain.audit.results import CheckResult, Pace
from domain.errors import LedgerError
from domain.service.snapshots import STATE_CLASSES, Snapshot, kind_of, shape_of, take
from domain.states import folds
from domain.store.errors import SealBroken
from domain.store.journal.envelope import canonical_json
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.journal.sealed_rows import EVENT_COLUMNS, event_from_row
from domain.store.mapper import EntryMapper

_PAGE = 200

_READ = f"""SELECT stream, version, topic, state, position, leaf_hash, seal, seal_key
FROM certledger.snapshots WHERE ledger = %s AND (stream, version) > (%s, %s)
ORDER BY stream, version LIMIT {_PAGE}"""

_EVENTS = f"""SELECT {EVENT_COLUMNS} FROM certledger.journal
WHERE ledger = %s AND stream = %s AND version > %s AND version <= %s ORDER BY version"""


class _SnapshotRow(NamedTuple):
    stream: str
    version: int
    topic: str
    state: bytes
    position: int
    leaf_hash: bytes
    seal: bytes
    seal_key: str


class SnapshotsCheck:
    """Seals of snapshots, the event each is of, and the state it holds."""

    def __init__(self, journal: Journal, mapper: EntryMapper) -> None:
        self.result = CheckResult("snapshots")
        self._journal = journal
        self._mapper = mapper
        self._stream = ""
        self._state: Any = None
        self._last: RecordedEvent | None = None

    def page(self, events: Sequence[Event]) -> None:
        """Nothing: few streams have snapshots, and those are read at the end."""

    def finish(self, upto: int, pace: Pace) -> None:
        """Fold each stream that has snapshots once, from its beginning."""
        for row in self._rows():
            if row.stream != self._stream:
                self._stream, self._state, self._last = row.stream, None, None
            self.result.count("snapshots")
            fault = self._fault(row)
            if fault is not None:
                where = f"snapshot of {row.stream} at version {row.version}"
                self.result.find(fault, row.position, where)
            pace(upto)

    def _rows(self) -> Iterator[_SnapshotRow]:
        after: tuple[str, int] = ("", -1)
        while found := self._journal.query(_READ, (self._journal.ledger, *after)):
            for stream, version, topic, state, position, leaf, seal, seal_key in found:
                yield _SnapshotRow(
                    stream, version, topic, bytes(state), position, bytes(leaf), bytes(seal),
                    seal_key,
                )  # fmt: skip
            after = (found[-1][0], found[-1][1])

    def _fault(self, row: _SnapshotRow) -> str | None:
        sealer = self._journal.unranged_sealer
        if sealer is not None:
            try:
                sealer.check_snapshot(
                    row.stream,
                    row.version,
                    row.position,
                    row.leaf_hash,
                    row.topic,
                    row.state,
                    row.seal,
                    row.seal_key,
                )
            except SealBroken:
                return "its seal is not right"
        if kind_of(row.stream) not in STATE_CLASSES:
            return None  # of a program that uses the journal for its own things
        try:
            self._advance(row)
        except (LedgerError, ValueError, KeyError, AttributeError, TypeError):
            return "the events of its stream cannot be folded"
        last = self._last
        if last is None or last.version != row.version:
            return "its stream has no such version"
        if (last.position, last.leaf_hash) != (row.position, row.leaf_hash):
            return "it names another event than its stream has"
        return self._fault_of_state(row)

    def _advance(self, row: _SnapshotRow) -> None:
        """Fold on to the version of a row."""
        after = -1 if self._last is None else self._last.version
        rows = self._journal.query(_EVENTS, (self._journal.ledger, row.stream, after, row.version))
        for values in rows:
            # The audit of the log names an event whose seal is not right.
            event = event_from_row(values, None)
            self._state = folds.evolve(self._state, self._mapper.sealed_entry(event))
            self._last = event

    def _fault_of_state(self, row: _SnapshotRow) -> str | None:
        try:
            stored = Snapshot.model_validate_json(row.state)
        except ValueError:
            return "it cannot be read"
        if stored.kind != kind_of(row.stream):
            return "it is of another kind of stream"
        if stored.shape != shape_of(stored.kind):
            return None  # of another version of the program, which no reader uses
        folded = canonical_json(take(row.stream, self._state).model_dump(mode="json"))
        return None if folded == row.state else "it is not the state that the events fold into"

"""Audits a journal: recomputes everything that can be computed.

The audit hashes and parses every stored envelope, compares every column with it, and recomputes
every signed tree head from those hashes. The first checkpoint that covers an edit detects it even
if the editor corrected the hash; a checkpoint kept outside the database detects it even if the
editor rewrote the stored checkpoints.

`fast_audit` checks whole ranges; where a range is not as it was written, this module checks each
of its events and names what differs. Reading order: verify, AuditReport, `_read_ranges`, then one
check per method.
"""

import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import orjson

from domain.store.errors import BadNote, NotCanonical
from domain.store.journal import envelope as envelopes
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.journal.statements import EVENT_COLUMNS, event_from_row
from domain.store.tlog.checkpoints import checkpoints_after
from domain.store.tlog.fast_audit import (
    ENVELOPE_KEYS,
    RANGE_EVENTS,
    Range,
    RangeTask,
    audit_ranges,
    microseconds_of,
    out_of_order,
)
from domain.store.tlog.merkle import CompactRange
from domain.store.tlog.signed_note import Checkpoint, Verifier, open_note

_PAGE = 2000  # events per query: some megabytes at most
_FINDINGS_MAX = 100
_END = 2**63 - 1

# Size of a journal that is worth several processes, by whether only hashes are checked.
_PARALLEL_FROM = {True: 200_000, False: 50_000}

# Each event with the position of its predecessor in the stream, by the index on (stream, version):
# constant memory, however many streams there are.
_READ = f"""
SELECT {", ".join("j." + column for column in EVENT_COLUMNS.split(", "))}, before.position
FROM certledger.journal j LEFT JOIN LATERAL (
    SELECT p.position FROM certledger.journal p
    WHERE p.ledger = j.ledger AND p.stream = j.stream AND p.version = j.version - 1 LIMIT 1
) before ON true
WHERE j.ledger = %s AND j.position > %s AND j.position <= %s ORDER BY j.position LIMIT %s"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. position: None if it is not about one event."""

    position: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.position is None else f"position {self.position}: {self.what}"


@dataclass(slots=True)
class AuditReport:
    """The result of an audit. size and root: of the current journal.

    findings: at most 100, in the order of detection.
    """

    ledger: str
    size: int = 0
    root: bytes = b""
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def first_bad_position(self) -> int | None:
        """The first position known to be altered or missing."""
        positions = [p.position for p in self.findings if p.position is not None]
        return min(positions, default=None)


def verify(
    journal: Journal,
    vkey: str | None = None,
    external_checkpoints: Iterable[str] = (),
    *,
    hashes_only: bool = False,
    processes: int | None = None,
) -> AuditReport:
    """Check the whole journal of a ledger. Memory is constant, time is linear.

    vkey: the log's public key, from a trusted source; None checks no signatures.
    external_checkpoints: signed notes kept outside the database; needed to detect that it was
        rolled back together with its checkpoints.
    hashes_only: hash everything and recompute every root, but neither compare other columns nor
        parse envelopes: enough where signatures cover them, and several times as fast.
    processes: how many audit at the same time; None decides by the size of the journal.
    Raises: Unavailable; BadNote for a malformed vkey. Everything else is in the report.
    """
    verifier = None if vkey is None else Verifier.from_vkey(vkey)
    return _Audit(journal, verifier, hashes_only).run(external_checkpoints, processes)


class _Audit:
    def __init__(self, journal: Journal, verifier: Verifier | None, hashes_only: bool) -> None:
        self._journal = journal
        self._verifier = verifier
        self._hashes_only = hashes_only
        self._report = AuditReport(journal.ledger)
        self._tree = CompactRange()
        self._position = 0  # of the last event checked
        self._recorded = 0  # its recorded_at, in microseconds since 2000
        self._waiting: deque[Checkpoint] = deque()
        self._signed_size = 0  # the last signed size whose root matches
        self._divergence: tuple[int, int] | None = None  # last matching size + 1, first other size

    def run(self, external: Iterable[str], processes: int | None) -> AuditReport:
        # The head first: events appended during the audit are checked, but may be missing.
        head = self._journal.head()
        self._waiting.extend(sorted(self._checkpoints(external), key=lambda c: c.size))
        self._compare_checkpoints()
        if processes is None:
            is_large = head.position >= _PARALLEL_FROM[self._hashes_only]
            processes = min(os.cpu_count() or 1, 4) if is_large else 1
        # The server runs this query while the ranges are read.
        with ThreadPoolExecutor(1) as background:
            suspects = background.submit(self._find_out_of_order)
            self._read_ranges(head.position, processes)
        self._check_places(suspects.result())
        self._check_each(head.position, _END)
        self._report_divergence()
        if not self._is_full:
            self._check_end(head.position, microseconds_of(head.recorded_at))
        self._report.size = self._tree.size
        self._report.root = self._tree.root()
        return self._report

    # --- ranges ----------------------------------------------------------------------------------

    def _read_ranges(self, upto: int, processes: int) -> None:
        """Audit everything range by range, and each event of a range that differs."""
        signed = [checkpoint.size for checkpoint in self._waiting]
        tasks: list[RangeTask] = []
        for after in range(0, upto, RANGE_EVENTS):
            last = min(after + RANGE_EVENTS, upto)
            sizes = signed[bisect_right(signed, after) : bisect_left(signed, last)]
            tasks.append((after, last, sizes, self._hashes_only))
        with closing(audit_ranges(self._journal, tasks, processes)) as ranges:
            for (after, last, *_), verified in zip(tasks, ranges, strict=True):
                if verified is not None and self._continues(verified):
                    self._append_range(verified)
                else:
                    self._check_each(after, last)
                if self._is_full:
                    return

    def _find_out_of_order(self) -> list[int]:
        return [] if self._hashes_only else out_of_order(self._journal, _FINDINGS_MAX)

    def _check_places(self, suspects: list[int]) -> None:
        """Report events out of order in their stream, unless a finding names them already."""
        named = {finding.position for finding in self._report.findings}
        for position in suspects:
            if position not in named:
                for event, before in self._events(position - 1, position):
                    self._check_place(event, before)

    def _continues(self, verified: Range) -> bool:
        """Whether a range follows the events before it, in position and in time."""
        in_order = self._hashes_only or verified.first >= self._recorded
        return self._tree.size == verified.after and in_order

    def _append_range(self, verified: Range) -> None:
        """Extend the tree by a verified range, stopping at every signed size."""
        before = self._tree
        for _, part in sorted(verified.trees.items()):
            self._tree = before.copy()
            self._tree.grow(part)
            self._compare_checkpoints()
        self._position, self._recorded = verified.upto, verified.last

    def _check_each(self, after: int, upto: int) -> None:
        """Check events one by one and report every difference."""
        for event, before in self._events(after, upto):
            if self._is_full:
                return
            self._check_event(event, before)
            self._tree.add(envelopes.leaf_hash(event.envelope))
            self._position, self._recorded = event.position, microseconds_of(event.recorded_at)
            self._compare_checkpoints()

    @property
    def _is_full(self) -> bool:
        return len(self._report.findings) >= _FINDINGS_MAX

    def _report_finding(self, position: int | None, what: str) -> None:
        self._report.findings.append(Finding(position, what))

    # --- events ----------------------------------------------------------------------------------

    def _events(self, after: int, upto: int) -> Iterator[tuple[RecordedEvent, int | None]]:
        ledger = self._journal.ledger
        while rows := self._journal.query(_READ, (ledger, after, upto, _PAGE)):
            for row in rows:
                yield event_from_row(row[:-1]), row[-1]
            after = rows[-1][0]

    def _check_event(self, event: RecordedEvent, before: int | None) -> None:
        position = event.position
        expected = self._position + 1
        if position != expected:
            self._report_finding(expected, f"is missing; the next event is {position}")
        if envelopes.leaf_hash(event.envelope) != event.leaf_hash:
            self._report_finding(position, "the envelope does not have the stored hash")
        self._check_place(event, before)
        if self._position and microseconds_of(event.recorded_at) < self._recorded:
            self._report_finding(position, "recorded_at runs backwards")
        self._check_envelope(event)

    def _check_place(self, event: RecordedEvent, before: int | None) -> None:
        """before: position of the version before it in its stream; None if there is none."""
        if event.version > 1 and before is None:
            self._report_finding(
                event.position, f"{event.stream} has no version {event.version - 1}"
            )
        if before is not None and before >= event.position:
            self._report_finding(
                event.position, f"{event.stream} version {event.version - 1} comes later"
            )

    def _check_envelope(self, event: RecordedEvent) -> None:
        """Compare the envelope with the columns of its row."""
        try:
            parsed: Any = orjson.loads(event.envelope)
        except ValueError:
            self._report_finding(event.position, "the envelope is not JSON")
            return
        if not isinstance(parsed, dict) or parsed.keys() != set(ENVELOPE_KEYS):
            self._report_finding(
                event.position, "the envelope does not have the keys of an envelope"
            )
            return
        columns = {
            "ledger": self._journal.ledger,
            "stream": event.stream,
            "version": event.version,
            "topic": event.topic,
            "event_id": str(event.event_id),
            "occurred_at": envelopes.rfc3339(event.occurred_at),
            "recorded_at": envelopes.rfc3339(event.recorded_at),
        }
        for name, value in columns.items():
            if parsed[name] != value:
                self._report_finding(event.position, f"column {name} differs from the envelope")
        try:
            if envelopes.canonical_json(parsed) != event.envelope:
                self._report_finding(event.position, "the envelope is not in canonical form")
        except NotCanonical as error:
            self._report_finding(event.position, f"the envelope is not in canonical form: {error}")

    def _check_end(self, position: int, recorded: int) -> None:
        """Check the head row, and report checkpoints beyond the last event."""
        last = self._position
        if last < position:
            self._report_finding(last + 1, f"is missing; the head of the ledger is at {position}")
        elif last > position and self._journal.head().position == position:
            self._report_finding(position + 1, f"lies beyond the head of the ledger at {position}")
        if 0 < last == position and self._recorded != recorded and not self._hashes_only:
            self._report_finding(None, "the head's recorded_at is not that of the last event")
        for checkpoint in self._waiting:
            what = f"is missing; a checkpoint of size {checkpoint.size} was signed"
            self._report_finding(self._tree.size + 1, what)

    # --- checkpoints -----------------------------------------------------------------------------

    def _checkpoints(self, external: Iterable[str]) -> Iterator[Checkpoint]:
        """All stored and external checkpoints with a valid signature."""
        after = -1
        while page := checkpoints_after(self._journal, after):
            for stored in page:
                checkpoint = self._open(stored.note, f"stored checkpoint of size {stored.size}")
                if checkpoint is None:
                    continue
                if (checkpoint.size, checkpoint.root) != (stored.size, stored.root):
                    self._report_finding(
                        None, f"checkpoint of size {stored.size} differs from its note"
                    )
                yield checkpoint
            after = page[-1].size
        for number, note in enumerate(external, 1):
            checkpoint = self._open(note, f"external checkpoint {number}")
            if checkpoint is not None:
                yield checkpoint

    def _open(self, note: str, what: str) -> Checkpoint | None:
        try:
            if self._verifier is None:
                return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
            checkpoint = Checkpoint.parse(open_note(note, (self._verifier,))[0])
            if checkpoint.origin != self._verifier.name:
                raise BadNote(reason=f"it is of the log {checkpoint.origin}")
            return checkpoint
        except BadNote as error:
            self._report_finding(None, f"{what}: {error}")
            return None

    def _compare_checkpoints(self) -> None:
        """Compare the tree with the roots signed for its current size."""
        while self._waiting and self._waiting[0].size <= self._tree.size:
            checkpoint = self._waiting.popleft()
            self._report.checkpoints += 1
            if checkpoint.root == self._tree.root():
                self._signed_size = checkpoint.size
            elif self._divergence is None:
                self._divergence = (self._signed_size + 1, checkpoint.size)

    def _report_divergence(self) -> None:
        """Report where the journal diverges from the signed roots; it cannot converge again.

        Reported last, when every event that can be named within that range has been.
        """
        if self._divergence is None:
            return
        first, last = self._divergence
        what = f"the events from {first} to {last} are not those that were signed"
        named = any(first <= (p.position or 0) <= last for p in self._report.findings)
        self._report_finding(None if named else first, what)

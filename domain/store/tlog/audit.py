"""Audits a journal: recomputes everything that can be computed.

The audit hashes and parses every stored envelope, compares every column with it, checks its seal,
and recomputes every signed tree head from those hashes. A seal names the very event that was
altered by somebody who has the database only. The first head that covers an edit detects it even if
the editor has the keys of the service; a head kept outside the database detects it even if the
editor rewrote the stored ones.

`fast_audit` checks whole ranges; where a range is not as it was written, this module checks each
of its events and names what differs. Reading order: verify, AuditReport, `_read_ranges`, then one
check per method.
"""

import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from domain.store.errors import BadNote, NotCanonical, SealBroken, UnknownLedger
from domain.store.journal import envelope as envelopes
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.journal.sealed_rows import EVENT_COLUMNS, HEAD_COLUMNS, event_from_row
from domain.store.keys.seals import LedgerSealer
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
from domain.store.tlog.findings import Finding
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


DATABASE = "the database"
"""The place of the heads that are stored next to the events."""


class KeptHead(NamedTuple):
    """A signed head that was kept. place: where, in words. note: the whole signed note.

    size: under which the place has it; None if it was given alone.
    """

    place: str
    note: str
    size: int | None = None


@dataclass(slots=True)
class AuditReport:
    """The result of an audit. size and root: of the current journal.

    heads: place -> heads of it that were compared. lost: heads that only cover events whose loss
    was accepted. seals: whether seals were checked. findings: at most 100.
    """

    ledger: str
    size: int = 0
    root: bytes = b""
    heads: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    seals: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def checkpoints(self) -> int:
        """How many heads were compared, of all places."""
        return sum(self.heads.values())

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
    vkeys: str | Iterable[str] | None = None,
    kept: Iterable[KeptHead | str] = (),
    *,
    ends: Mapping[str, int] | None = None,
    hashes_only: bool = False,
    processes: int | None = None,
    pace: Callable[[int], None] | None = None,
) -> AuditReport:
    """Check the whole journal of a ledger. Memory is constant, time is linear.

    vkeys: the log's public key, or those of all its origins, from a trusted source; None checks no
        signatures.
    kept: heads kept outside the database; needed to detect that it was rolled back together with
        its own.
    ends: origin -> last position that an earlier log of the ledger has in common with this journal;
        larger heads of it are of events whose loss was accepted.
    hashes_only: check seals, hash everything and recompute every root, but neither compare other
        columns nor parse envelopes: enough where seals or signatures cover them, and several times
        as fast.
    processes: how many audit at the same time; None decides by the size of the journal.
    pace: called with the position after each range, and may sleep; then one process works, and the
        order of streams is left to the seals, because comparing it reads everything at once.
    Raises: Unavailable, UnknownLedger; what `pace` raises; BadNote for a malformed vkey. Everything
        else is in the report.
    """
    given = () if vkeys is None else (vkeys,) if isinstance(vkeys, str) else tuple(vkeys)
    verifiers = tuple(map(Verifier.from_vkey, given))
    audit = _Audit(journal, verifiers, ends or {}, hashes_only, pace)
    return audit.run([KeptHead("a given file", each) if isinstance(each, str) else each
                      for each in kept], processes)  # fmt: skip


class _Head(NamedTuple):
    """The head row as it is stored, unchecked."""

    position: int
    recorded_at: datetime
    leaf_hash: bytes | None
    seal: bytes | None
    seal_key: str | None


def stored_head(journal: Journal) -> _Head:
    """The head row as it is stored, also if its seal is not right.

    Raises: UnknownLedger, Unavailable.
    """
    rows = journal.query(
        f"SELECT {HEAD_COLUMNS} FROM certledger.ledgers WHERE ledger = %s", (journal.ledger,)
    )
    if not rows:
        raise UnknownLedger(ledger=journal.ledger)
    position, recorded_at, leaf, seal, key = rows[0]
    return _Head(position, recorded_at, leaf and bytes(leaf), seal and bytes(seal), key)


def usable_sealer(journal: Journal) -> LedgerSealer | None:
    """The sealer with the ranges of its keys; without them if the facts about keys are wrong."""
    try:
        return journal.sealer
    except SealBroken:
        return journal.unranged_sealer


class _Audit:
    def __init__(
        self,
        journal: Journal,
        verifiers: tuple[Verifier, ...],
        ends: Mapping[str, int],
        hashes_only: bool,
        pace: Callable[[int], None] | None,
    ) -> None:
        self._pace = pace
        self._journal = journal
        self._verifiers = verifiers
        self._ends = ends
        self._hashes_only = hashes_only
        self._report = AuditReport(journal.ledger)
        self._sealer = self._sealer_of(journal)
        self._report.seals = self._sealer is not None
        self._tree = CompactRange()
        self._position = 0  # of the last event checked
        self._leaf: bytes | None = None  # its stored leaf hash
        self._recorded = 0  # its recorded_at, in microseconds since 2000
        self._unsealed: tuple[int, int] | None = None  # first and last of a run without right seals
        self._waiting: deque[tuple[Checkpoint, str]] = deque()
        self._stored: tuple[int, set[str]] = 0, set()  # last size in the database, its origins
        self._largest: dict[str, int] = {}  # by place, the size of its newest head
        self._unstored: dict[str, list[int]] = {}  # by place, sizes that the database lacks
        self._agreed: dict[str, int] = {}  # by place, the last size whose root matches
        self._differs: dict[str, int] = {}  # by place, the first size whose root differs

    def _sealer_of(self, journal: Journal) -> LedgerSealer | None:
        try:
            return journal.sealer
        except SealBroken:
            # The events themselves are named when they are read.
            self._report_finding(None, "the facts about keys are not as they were written")
            return journal.unranged_sealer

    def run(self, kept: Iterable[KeptHead], processes: int | None) -> AuditReport:
        # The head first: events appended during the audit are checked, but may be missing.
        head = stored_head(self._journal)
        self._waiting.extend(sorted(self._checkpoints(kept), key=lambda found: found[0].size))
        self._largest = {place: head.size for head, place in self._waiting}
        self._compare_checkpoints()
        if self._pace is not None:
            processes = 1
        elif processes is None:
            is_large = head.position >= _PARALLEL_FROM[self._hashes_only]
            processes = min(os.cpu_count() or 1, 4) if is_large else 1
        # The server runs this query while the ranges are read.
        with ThreadPoolExecutor(1) as background:
            suspects = background.submit(self._find_out_of_order)
            self._read_ranges(head.position, processes)
        self._check_places(suspects.result())
        self._check_each(head.position, _END)
        self._end_unsealed()
        self._report_divergence()
        self._report_unstored()
        if not self._is_full:
            self._check_end(head)
        self._report.size = self._tree.size
        self._report.root = self._tree.root()
        return self._report

    # --- ranges ----------------------------------------------------------------------------------

    def _read_ranges(self, upto: int, processes: int) -> None:
        """Audit everything range by range, and each event of a range that differs."""
        signed = [checkpoint.size for checkpoint, _ in self._waiting]
        tasks: list[RangeTask] = []
        for after in range(0, upto, RANGE_EVENTS):
            last = min(after + RANGE_EVENTS, upto)
            sizes = signed[bisect_right(signed, after) : bisect_left(signed, last)]
            tasks.append((after, last, sizes, self._hashes_only, self._sealer))
        with closing(audit_ranges(self._journal, tasks, processes)) as ranges:
            for (after, last, *_), verified in zip(tasks, ranges, strict=True):
                if verified is not None and self._continues(verified):
                    self._append_range(verified)
                else:
                    self._check_each(after, last)
                if self._is_full:
                    return
                if self._pace is not None:
                    self._pace(last)

    def _find_out_of_order(self) -> list[int]:
        if self._hashes_only or self._pace is not None:
            return []
        return out_of_order(self._journal, _FINDINGS_MAX)

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
        self._leaf = verified.leaf
        self._end_unsealed()

    def _check_each(self, after: int, upto: int) -> None:
        """Check events one by one and report every difference."""
        for event, before in self._events(after, upto):
            if self._is_full:
                return
            self._check_event(event, before)
            self._tree.add(envelopes.leaf_hash(event.envelope))
            self._position, self._recorded = event.position, microseconds_of(event.recorded_at)
            self._leaf = event.leaf_hash
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
                yield event_from_row(row[:-1], None), row[-1]
            after = rows[-1][0]

    def _check_event(self, event: RecordedEvent, before: int | None) -> None:
        position = event.position
        expected = self._position + 1
        if position != expected:
            self._report_finding(expected, f"is missing; the next event is {position}")
        if envelopes.leaf_hash(event.envelope) != event.leaf_hash:
            self._report_finding(position, "the envelope does not have the stored hash")
        else:
            self._check_seal(event)
        self._check_place(event, before)
        if self._position and microseconds_of(event.recorded_at) < self._recorded:
            self._report_finding(position, "recorded_at runs backwards")
        self._check_envelope(event)

    def _check_seal(self, event: RecordedEvent) -> None:
        """Note an event without a right seal; those in a row are one finding."""
        if self._sealer is None:
            return
        try:
            self._sealer.check_event(event.position, event.leaf_hash, event.seal, event.seal_key)
        except SealBroken:
            before = self._unsealed
            if before is None or event.position != before[1] + 1:
                self._end_unsealed()
                before = (event.position, event.position)
            self._unsealed = (before[0], event.position)

    def _end_unsealed(self) -> None:
        """Report the run of events without right seals, if there is one."""
        if self._unsealed is None:
            return
        (first, last), self._unsealed = self._unsealed, None
        what = "was altered, moved or inserted: its seal is not right"
        if last > first:
            what = (
                f"the events from {first} to {last} were altered, moved or inserted: "
                "their seals are not right"
            )
        self._report_finding(first, what)

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

    def _check_end(self, head: _Head) -> None:
        """Check the head row, and report heads beyond the last event."""
        last, position = self._position, head.position
        if last < position:
            self._report_finding(last + 1, f"is missing; the head of the ledger is at {position}")
        elif last > position and stored_head(self._journal).position == position:
            self._report_finding(position + 1, f"lies beyond the head of the ledger at {position}")
        if last == position > 0:
            recorded = microseconds_of(head.recorded_at)
            if self._recorded != recorded and not self._hashes_only:
                self._report_finding(None, "the head's recorded_at is not that of the last event")
            if head.leaf_hash != self._leaf:
                self._report_finding(None, "the head's leaf hash is not that of the last event")
        if self._sealer is not None and position > 0:
            try:
                leaf, seal = head.leaf_hash or b"", head.seal or b""
                self._sealer.check_head(position, leaf, seal, head.seal_key or "")
            except SealBroken:
                what = f"the head of the ledger, at {position}, was altered: its seal is not right"
                self._report_finding(None, what)
        largest = {place: head.size for head, place in self._waiting}
        for place, size in largest.items():
            what = f"is missing; a head of size {size} was signed ({place})"
            self._report_finding(self._tree.size + 1, what)

    # --- heads -----------------------------------------------------------------------------------

    def _checkpoints(self, kept: Iterable[KeptHead]) -> Iterator[tuple[Checkpoint, str]]:
        """All stored and kept heads with a valid signature, each with its place."""
        after = -1
        while page := checkpoints_after(self._journal, after):
            for stored in page:
                found = self._open(stored.note, f"stored checkpoint of size {stored.size}")
                if found is None:
                    continue
                if (found.size, found.root) != (stored.size, stored.root):
                    self._report_finding(
                        None, f"checkpoint of size {stored.size} differs from its note"
                    )
                if self._is_of_journal(found):
                    yield found, DATABASE
            after = page[-1].size
        for head in kept:
            found = self._open(head.note, f"a head in {head.place}")
            if found is None:
                continue
            if head.size not in (None, found.size):
                what = f"the head of size {head.size} in {head.place} says {found.size}"
                self._report_finding(None, what)
            if self._is_of_journal(found):
                yield found, head.place

    def _is_of_journal(self, head: Checkpoint) -> bool:
        """False for a head of an earlier log that covers events whose loss was accepted."""
        is_common = head.size <= self._ends.get(head.origin, head.size)
        self._report.lost += not is_common
        return is_common

    def _open(self, note: str, what: str) -> Checkpoint | None:
        try:
            if not self._verifiers:
                return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
            checkpoint = Checkpoint.parse(open_note(note, self._verifiers)[0])
            if checkpoint.origin not in {verifier.name for verifier in self._verifiers}:
                raise BadNote(reason=f"it is of the log {checkpoint.origin}")
            return checkpoint
        except BadNote as error:
            self._report_finding(None, f"{what}: {error}")
            return None

    def _compare_checkpoints(self) -> None:
        """Compare the tree with the roots signed for its current size."""
        while self._waiting and self._waiting[0][0].size <= self._tree.size:
            head, place = self._waiting.popleft()
            self._report.heads[place] = self._report.heads.get(place, 0) + 1
            if head.root != self._tree.root():
                self._differs.setdefault(place, head.size)
                continue
            if place not in self._differs:
                self._agreed[place] = head.size
            self._note_stored(head, place)

    def _note_stored(self, head: Checkpoint, place: str) -> None:
        """Note whether the database has a head, too; of one size, its own come first."""
        size, origins = self._stored
        if place == DATABASE:
            self._stored = head.size, {head.origin} | (origins if size == head.size else set())
        elif head.origin not in self._ends and (size != head.size or head.origin not in origins):
            self._unstored.setdefault(place, []).append(head.size)

    def _report_unstored(self) -> None:
        """Report heads of the present log that the database has lost.

        A signer stores each head there before it signs the next one, so that only the newest of a
        place may be missing.
        """
        for place, sizes in self._unstored.items():
            lost = [size for size in sizes if size < self._largest[place]]
            if not lost:
                continue
            what = f"the database lacks the head of size {lost[0]} that {place} has"
            if len(lost) > 1:
                what = (
                    f"the database lacks {len(lost)} heads that {place} has, "
                    f"the first of size {lost[0]}"
                )
            self._report.findings.append(Finding(None, what, "heads"))

    def _report_divergence(self) -> None:
        """Report where the journal diverges from the heads of each place; it cannot converge again.

        The range is between the last head of that place that agrees and the first that does not: a
        head of another place may belong to another history. Reported last, when every event that
        can be named within that range has been.
        """
        for place, size in self._differs.items():
            first = self._agreed.get(place, 0) + 1
            named = any(first <= (p.position or 0) <= size for p in self._report.findings)
            if named:
                self._report_finding(None, f"the head of size {size} in {place} has another root")
            else:
                what = f"the events from {first} to {size} are not those that were signed ({place})"
                self._report_finding(first, what)

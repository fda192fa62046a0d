"""The audit of a journal: nothing is believed that can be computed.

Every stored envelope is hashed again and read again, every column is compared with it, and every
signed tree head is recomputed from those hashes. An edit that was followed by putting the hash
right is found by the first checkpoint that covers it; one that also rewrote the stored checkpoints
is found by a checkpoint somebody else kept. Most is read by `rereading.py`, which says only whether
a stretch is flawless; where it is not, every event is looked at here. Reading order: verify,
Report, `_read`, then one check a method.
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
from domain.store.journal.statements import EVENT_COLUMNS, recorded_from
from domain.store.tlog.checkpoints import checkpoints_after
from domain.store.tlog.fast_audit import (
    ENVELOPE_KEYS,
    STRETCH,
    Order,
    Range,
    microseconds_of,
    misplaced,
    reread_all,
)
from domain.store.tlog.merkle import CompactRange
from domain.store.tlog.signed_note import Checkpoint, Verifier, open_note

_PAGE = 2000  # events a message: some megabytes at most
_PROBLEMS = 100
_END = 2**63 - 1

# Events that are worth starting another process for, by whether only hashes are looked at.
_MANY = {True: 200_000, False: 50_000}

# With each event the position of its predecessor in the stream, by the index on (stream, version):
# constant memory however many streams there are.
_READ = f"""
SELECT {", ".join("j." + column for column in EVENT_COLUMNS.split(", "))}, before.position
FROM certledger.journal j LEFT JOIN LATERAL (
    SELECT p.position FROM certledger.journal p
    WHERE p.ledger = j.ledger AND p.stream = j.stream AND p.version = j.version - 1 LIMIT 1
) before ON true
WHERE j.ledger = %s AND j.position > %s AND j.position <= %s ORDER BY j.position LIMIT %s"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. position: None if it concerns no one event."""

    position: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.position is None else f"position {self.position}: {self.what}"


@dataclass(slots=True)
class AuditReport:
    """What an audit found. size and root: of the journal as it stands now.

    problems: at most 100, in the order in which they were found.
    """

    ledger: str
    size: int = 0
    root: bytes = b""
    checkpoints: int = 0
    problems: list[Finding] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def first_bad_position(self) -> int | None:
        """The first altered or missing position, as far as it can be named."""
        positions = [p.position for p in self.problems if p.position is not None]
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

    vkey: the log's public key, got from elsewhere; None checks no signatures.
    external_checkpoints: signed notes that others kept; needed to notice that the database was
        rolled back together with its checkpoints.
    hashes_only: hash everything again and recompute every root, but compare no other column and
        do not read what the envelopes say: enough where signatures cover them, and several times
        as fast.
    processes: how many read at once; None decides by the size of the journal.
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
        self._position = 0  # of the last event seen
        self._recorded = 0  # its recorded_at, as stretches have it
        self._waiting: deque[Checkpoint] = deque()
        self._signed_size = 0  # up to here a signature covers what was read
        self._parted: tuple[int, int] | None = None  # (last size that agreed + 1, first that not)

    def run(self, external: Iterable[str], processes: int | None) -> AuditReport:
        # The head is read first: events that arrive meanwhile are checked, but not demanded.
        head = self._journal.head()
        self._waiting.extend(sorted(self._checkpoints(external), key=lambda c: c.size))
        self._meet_checkpoints()
        if processes is None:
            many = _MANY[self._hashes_only]
            processes = min(os.cpu_count() or 1, 4) if head.position >= many else 1
        # Asked of the server while the events are read.
        with ThreadPoolExecutor(1) as beside:
            suspects = beside.submit(self._misplaced)
            self._read(head.position, processes)
        self._check_places(suspects.result())
        self._look_closer(head.position, _END)
        self._tell_parting()
        if not self._has_enough:
            self._check_end(head.position, microseconds_of(head.recorded_at))
        self._report.size = self._tree.size
        self._report.root = self._tree.root()
        return self._report

    # --- stretches -------------------------------------------------------------------------------

    def _read(self, upto: int, processes: int) -> None:
        """Read everything, stretch by stretch, and look closer where something is wrong."""
        signed = [checkpoint.size for checkpoint in self._waiting]
        orders: list[Order] = []
        for after in range(0, upto, STRETCH):
            last = min(after + STRETCH, upto)
            sizes = signed[bisect_right(signed, after) : bisect_left(signed, last)]
            orders.append((after, last, sizes, self._hashes_only))
        with closing(reread_all(self._journal, orders, processes)) as stretches:
            for (after, last, *_), stretch in zip(orders, stretches, strict=True):
                if stretch is not None and self._continues(stretch):
                    self._take(stretch)
                else:
                    self._look_closer(after, last)
                if self._has_enough:
                    return

    def _misplaced(self) -> list[int]:
        return [] if self._hashes_only else misplaced(self._journal, _PROBLEMS)

    def _check_places(self, suspects: list[int]) -> None:
        """Say what is wrong with the places of events, unless a closer look has said it already."""
        named = {problem.position for problem in self._report.problems}
        for position in suspects:
            if position not in named:
                for event, before in self._events(position - 1, position):
                    self._check_place(event, before)

    def _continues(self, stretch: Range) -> bool:
        """Whether it fits what was read before: nothing missing, time not running backwards."""
        in_order = self._hashes_only or stretch.first >= self._recorded
        return self._tree.size == stretch.after and in_order

    def _take(self, stretch: Range) -> None:
        """Nothing is wrong in it: carry the tree on, past every signed size."""
        before = self._tree
        for _, part in sorted(stretch.trees.items()):
            self._tree = before.copy()
            self._tree.grow(part)
            self._meet_checkpoints()
        self._position, self._recorded = stretch.upto, stretch.last

    def _look_closer(self, after: int, upto: int) -> None:
        """Read events one by one and say what is wrong with each."""
        for event, before in self._events(after, upto):
            if self._has_enough:
                return
            self._check_event(event, before)
            self._tree.add(envelopes.leaf_hash(event.envelope))
            self._position, self._recorded = event.position, microseconds_of(event.recorded_at)
            self._meet_checkpoints()

    @property
    def _has_enough(self) -> bool:
        return len(self._report.problems) >= _PROBLEMS

    def _bad(self, position: int | None, what: str) -> None:
        self._report.problems.append(Finding(position, what))

    # --- events ----------------------------------------------------------------------------------

    def _events(self, after: int, upto: int) -> Iterator[tuple[RecordedEvent, int | None]]:
        ledger = self._journal.ledger
        while rows := self._journal.query(_READ, (ledger, after, upto, _PAGE)):
            for row in rows:
                yield recorded_from(row[:-1]), row[-1]
            after = rows[-1][0]

    def _check_event(self, event: RecordedEvent, before: int | None) -> None:
        position = event.position
        expected = self._position + 1
        if position != expected:
            self._bad(expected, f"is missing; the next event is {position}")
        if envelopes.leaf_hash(event.envelope) != event.leaf_hash:
            self._bad(position, "the envelope does not have the stored hash")
        self._check_place(event, before)
        if self._position and microseconds_of(event.recorded_at) < self._recorded:
            self._bad(position, "recorded_at runs backwards")
        self._check_envelope(event)

    def _check_place(self, event: RecordedEvent, before: int | None) -> None:
        """before: position of the version before it in its stream; None if there is none."""
        if event.version > 1 and before is None:
            self._bad(event.position, f"{event.stream} has no version {event.version - 1}")
        if before is not None and before >= event.position:
            self._bad(event.position, f"{event.stream} version {event.version - 1} comes later")

    def _check_envelope(self, event: RecordedEvent) -> None:
        """Compare what the envelope says with the columns beside it."""
        try:
            parsed: dict[str, Any] = orjson.loads(event.envelope)
        except ValueError:
            self._bad(event.position, "the envelope is not JSON")
            return
        if not isinstance(parsed, dict) or parsed.keys() != set(ENVELOPE_KEYS):
            self._bad(event.position, "the envelope does not have the keys of an envelope")
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
                self._bad(event.position, f"column {name} differs from the envelope")
        try:
            if envelopes.canonical_json(parsed) != event.envelope:
                self._bad(event.position, "the envelope is not in canonical form")
        except NotCanonical as error:
            self._bad(event.position, f"the envelope is not in canonical form: {error}")

    def _check_end(self, position: int, recorded: int) -> None:
        """The head row, and checkpoints beyond the last event."""
        last = self._position
        if last < position:
            self._bad(last + 1, f"is missing; the head of the ledger is at {position}")
        elif last > position and self._journal.head().position == position:
            self._bad(position + 1, f"lies beyond the head of the ledger at {position}")
        if 0 < last == position and self._recorded != recorded and not self._hashes_only:
            self._bad(None, "the head's recorded_at is not that of the last event")
        for checkpoint in self._waiting:
            what = f"is missing; a checkpoint of size {checkpoint.size} was signed"
            self._bad(self._tree.size + 1, what)

    # --- checkpoints -----------------------------------------------------------------------------

    def _checkpoints(self, external: Iterable[str]) -> Iterator[Checkpoint]:
        """All that can be trusted so far as their own signature goes."""
        after = -1
        while page := checkpoints_after(self._journal, after):
            for stored in page:
                checkpoint = self._opened(stored.note, f"stored checkpoint of size {stored.size}")
                if checkpoint is None:
                    continue
                if (checkpoint.size, checkpoint.root) != (stored.size, stored.root):
                    self._bad(None, f"checkpoint of size {stored.size} differs from its note")
                yield checkpoint
            after = page[-1].size
        for number, note in enumerate(external, 1):
            checkpoint = self._opened(note, f"external checkpoint {number}")
            if checkpoint is not None:
                yield checkpoint

    def _opened(self, note: str, what: str) -> Checkpoint | None:
        try:
            if self._verifier is None:
                return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
            checkpoint = Checkpoint.parse(open_note(note, (self._verifier,))[0])
            if checkpoint.origin != self._verifier.name:
                raise BadNote(reason=f"it is of the log {checkpoint.origin}")
            return checkpoint
        except BadNote as error:
            self._bad(None, f"{what}: {error}")
            return None

    def _meet_checkpoints(self) -> None:
        """Compare the roots signed for exactly this size."""
        while self._waiting and self._waiting[0].size <= self._tree.size:
            checkpoint = self._waiting.popleft()
            self._report.checkpoints += 1
            if checkpoint.root == self._tree.root():
                self._signed_size = checkpoint.size
            elif self._parted is None:
                self._parted = (self._signed_size + 1, checkpoint.size)

    def _tell_parting(self) -> None:
        """The journal and what was signed part ways; once they have, they never meet again.

        Told last: by then everything that could be named between two sizes is.
        """
        if self._parted is None:
            return
        first, last = self._parted
        what = f"the events from {first} to {last} are not those that were signed"
        named = any(first <= (p.position or 0) <= last for p in self._report.problems)
        self._bad(None if named else first, what)

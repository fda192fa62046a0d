"""Signed tree heads: the ledger's public, irrevocable commitments to its history.

A log that signs two histories (a split view) proves nothing. So before the signer signs, it
compares the journal with every head it knows: the checkpoints of the database and those of each
place of heads (heads.py). A head that is larger than the journal, or that has another root, stops
it for good. Reading order: CheckpointSigner.sign, `_compare`, `_compare_heads`.
"""

import base64
import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby

from domain.store.errors import (
    BadNote,
    HeadExists,
    HeadPlaceSilent,
    LogDiffers,
    SealBroken,
)
from domain.store.journal import envelope as envelopes
from domain.store.journal.journal import Journal
from domain.store.tlog.fast_audit import RANGE_EVENTS, verified_leaf_hashes
from domain.store.tlog.heads import HeadPlace
from domain.store.tlog.merkle import CompactRange
from domain.store.tlog.signed_note import Checkpoint, Signer, Verifier, open_note, sign_note

TAIL_EVENTS = 2048
"""So many of the last events that were signed are compared with the journal again each time."""

PLACES_EVERY_S = 30.0
"""The places are asked for new heads before each signing, and at least so often, seconds."""

_ROOTS_MAX = 10_000

# An event whose row names another stream is missing in its own, although its hash is right.
_TAIL = """SELECT sha256(string_agg(leaf_hash, ''::bytea ORDER BY position)),
    min(position) FILTER (WHERE
        position(convert_to('"stream":' || to_json(stream), 'UTF8') IN envelope) = 0
        OR position(convert_to('"topic":' || to_json(topic), 'UTF8') IN envelope) = 0)
FROM certledger.journal WHERE ledger = %s AND position > %s AND position <= %s"""

_BEYOND = """SELECT j.position FROM certledger.ledgers l CROSS JOIN LATERAL (
    SELECT position FROM certledger.journal
    WHERE ledger = l.ledger AND position > l.position ORDER BY position LIMIT 1) j
WHERE l.ledger = %s"""


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it is stored and published. root: 32 bytes; note: the whole signed note."""

    size: int
    root: bytes
    note: str


_Found = tuple[str, SignedCheckpoint]
"""A head with the name of the place that has it."""


def _size(found: _Found) -> int:
    return found[1].size


@dataclass(slots=True)
class _Growth:
    """A tree that is extended by the journal's stored leaf hashes; tail: its last ones."""

    journal: Journal
    tree: CompactRange
    tail: deque[bytes]
    _page: list[bytes] = field(default_factory=list)  # read ahead, from _used on
    _used: int = 0

    def extend_to(self, size: int, end: int) -> None:
        """Extend to a size, reading ahead up to `end`; it stays smaller if events are missing."""
        while self.tree.size < size:
            if self._used == len(self._page):
                upto = min(end, self.tree.size + RANGE_EVENTS)
                self._page = leaf_hashes(self.journal, self.tree.size, upto)
                self._used = 0
                if not self._page:
                    return
            part = self._page[self._used : self._used + size - self.tree.size]
            self._used += len(part)
            self.add(part)

    def add(self, leaves: list[bytes]) -> None:
        """Append leaf hashes."""
        self.tree.extend(leaves)
        self.tail.extend(leaves)


class CheckpointSigner:
    """Signs a journal's tree heads. Keeps the tree in memory, so that it reads only new leaves.

    Thread-safe. Several processes may sign the same ledger: all sign prefixes of the same journal,
    and a size is stored once.
    """

    def __init__(
        self,
        journal: Journal,
        signer: Signer | Verifier,
        places: Sequence[HeadPlace] = (),
        *,
        wait_for_places: bool = False,
    ) -> None:
        """signer: its name is the log's origin; a verifier can only compare.

        places: that keep heads. For a signer the first is this machine's own, which must hold one
            if the log was ever signed. wait_for_places: sign nothing while another one is silent.
        """
        self._journal = journal
        self._signer = signer if isinstance(signer, Signer) else None
        self._verifier = signer if isinstance(signer, Verifier) else signer.verifier
        self._origin = self._verifier.name
        self._places = tuple(places)
        self._own_place = self._places[0] if self._places and self._signer else None
        self._wait_for_places = wait_for_places
        self._tree = CompactRange()
        self._tail: deque[bytes] = deque(maxlen=TAIL_EVENTS)  # last leaf hashes of the tree
        self._roots: dict[int, bytes] = {}  # of the tree, by size
        self._compared: dict[str, int] = {}  # place -> its largest head that was compared
        self._own: SignedCheckpoint | None = None  # newest head of the first place
        self._places_due = 0.0  # time.monotonic() from which the places are asked in any case
        self._is_begun = False
        self._lock = threading.Lock()

    @property
    def can_sign(self) -> bool:
        """Whether it has the log's key, and not only its public half."""
        return self._signer is not None

    def compare(self) -> None:
        """Compare the journal with every known head; after the first time with the new ones.

        Raises: LogDiffers if the journal does not continue them; SealBroken for an event beyond
            the journal's head.
        """
        with self._lock:
            self._compare()

    def sign(self, upto: int | None = None) -> SignedCheckpoint | None:
        """Compare, sign the current journal, and store the checkpoint here and in the places.

        upto: sign only the first `upto` events; all if None.
        Returns: the newest checkpoint, which is an existing one if there are no new events; None
            if the journal is empty and nothing was ever signed.
        Raises: LogDiffers if the journal no longer continues what was signed before; SealBroken
            for an event that was not sealed; HeadPlaceSilent if the own place does not answer.
        """
        if self._signer is None:
            raise ValueError("a verifier cannot sign")
        with self._lock:
            end, last = self._compare()
            if self._own is not None and (last is None or last.size < self._own.size):
                # Storing it was interrupted, or somebody deleted it.
                store_checkpoint(self._journal, self._origin, self._own)
                last = self._own
            size = end if upto is None else min(upto, end)
            if last is not None and last.size >= size:
                return last
            if size == 0:
                return None
            growth = self._signed_tree(size)
            root = growth.tree.root()
            text = Checkpoint(self._origin, size, root).text
            signed = SignedCheckpoint(size, root, sign_note(text, self._signer))
            # Outside the database first: a checkpoint without a head is reported as a lost head.
            if self._own_place is not None:
                self._keep(self._own_place, signed)
                self._own = signed
            store_checkpoint(self._journal, self._origin, signed)
            self._remember(growth)
            for place in self._places[1:]:
                try:
                    self._keep(place, signed)
                except HeadPlaceSilent:
                    continue  # it gets the next head that it can take
            return signed

    # --- comparing -------------------------------------------------------------------------------

    def _compare(self) -> tuple[int, SignedCheckpoint | None]:
        """Returns: the journal's last position and the database's newest checkpoint."""
        end = self._journal.head().position
        heads: list[_Found] = []
        compared = dict(self._compared)
        if end != self._tree.size or time.monotonic() >= self._places_due:
            heads = self._new_heads(compared)
            self._places_due = time.monotonic() + PLACES_EVERY_S
            # Again, because another process may have appended and signed meanwhile.
            end = self._journal.head().position
        self._check_end()
        self._check_own()
        last = latest_checkpoint(self._journal, self._origin)
        if self._is_begun:
            stored: Iterable[_Found] = [("the database", last)] if last is not None else []
        else:
            self._expect_own(heads, last)
            # A checkpoint under a head that agrees says nothing new; the audit compares them all.
            stored = self._stored_heads(max((head.size for _, head in heads), default=0))
        self._compare_tail(end)
        heads.sort(key=_size)
        self._compare_heads(merge(heads, stored, key=_size), end)
        self._compared = compared
        self._is_begun = True
        return end, last

    def _new_heads(self, compared: dict[str, int]) -> list[_Found]:
        """The heads of every place that were not compared yet, each with the place's name.

        compared: by place, the largest head that was compared; brought up to date.
        """
        heads: list[_Found] = []
        for place in self._places:
            try:
                found: list[_Found] = []
                for size in place.sizes(self._origin, compared.get(place.name, 0)):
                    note = place.read(self._origin, size)
                    if note is not None:  # it was removed meanwhile, as an old one
                        found.append((place.name, self._opened(place.name, size, note)))
            except HeadPlaceSilent:
                if place is self._own_place or self._wait_for_places:
                    raise
                continue
            if found:
                compared[place.name] = found[-1][1].size
                heads.extend(found)
                if place is self._own_place:
                    self._own = found[-1][1]
        return heads

    def _opened(self, place: str, size: int, note: str) -> SignedCheckpoint:
        """A head that was read from a place. Raises: LogDiffers if it is not one of this log."""
        try:
            head = opened_head(note, self._verifier)
        except BadNote as error:
            raise self._differs(f"the head of size {size} in {place}: {error}") from None
        if head.size != size:
            raise self._differs(f"the head of size {size} in {place} says {head.size}")
        return head

    def _stored_heads(self, after: int) -> Iterator[_Found]:
        while page := checkpoints_after(self._journal, after, origin=self._origin):
            for stored in page:
                yield "the database", stored
            after = page[-1].size

    def _expect_own(self, heads: Sequence[_Found], last: SignedCheckpoint | None) -> None:
        """A log that was signed has a head in the own place. Raises: LogDiffers."""
        if self._own_place is None or self._own is not None:
            return
        known = [*heads, *([("the database", last)] if last is not None else [])]
        if known:
            place, head = known[-1]
            own = self._own_place.name
            raise self._differs(f"{own} has no head, but {place} has one of size {head.size}")

    def _check_own(self) -> None:
        """The newest head of the own place is still there. Raises: LogDiffers."""
        own, place = self._own, self._own_place
        if own is None or place is None:
            return
        if place.read(self._origin, own.size) != own.note:
            raise self._differs(f"the head of size {own.size} in {place.name} is gone")

    def _check_end(self) -> None:
        """No event lies beyond the head, which the program moves with each. Raises: SealBroken."""
        if self._journal.unranged_sealer is None:
            return  # compared without looking at seals
        rows = self._journal.query(_BEYOND, (self._journal.ledger,))
        if rows:
            raise SealBroken(ledger=self._journal.ledger, what="event", position=rows[0][0])

    def _compare_tail(self, end: int) -> None:
        """Compare the end of the tree with the journal. Raises: LogDiffers."""
        size = self._tree.size
        if end < size:
            raise self._differs(f"{size} events were compared before, and it now ends at {end}")
        if not self._tail:
            return
        after = size - len(self._tail)
        [(leaves, moved)] = self._journal.query(_TAIL, (self._journal.ledger, after, size))
        if bytes(leaves or b"") != hashlib.sha256(b"".join(self._tail)).digest():
            raise self._differs(f"the events from {after + 1} to {size} were altered")
        if moved is not None:
            raise self._differs(f"position {moved} has another stream or topic than its event")

    def _compare_heads(self, heads: Iterable[_Found], end: int) -> None:
        """Compare heads with the journal, the smallest first. Raises: LogDiffers."""
        growth: _Growth | None = None
        for place, head in heads:
            if head.size > end:
                what = f"{place} has a head of size {head.size}, and the journal ends at {end}"
                raise self._differs(what)
            root = self._roots.get(head.size)
            if root is None:
                if growth is None:
                    growth = self._growth(head.size)
                growth.extend_to(head.size, end)
                root = growth.tree.root() if growth.tree.size == head.size else None
            if root != head.root:
                raise self._differs(f"the head of size {head.size} in {place} has another root")
            self._roots[head.size] = root
        if growth is not None:
            self._remember(growth)

    def _differs(self, reason: str) -> LogDiffers:
        return LogDiffers(ledger=self._journal.ledger, reason=reason)

    # --- the tree --------------------------------------------------------------------------------

    def _growth(self, size: int) -> _Growth:
        """A tree to extend to a size: a copy of the one in memory if it is not larger."""
        if self._tree.size <= size:
            return _Growth(self._journal, self._tree.copy(), self._tail.copy())
        return _Growth(self._journal, CompactRange(), deque(maxlen=TAIL_EVENTS))

    def _signed_tree(self, size: int) -> _Growth:
        """The tree of a size, with hashes computed from the envelopes, and seals checked.

        Needed only for events that no signature covers yet: an earlier wrong hash has another
        root. Raises: LogDiffers, SealBroken.
        """
        growth = self._growth(size)
        if growth.tree.size == 0 and self._tree.size > 0:
            growth.extend_to(size, size)
        while growth.tree.size < size:
            after = growth.tree.size
            upto = min(size, after + RANGE_EVENTS)
            leaves = self._verified_leaves(after, upto)
            if len(leaves) != upto - after:
                raise self._differs(f"of the events from {after + 1} to {upto} some are gone")
            growth.add(leaves)
        return growth

    def _verified_leaves(self, after: int, upto: int) -> list[bytes]:
        """Leaf hashes computed from envelopes. Raises: LogDiffers at a wrong one, SealBroken."""
        leaves = verified_leaf_hashes(self._journal, after, upto)
        if leaves is not None:
            return leaves
        leaves = []
        for event in self._journal.events(after, upto):
            leaf = envelopes.leaf_hash(event.envelope)
            expected = after + len(leaves) + 1
            if event.position != expected or leaf != event.leaf_hash:
                raise self._differs(f"event {expected} is not as it was written")
            leaves.append(leaf)
        return leaves

    def _remember(self, growth: _Growth) -> None:
        """Continue from a tree that agrees with everything known."""
        self._roots[growth.tree.size] = growth.tree.root()
        while len(self._roots) > _ROOTS_MAX:
            del self._roots[next(iter(self._roots))]
        if growth.tree.size >= self._tree.size:
            self._tree, self._tail = growth.tree, growth.tail

    # --- storing ---------------------------------------------------------------------------------

    def _keep(self, place: HeadPlace, signed: SignedCheckpoint) -> None:
        """Write a head to a place. Raises: LogDiffers if it has another one, HeadPlaceSilent."""
        try:
            place.write(self._origin, signed.size, signed.note)
        except HeadExists:
            # Another text may be the same head with more signatures; another root is not.
            note = place.read(self._origin, signed.size) or ""
            if self._opened(place.name, signed.size, note).root != signed.root:
                what = f"the head of size {signed.size} in {place.name} has another root"
                raise self._differs(what) from None
        self._compared[place.name] = max(signed.size, self._compared.get(place.name, 0))


def store_checkpoint(journal: Journal, origin: str, signed: SignedCheckpoint) -> None:
    """Store a checkpoint in the database. Raises: LogDiffers if another one of that size is there.

    origin: of the log.
    """
    journal.change(
        "INSERT INTO certledger.checkpoints (ledger, origin, size, root, note) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (journal.ledger, origin, signed.size, signed.root, signed.note),
    )
    # Another process may have stored this size first; the stored one is valid.
    stored = checkpoint_of_size(journal, signed.size, origin)
    if stored is None or stored.root != signed.root:
        reason = f"the checkpoint of size {signed.size} in the database has another root"
        raise LogDiffers(ledger=journal.ledger, reason=reason)


def opened_head(note: str, verifier: Verifier) -> SignedCheckpoint:
    """The head in a signed note of a log. Raises: BadNote unless the log's key signed it."""
    checkpoint = Checkpoint.parse(open_note(note, (verifier,))[0])
    if checkpoint.origin != verifier.name:
        raise BadNote(reason=f"it is of the log {checkpoint.origin}")
    return SignedCheckpoint(checkpoint.size, checkpoint.root, note)


def last_common_size(journal: Journal, heads: Sequence[SignedCheckpoint], end: int) -> int:
    """The largest size up to which a journal and all heads agree; 0 if they never do.

    heads: ascending by size, of which one size may have several. end: of the journal.
    """
    growth = _Growth(journal, CompactRange(), deque(maxlen=TAIL_EVENTS))
    common = 0
    for size, same in groupby(heads, key=lambda head: head.size):
        growth.extend_to(size, end)
        if growth.tree.size != size or any(head.root != growth.tree.root() for head in same):
            break
        common = size
    return common


def latest_checkpoint(journal: Journal, origin: str | None = None) -> SignedCheckpoint | None:
    """The largest signed tree head, None if there is none. origin: of any log if None."""
    return _one(journal, origin, "ORDER BY size DESC LIMIT 1")


def checkpoint_of_size(
    journal: Journal, size: int, origin: str | None = None
) -> SignedCheckpoint | None:
    """The signed tree head of exactly that size."""
    return _one(journal, origin, "AND size = %s LIMIT 1", size)


def checkpoints_after(
    journal: Journal, size: int, limit: int = 1000, origin: str | None = None
) -> list[SignedCheckpoint]:
    """Signed tree heads larger than `size`, smallest first.

    origin: of every log of the ledger if None; it has several after a recovery.
    """
    rows = journal.query(
        "SELECT size, root, note FROM certledger.checkpoints WHERE ledger = %s "
        "AND origin = coalesce(%s, origin) AND size > %s ORDER BY size LIMIT %s",
        (journal.ledger, origin, size, limit),
    )
    return [SignedCheckpoint(size, bytes(root), note) for size, root, note in rows]


def leaf_hashes(journal: Journal, after: int, upto: int) -> list[bytes]:
    """Stored leaf hashes of positions after < position <= upto, in order.

    Sent as one value, which is faster for a thousand and more. Missing rows make the list shorter.
    """
    rows = journal.query(
        "SELECT encode(string_agg(leaf_hash, ''::bytea ORDER BY position), 'base64') "
        "FROM certledger.journal WHERE ledger = %s AND position > %s AND position <= %s",
        (journal.ledger, after, upto),
    )
    joined = base64.b64decode(rows[0][0] or "")
    return [joined[i : i + 32] for i in range(0, len(joined), 32)]


def _one(
    journal: Journal, origin: str | None, rest: str, *arguments: object
) -> SignedCheckpoint | None:
    rows = journal.query(
        "SELECT size, root, note FROM certledger.checkpoints WHERE ledger = %s "
        f"AND origin = coalesce(%s, origin) {rest}",
        (journal.ledger, origin, *arguments),
    )
    return SignedCheckpoint(rows[0][0], bytes(rows[0][1]), rows[0][2]) if rows else None

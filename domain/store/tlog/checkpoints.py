"""Signed tree heads: the ledger's public, irrevocable commitments to its history.

The signer signs a checkpoint only if the journal still continues the last signed one, because a log
that signs two histories (a split view) proves nothing. Reading order: CheckpointSigner.sign.
"""

import base64
import threading
from dataclasses import dataclass

from domain.store.errors import InconsistentLog
from domain.store.journal import envelope as envelopes
from domain.store.journal.journal import Journal
from domain.store.tlog.fast_audit import RANGE_EVENTS, verified_leaf_hashes
from domain.store.tlog.merkle import CompactRange
from domain.store.tlog.signed_note import Checkpoint, Signer, sign_note


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it is stored and published. root: 32 bytes; note: the whole signed note."""

    size: int
    root: bytes
    note: str


class CheckpointSigner:
    """Signs a journal's tree heads. Keeps the tree in memory, so that it reads only new leaves.

    Thread-safe. Several processes may sign the same ledger: all sign prefixes of the same journal,
    and a size is stored once.
    """

    def __init__(self, journal: Journal, signer: Signer) -> None:
        """signer: its name is the log's origin."""
        self._journal = journal
        self._signer = signer
        self._tree = CompactRange()
        self._lock = threading.Lock()

    def sign(self, upto: int | None = None) -> SignedCheckpoint | None:
        """Sign the current journal and store the checkpoint.

        upto: sign only the first `upto` events; all if None.
        Returns: the newest checkpoint, which is an existing one if there are no new events; None
            if the journal is empty and nothing was ever signed.
        Raises: InconsistentLog if the journal no longer continues what was signed before.
        """
        with self._lock:
            last = latest_checkpoint(self._journal)
            head = self._journal.head().position
            size = head if upto is None else min(upto, head)
            if last is not None and last.size >= size:
                return last
            if size == 0:
                return None
            tree = (
                self._tree.copy()
                if last is None or self._tree.size <= last.size
                else CompactRange()
            )
            if last is not None:
                self._grow(tree, last.size, rehash=False)
                if tree.size != last.size or tree.root() != last.root:
                    raise InconsistentLog(size=last.size)
            self._grow(tree, size, rehash=True)
            stored = self._store(size, tree.root())
            self._tree = tree
            return stored

    def _grow(self, tree: CompactRange, size: int, *, rehash: bool) -> None:
        """Add the leaves up to a size.

        rehash: compute the hashes from the envelopes instead of reading the stored ones. Needed
            only for events that no signature covers yet: an earlier wrong hash changes the root.
        """
        while tree.size < size:
            upto = min(size, tree.size + RANGE_EVENTS)
            if rehash:
                page = verified_leaf_hashes(self._journal, tree.size, upto) or self._one_by_one(
                    tree.size, upto
                )
            else:
                page = leaf_hashes(self._journal, tree.size, upto)
            if not page:
                raise InconsistentLog(size=size)
            tree.extend(page)
        if tree.size != size:
            raise InconsistentLog(size=size)

    def _one_by_one(self, after: int, upto: int) -> list[bytes]:
        """As `verified_leaf_hashes`, event by event. Raises: InconsistentLog at a wrong one."""
        leaves: list[bytes] = []
        for event in self._journal.events(after, upto):
            leaf = envelopes.leaf_hash(event.envelope)
            size = after + len(leaves)
            if event.position != size + 1 or leaf != event.leaf_hash:
                raise InconsistentLog(size=size)
            leaves.append(leaf)
        return leaves

    def _store(self, size: int, root: bytes) -> SignedCheckpoint:
        text = Checkpoint(self._signer.verifier.name, size, root).text
        signed = SignedCheckpoint(size, root, sign_note(text, self._signer))
        self._journal.change(
            "INSERT INTO certledger.checkpoints (ledger, size, root, note) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT (ledger, size) DO NOTHING",
            (self._journal.ledger, size, root, signed.note),
        )
        # Another process may have stored this size first; the stored one is valid.
        stored = checkpoint_of_size(self._journal, size)
        if stored is None or stored.root != root:
            raise InconsistentLog(size=size)
        return stored


def latest_checkpoint(journal: Journal) -> SignedCheckpoint | None:
    """The largest signed tree head, None if there is none."""
    return _one(journal, "ORDER BY size DESC LIMIT 1")


def checkpoint_of_size(journal: Journal, size: int) -> SignedCheckpoint | None:
    """The signed tree head of exactly that size."""
    return _one(journal, "AND size = %s", size)


def checkpoints_after(journal: Journal, size: int, limit: int = 1000) -> list[SignedCheckpoint]:
    """Signed tree heads larger than `size`, smallest first."""
    rows = journal.query(
        "SELECT size, root, note FROM certledger.checkpoints "
        "WHERE ledger = %s AND size > %s ORDER BY size LIMIT %s",
        (journal.ledger, size, limit),
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


def _one(journal: Journal, rest: str, *arguments: object) -> SignedCheckpoint | None:
    rows = journal.query(
        f"SELECT size, root, note FROM certledger.checkpoints WHERE ledger = %s {rest}",
        (journal.ledger, *arguments),
    )
    return SignedCheckpoint(rows[0][0], bytes(rows[0][1]), rows[0][2]) if rows else None

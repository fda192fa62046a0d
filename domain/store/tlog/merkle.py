"""The Merkle tree over a log's leaves, as RFC 6962 section 2.1 defines it.

A root commits to every leaf of its tree; a proof of a few hashes shows that a leaf is included
under a root, or that one root continues another. Hashes are 32 bytes; indexes count from 0, so the
event at position p is leaf p - 1. Reading order: the hashes, CompactRange, making proofs, verifying
them. Nothing but the tests makes or verifies proofs so far; the transparency log will.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

HASH_BYTES = 32

_BLOCK_LEAVES = 4096

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the empty tree."""

Subtree = Callable[[int, int], bytes]
"""(begin, end) -> root of the leaves begin <= i < end, where end - begin may be any size."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """A growing tree as the roots of its full subtrees, one for each 1 bit of its size."""

    __slots__ = ("_roots", "size")

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []  # largest subtree first

    def add(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        self._add(leaf, 1)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes in order."""
        rest = iter(leaves)
        while block := list(islice(rest, _BLOCK_LEAVES)):
            begin = 0
            while begin < len(block):
                # The largest full subtree from here; hashing it level by level is twice as fast.
                count = 1 << (len(block) - begin).bit_length() - 1
                if self.size:
                    count = min(count, self.size & -self.size)
                self._add(_full_root(block[begin : begin + count]), count)
                begin += count

    def grow(self, other: "CompactRange") -> None:
        """Append the leaves of another tree, given by its compact range.

        Raises: ValueError unless its subtrees are also subtrees of the joined tree.
        """
        size = other.size
        for root in other._roots:
            count = 1 << size.bit_length() - 1
            if self.size % count:
                raise ValueError(f"{count} leaves after {self.size} are no subtree")
            self._add(root, count)
            size -= count

    def _add(self, root: bytes, count: int) -> None:
        """Append a full subtree of count leaves; size is a multiple of count, a power of two."""
        self.size += count
        self._roots.append(root)
        # Each trailing zero bit of the new size merges a pair of equal subtrees.
        merges = (self.size & -self.size).bit_length() - count.bit_length()
        for _ in range(merges):
            right = self._roots.pop()
            self._roots[-1] = node_hash(self._roots[-1], right)

    def root(self) -> bytes:
        """Root of everything added so far."""
        if not self._roots:
            return EMPTY_ROOT
        result = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            result = node_hash(left, result)
        return result

    def copy(self) -> "CompactRange":
        """An independent tree of the same leaves."""
        other = CompactRange()
        other.size, other._roots = self.size, list(self._roots)
        return other


def _full_root(level: list[bytes]) -> bytes:
    """Root of a power of two of leaf hashes."""
    sha256 = hashlib.sha256
    while len(level) > 1:
        nodes = iter(level)
        level = [sha256(b"\x01" + left + next(nodes)).digest() for left in nodes]
    return level[0]


def root(leaves: Iterable[bytes]) -> bytes:
    """Root of leaf hashes."""
    tree = CompactRange()
    tree.extend(leaves)
    return tree.root()


def subtree_of(leaves: Sequence[bytes]) -> Subtree:
    """Subtree roots of leaf hashes held in memory."""
    return lambda begin, end: root(leaves[begin:end])


# --- making proofs -------------------------------------------------------------------------------


def inclusion_path(index: int, size: int) -> list[tuple[int, int]]:
    """Leaf ranges whose roots prove a leaf, from the leaf upwards.

    Raises: ValueError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[tuple[int, int]] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin = middle
    return path[::-1]


def consistency_path(old: int, size: int) -> list[tuple[int, int]]:
    """Leaf ranges whose roots prove that the tree of `size` continues the one of `old`.

    Empty if both are the same. Raises: ValueError unless 0 < old <= size.
    """
    if not 0 < old <= size:
        raise ValueError(f"a tree of {size} does not continue one of {old}")
    path: list[tuple[int, int]] = []
    begin, end = 0, size
    whole = True  # the old tree itself is a subtree here, and its root known to the verifier
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin = middle
            whole = False
    if not whole:
        path.append((begin, end))
    return path[::-1]


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Hashes that prove leaf `index` under the root of `size`. Raises: ValueError."""
    return [subtree(begin, end) for begin, end in inclusion_path(index, size)]


def consistency_proof(old: int, size: int, subtree: Subtree) -> list[bytes]:
    """Hashes that prove that root `size` continues root `old`. Raises: ValueError."""
    return [subtree(begin, end) for begin, end in consistency_path(old, size)]


def _split(size: int) -> int:
    """The largest power of two smaller than size."""
    return 1 << (size - 1).bit_length() - 1


# --- verifying them ------------------------------------------------------------------------------


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected_root: bytes
) -> bool:
    """Whether the proof shows the leaf hash at `index` under the root of `size`."""
    if not 0 <= index < size or not _are_hashes(leaf, expected_root, *proof):
        return False
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and found == expected_root


def verify_consistency(
    old: int, size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the proof shows that the tree of `size` continues the one of `old`.

    old is at least 1: nothing needs to be shown about an empty tree, and a proof for it proves
    nothing.
    """
    if not 0 < old <= size or not _are_hashes(old_root, new_root, *proof):
        return False
    if old == size:
        return not proof and old_root == new_root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = old - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            found_old = node_hash(sibling, found_old)
            found_new = node_hash(sibling, found_new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and found_old == old_root and found_new == new_root


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)

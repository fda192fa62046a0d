"""The latest position of each of many texts, in 16 bytes each; a dict takes ten times as much.

The keys are their hashes of 64 bits, which are not the same in two processes. If two keys had the
same one, the later position would count for both: less than once in ten million processes with a
million keys each.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

_SHARDS = 4096
"""A power of two. A new key costs a copy of its shard."""

_Shard = tuple["array[int]", "array[int]"]
"""Hashes in order, and their positions."""

_NOTHING: _Shard = (array("q"), array("q"))


class LatestPositions:
    """Key -> position. One thread writes at a time; any thread reads meanwhile."""

    def __init__(self) -> None:
        self._shards = [_NOTHING] * _SHARDS

    def advance(self, key: tuple[str, ...], position: int) -> None:
        """Take note of a position of a key, unless it has a later one."""
        hashed = hash(key)
        number = hashed % _SHARDS
        hashes, positions = self._shards[number]
        at = bisect_left(hashes, hashed)
        if at < len(hashes) and hashes[at] == hashed:
            positions[at] = max(position, positions[at])
            return
        # Both arrays are new, so that a reader never finds one without the other.
        self._shards[number] = _inserted(hashes, at, hashed), _inserted(positions, at, position)

    def of(self, key: tuple[str, ...]) -> int:
        """The latest position of a key; 0 for one that has none."""
        hashed = hash(key)
        hashes, positions = self._shards[hashed % _SHARDS]
        at = bisect_left(hashes, hashed)
        return positions[at] if at < len(hashes) and hashes[at] == hashed else 0


def _inserted(values: array[int], at: int, value: int) -> array[int]:
    longer = values[:at]
    longer.append(value)
    longer.extend(values[at:])
    return longer

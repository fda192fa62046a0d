"""Draws the ids of commands: 128 random bits, which say nothing about who asked for what."""

import os
from uuid import UUID

ID_BYTES = 16
_DRAWN_AT_ONCE = 256


class CommandIds:
    """Random ids, each drawn once. Thread-safe; not for use after a fork.

    Many are drawn at once: each system call releases the interpreter lock and waits for it again.
    """

    __slots__ = ("_drawn",)

    def __init__(self) -> None:
        self._drawn: list[UUID] = []

    def draw(self) -> UUID:
        """A new id. All 128 bits are random, so it has no version of RFC 9562."""
        try:
            return self._drawn.pop()
        except IndexError:
            drawn = os.urandom(ID_BYTES * _DRAWN_AT_ONCE)
        ids = [UUID(bytes=drawn[n : n + ID_BYTES]) for n in range(0, len(drawn), ID_BYTES)]
        self._drawn.extend(ids[1:])
        return ids[0]

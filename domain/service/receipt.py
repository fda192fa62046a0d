"""The receipt of a recorded command."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson


class Receipt(NamedTuple):
    """What the caller of a recorded command gets.

    stream, version: the first stream written to and its new version. first_position,
    last_position: of its facts in the ledger; a read with `min_position=last_position` sees them.
    """

    command_id: str
    ledger: str
    stream: str
    version: int
    first_position: int
    last_position: int
    topics: tuple[str, ...]
    recorded_at: str
    outcome: dict[str, Any]
    replayed: bool = False

    def to_bytes(self) -> bytes:
        """The stored form, which a repeated command is answered with."""
        return orjson.dumps(
            {
                "command_id": self.command_id,
                "ledger": self.ledger,
                "stream": self.stream,
                "version": self.version,
                "first_position": self.first_position,
                "last_position": self.last_position,
                "topics": self.topics,
                "recorded_at": self.recorded_at,
                "outcome": self.outcome,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, replayed: bool) -> Receipt:
        """Decode a stored receipt. Raises: ValueError."""
        fields = orjson.loads(data)
        return cls(**(fields | {"topics": tuple(fields["topics"]), "replayed": replayed}))

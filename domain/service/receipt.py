"""What a recorded command leaves its caller with."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson


class Receipt(NamedTuple):
    """What a recorded command leaves the caller with.

    stream, version: the first stream written to and its new version. positions: where the facts
    stand in the ledger; a read with `min_position=last_position` sees them.
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
        """As kept with the command, to be given again when it comes again."""
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
        """The kept receipt again."""
        fields = orjson.loads(data)
        return cls(**(fields | {"topics": tuple(fields["topics"]), "replayed": replayed}))

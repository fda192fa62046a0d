"""What a recorded command leaves its caller with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Receipt:
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
        fields = asdict(self)
        del fields["replayed"]
        return json.dumps(fields, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, replayed: bool) -> Receipt:
        """The kept receipt again."""
        fields = json.loads(data)
        return cls(**(fields | {"topics": tuple(fields["topics"]), "replayed": replayed}))

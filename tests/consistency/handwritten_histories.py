"""Histories written by hand, with their journals; for tests of the checker.

Times are small numbers chosen by the test. `History.wrote` appends to the journal as a correct
ledger would; a test then changes an answer or a row, and the checker has to find it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from tests.consistency.checker import check
from tests.consistency.database_oracle import Command, Event, Stored
from tests.consistency.history import Answer, Operation, Replayed, Saw, Unknown, Wrote
from tests.consistency.store_spec import (
    Ask,
    StoreRead,
    StoreSpec,
    digest_of,
    plain,
    receipt_of,
    request_hash_of,
)

MORNING = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


def made(position: int, stream: str, version: int, data: dict[str, Any], **changed: Any) -> Event:
    """A row of the journal with a matching envelope."""
    mark = data["mark"]
    fields = {
        "ledger": "omc",
        "stream": stream,
        "version": version,
        "topic": "fee_paid.v1",
        "event_id": str(uuid5(NAMESPACE_URL, f"https://example.com/{mark}/{position}")),
        "occurred_at": _text(MORNING),
        "recorded_at": _text(MORNING + timedelta(seconds=position)),
        "command_id": str(uuid5(NAMESPACE_URL, f"https://example.com/{mark}")),
        "data": data,
    } | changed
    envelope = json.dumps(fields).encode()
    return Event(
        position,
        stream,
        version,
        fields["event_id"],
        fields["topic"],
        envelope,
        hashlib.sha256(b"\x00" + envelope).digest(),
        MORNING,
        datetime.fromisoformat(fields["recorded_at"]),
        fields,
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class History:
    """A journal and the operations of its clients."""

    events: list[Event] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    claims: dict[tuple[tuple[str, str], int], int | None] = field(default_factory=dict)
    keys: dict[str, bytes | None] = field(default_factory=dict)
    _spec: StoreSpec = field(default_factory=StoreSpec)

    # --- correct operations ----------------------------------------------------------------------

    def wrote(self, ask: Ask, begun: float, ended: float, client: str = "x") -> Operation:
        """The next append, acknowledged."""
        events = self.append(ask)
        answer = Wrote(receipt_of(events), tuple(plain(event) for event in events))
        return self.answered(ask, answer, begun, ended, client)

    def append(self, ask: Ask) -> list[Event]:
        """The next append, without an answer."""
        head = len(self.events)
        data: dict[str, Any] = {"mark": ask.mark, "seen": self._spec.seen(ask, head)}
        if ask.person is not None and not ask.erase:
            self.keys.setdefault(ask.person, f"key of {ask.person}".encode())
            data["sealed_with"] = digest_of(self.keys[ask.person] or b"")
        elif ask.person is not None:
            self.keys[ask.person] = None
        events = []
        for place, (stream, _) in enumerate(ask.writes, 1):
            version = sum(e.stream == stream for e in [*self.events, *events]) + 1
            events.append(made(head + place, stream, version, data))
        assert self._spec.take(ask, events) is None
        self.events += events
        for claim in ask.releases:
            held = max(at for other, at in self.claims if other == claim)
            self.claims[claim, held] = head + 1
        self.claims |= dict.fromkeys(((claim, head + 1) for claim in ask.claims), None)
        if ask.key is not None:
            self.commands.append(_row(ask, events))
        return events

    def answered(
        self, asked: Any, answer: Answer, begun: float, ended: float | None, client: str = "x"
    ) -> Operation:
        """Any other operation."""
        returned = None if ended is None else int(ended * 1000)
        operation = Operation(client, asked, int(begun * 1000), returned, answer)
        self.operations.append(operation)
        return operation

    def saw(self, at: str, of: Any, what: Any, begun: float, ended: float) -> Operation:
        """A read of the journal."""
        return self.answered(StoreRead(at, of), Saw(what), begun, ended)

    def replayed(self, ask: Ask, begun: float, ended: float) -> Operation:
        """The same request again, answered with the first receipt."""
        [row] = [row for row in self.commands if row.key == ask.key]
        known = (row.command_id, row.first_position, row.last_position)
        return self.answered(ask, Replayed(row.receipt, known), begun, ended)

    def unknown(self, ask: Ask, begun: float, ended: float | None) -> Operation:
        """An operation with an unknown outcome."""
        return self.answered(ask, Unknown("outcome_unknown"), begun, ended)

    # --- violations ------------------------------------------------------------------------------

    def change(self, position: int, **changed: Any) -> None:
        """Replace a row of the journal."""
        event = self.events[position - 1]
        given = {"position": event.position, "stream": event.stream, "version": event.version,
                 "data": event.data, "event_id": event.event_id}  # fmt: skip
        self.events[position - 1] = made(**(given | changed))

    def stored(self) -> Stored:
        """Its tables."""
        last = self.events[-1] if self.events else None
        claims = {(*claim, at, until) for (claim, at), until in self.claims.items()}
        return Stored(
            "omc",
            last.position if last else 0,
            last.recorded_at if last else MORNING,
            self.events,
            self.commands,
            claims,
            self.keys,
        )

    def kinds(self, **changed: Any) -> set[str]:
        """Kinds of violations that the checker finds. changed: tables to replace."""
        found = check(self.operations, replace(self.stored(), **changed), StoreSpec())
        return {one.kind for one in found}


def _row(ask: Ask, events: list[Event]) -> Command:
    first, last = events[0], events[-1]
    return Command(
        "li", ask.key or "", request_hash_of(ask), first.command_id, first.position, last.position,
        receipt_of(events),
    )  # fmt: skip

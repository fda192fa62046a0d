"""Compares recorded commands and their receipts with the events they name.

Rows are read in order of their key, each with the events of its positions. One bit an event notes
which events belong to a command; an event that belongs to none is a finding.
Reading order: CommandsCheck.run, `_compare`, `_fault_of_receipt`.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.audit.results import CheckResult, Pace
from domain.service.receipt import Receipt
from domain.store.errors import SealBroken
from domain.store.journal.envelope import COMMAND_ID_SQL, rfc3339
from domain.store.journal.journal import Journal
from domain.store.tlog.audit import usable_sealer

_PAGE = 500
_EVENTS_MAX = 2000  # of one command; more than any command records

_READ = f"""
SELECT c.principal, c.key, c.request_hash, c.command_id, c.first_position, c.last_position,
    c.receipt, c.seal, c.seal_key, e.streams, e.versions, e.topics, e.recorded, e.commands
FROM (SELECT * FROM certledger.commands
    WHERE ledger = %(ledger)s AND (principal, key) > (%(principal)s, %(key)s)
    ORDER BY principal, key LIMIT {_PAGE}) c
LEFT JOIN LATERAL (SELECT array_agg(j.stream ORDER BY j.position) AS streams,
        array_agg(j.version ORDER BY j.position) AS versions,
        array_agg(j.topic ORDER BY j.position) AS topics,
        min(j.recorded_at) AS recorded,
        array_agg({COMMAND_ID_SQL} ORDER BY j.position) AS commands
    FROM certledger.journal j
    WHERE j.ledger = %(ledger)s AND j.position >= c.first_position
        AND j.position <= least(c.last_position, c.first_position + {_EVENTS_MAX})
        AND c.last_position <= %(upto)s) e ON true
ORDER BY c.principal, c.key"""


class _CommandRow(NamedTuple):
    principal: str
    key: str
    request_hash: bytes
    command_id: UUID
    first: int | None
    last: int | None
    receipt: bytes
    seal: bytes
    seal_key: str
    streams: list[str] | None
    versions: list[int] | None
    topics: list[str] | None
    recorded: datetime | None
    commands: list[str] | None

    @property
    def name(self) -> str:
        """The row in words; principal and key may be personal, the id is not."""
        return f"command {self.command_id}"


class CommandsCheck:
    """Seals of commands, their receipts against the events, and events without a command."""

    def __init__(self, journal: Journal) -> None:
        self.result = CheckResult("commands")
        self._journal = journal
        self._covered = bytearray()
        self._sealer = usable_sealer(journal)

    def run(self, upto: int, pace: Pace) -> None:
        """Compare every command up to a position. Raises: Unavailable; what `pace` raises."""
        self._covered = bytearray(upto // 8 + 1)
        named: dict[str, object] = {"ledger": self._journal.ledger, "upto": upto}
        named |= {"principal": "", "key": ""}
        while found := self._journal.query(_READ, named):
            for values in found:
                self._compare(_CommandRow(*values), upto)
            named |= {"principal": found[-1][0], "key": found[-1][1]}
            pace(upto)
        self._find_uncovered(upto)

    def _compare(self, row: _CommandRow, upto: int) -> None:
        if row.last is not None and row.last > upto:
            return  # recorded since the audit began
        self.result.count("commands")
        fault = self._fault_of_seal(row)
        if row.first is not None and row.last is not None:
            fault = self._fault_of_events(row) or fault or self._fault_of_receipt(row)
        if fault is not None:
            self.result.find(fault, row.first, row.name)

    def _fault_of_seal(self, row: _CommandRow) -> str | None:
        sealer = self._sealer
        if sealer is None:
            return None
        self.result.count("seals")
        try:
            sealer.check_command(
                row.principal,
                row.key,
                bytes(row.request_hash),
                row.command_id,
                bytes(row.receipt),
                bytes(row.seal),
                row.seal_key,
                row.last,
            )
        except SealBroken:
            return "its seal is not right"
        return None

    def _fault_of_events(self, row: _CommandRow) -> str | None:
        """Compare the positions; note the events that belong to the command."""
        assert row.first is not None
        assert row.last is not None
        own = str(row.command_id)
        commands = row.commands or []
        for position, command in enumerate(commands, row.first):
            if command == own:
                self._covered[position >> 3] |= 1 << (position & 7)
        if len(commands) != row.last - row.first + 1:
            return f"not all events from {row.first} to {row.last} are there"
        if commands != [own] * len(commands):
            return f"the events from {row.first} to {row.last} are of another command"
        return None

    def _fault_of_receipt(self, row: _CommandRow) -> str | None:
        assert row.streams, "compared before"
        assert row.versions
        assert row.recorded
        try:
            receipt = Receipt.from_bytes(bytes(row.receipt), replayed=False)
        except (ValueError, TypeError, KeyError):
            return "its receipt cannot be read"
        stream = row.streams[0]
        own = [v for s, v in zip(row.streams, row.versions, strict=True) if s == stream]
        expected = {
            "command_id": str(row.command_id),
            "ledger": self._journal.ledger,
            "stream": stream,
            "version": own[-1],
            "first_position": row.first,
            "last_position": row.last,
            "topics": tuple(row.topics or ()),
            "recorded_at": rfc3339(row.recorded),
        }
        wrong = [name for name, value in expected.items() if getattr(receipt, name) != value]
        return f"its receipt differs from the events: {', '.join(wrong)}" if wrong else None

    def _find_uncovered(self, upto: int) -> None:
        """Events that belong to no command, in runs."""
        first = None
        for position in range(1, upto + 2):
            is_bare = position <= upto and not self._covered[position >> 3] & 1 << (position & 7)
            if is_bare and first is None:
                first = position
            elif not is_bare and first is not None:
                last = position - 1
                until = f" to {last}" if last > first else ""
                self.result.find(f"no command recorded the events from {first}{until}"
                                 if until else "no command recorded this event", first)  # fmt: skip
                first = None

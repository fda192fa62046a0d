"""Reads a ledger's tables by plain SQL, independently of the program under test."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg2
import psycopg2.extras


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the journal. envelope: the exact bytes; ids are text."""

    position: int
    stream: str
    version: int
    event_id: str
    topic: str
    envelope: bytes
    leaf_hash: bytes
    occurred_at: datetime
    recorded_at: datetime
    parsed: dict[str, Any] = field(compare=False, repr=False)

    @property
    def command_id(self) -> str:
        return str(self.parsed["command_id"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.parsed["data"])


@dataclass(frozen=True, slots=True)
class Command:
    """One row of commands: the request under a key, and its receipt."""

    principal: str
    key: str
    request_hash: bytes
    command_id: str
    first_position: int | None
    last_position: int | None
    receipt: bytes


@dataclass(slots=True)
class Stored:
    """Everything of one ledger. claims: (kind, key, position, released); keys: by person, wrapped
    or None once destroyed."""

    ledger: str
    position: int
    recorded_at: datetime
    events: list[Event]
    commands: list[Command]
    claims: set[tuple[str, str, int, int | None]]
    keys: dict[str, bytes | None]


def read_stored(dsn: str, ledger: str) -> Stored:
    """One ledger at one moment."""
    connection = psycopg2.connect(dsn)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:

            def rows(sql: str, more: str = "") -> list[tuple[Any, ...]]:
                cursor.execute(f"{sql} WHERE ledger = %s {more}", (ledger,))
                return list(cursor.fetchall())

            [(position, recorded_at)] = rows("SELECT position, recorded_at FROM certledger.ledgers")
            events = rows(
                "SELECT position, stream, version, event_id::text, topic, envelope, leaf_hash, "
                "occurred_at, recorded_at FROM certledger.journal"
            )
            commands = rows(
                "SELECT principal, key, request_hash, command_id::text, first_position, "
                "last_position, receipt FROM certledger.commands"
            )
            claims = rows("SELECT kind, key, position, released_position FROM certledger.claims")
            keys = rows(
                "SELECT split_part(owner, '/', 2), max(wrapped) FROM certledger.data_keys",
                "AND owner LIKE 'person/%%' AND class = 'identity' GROUP BY owner",
            )
    finally:
        connection.close()
    return Stored(
        ledger,
        position,
        recorded_at,
        [_event(row) for row in sorted(events)],
        [_command(row) for row in commands],
        set(claims),
        {person: None if wrapped is None else bytes(wrapped) for person, wrapped in keys},
    )


def _event(row: tuple[Any, ...]) -> Event:
    position, stream, version, event_id, topic, envelope, leaf_hash, occurred, recorded = row
    parsed = json.loads(bytes(envelope))
    return Event(
        position, stream, version, event_id, topic, bytes(envelope), bytes(leaf_hash), occurred,
        recorded, parsed,
    )  # fmt: skip


def _command(row: tuple[Any, ...]) -> Command:
    principal, key, request_hash, command_id, first, last, receipt = row
    return Command(principal, key, bytes(request_hash), command_id, first, last, bytes(receipt))

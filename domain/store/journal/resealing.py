"""Seals the end of a journal again under another key, when a loss is accepted.

What an old key sealed after the last common position of a log is not good any more: events of the
lost history have such seals too. So the events that stay get new ones, after each old one was
checked. Needs the role that owns the tables; begin with `seal_again`.
"""

from typing import Any

from domain.store.errors import SealBroken
from domain.store.journal.sealed_rows import (
    COMMAND_COLUMNS,
    EVENT_COLUMNS,
    HEAD_COLUMNS,
    check_positions,
    command_from_row,
    event_from_row,
    head_from_row,
)
from domain.store.keys.seals import LedgerSealer
from domain.store.postgres.connection import Cursor

_PAGE = 1000

_EVENTS = f"""SELECT {EVENT_COLUMNS} FROM certledger.journal
WHERE ledger = %s AND position > %s ORDER BY position LIMIT {_PAGE}"""

_SEAL_EVENTS = """UPDATE certledger.journal j SET seal = decode(r.seal, 'hex'), seal_key = %s
FROM unnest(%s::bigint[], %s::text[]) AS r (position, seal)
WHERE j.ledger = %s AND j.position = r.position"""

_COMMANDS = f"""SELECT principal, key, {COMMAND_COLUMNS} FROM certledger.commands
WHERE ledger = %s AND last_position >= %s"""

_SEAL_COMMAND = """UPDATE certledger.commands SET seal = %s, seal_key = %s
WHERE ledger = %s AND principal = %s AND key = %s"""

_HEAD = f"SELECT {HEAD_COLUMNS} FROM certledger.ledgers WHERE ledger = %s FOR UPDATE"

_SEAL_HEAD = "UPDATE certledger.ledgers SET seal = %s, seal_key = %s WHERE ledger = %s"

_APPEND_ONLY = ("journal", "commands")


def seal_again(cursor: Cursor, old: LedgerSealer, new: LedgerSealer, first: int) -> None:
    """Seal every event from a position on, their commands and the head, in an open transaction.

    old: checks what is there. new: its active key seals.
    Raises: SealBroken for the first row that is missing or has no right seal; psycopg2.Error.
    """
    ledger = new.ledger
    cursor.execute(_HEAD, (ledger,))
    head = head_from_row(cursor.fetchone() or (0, None, None, None, None), old)
    if head.position < first or head.leaf_hash is None:
        return
    for table in _APPEND_ONLY:
        cursor.execute(f"ALTER TABLE certledger.{table} DISABLE TRIGGER no_update")
    _seal_events(cursor, old, new, first, head.position)
    cursor.execute(_COMMANDS, (ledger, first))
    for principal, key, *row in cursor.fetchall():
        known = command_from_row((principal, key), row, old)
        seal = new.command(principal, key, known.request_hash, known.command_id, known.receipt)
        cursor.execute(_SEAL_COMMAND, (seal, new.key_id, ledger, principal, key))
    seal = new.head(head.position, head.leaf_hash)
    cursor.execute(_SEAL_HEAD, (seal, new.key_id, ledger))
    for table in _APPEND_ONLY:
        cursor.execute(f"ALTER TABLE certledger.{table} ENABLE ALWAYS TRIGGER no_update")


def _seal_events(
    cursor: Cursor, old: LedgerSealer, new: LedgerSealer, first: int, last: int
) -> None:
    """Raises: SealBroken, also if an event of these is missing."""
    after = first - 1
    while rows := _page(cursor, new.ledger, after):
        events = [event_from_row(row, old) for row in rows]
        check_positions(events, after, new.ledger)
        after = events[-1].position
        positions = [event.position for event in events]
        seals = [new.event(event.position, event.leaf_hash).hex() for event in events]
        cursor.execute(_SEAL_EVENTS, (new.key_id, positions, seals, new.ledger))
    if after != last:
        raise SealBroken(ledger=new.ledger, what="event", position=after + 1)


def _page(cursor: Cursor, ledger: str, after: int) -> list[tuple[Any, ...]]:
    cursor.execute(_EVENTS, (ledger, after))
    return cursor.fetchall()

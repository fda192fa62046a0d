"""What somebody does to the tables of a journal who has the database, and no key of the service.

A superuser takes the triggers down and changes rows; the application role inserts events, moves the
head and writes snapshots, as the program may. Every forger computes leaf hashes, for that needs no
key, and takes seals from where he finds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from domain.store.embedded.server import SUPERUSER
from domain.store.journal import envelope as envelopes
from domain.store.postgres.connection import Cursor, connect
from tests.support.postgres import Database

TABLES = ("journal", "ledgers", "commands", "checkpoints", "logins")


@contextmanager
def superuser(database: Database) -> Iterator[Cursor]:
    """A cursor that may change everything: the triggers are down meanwhile."""
    with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE certledger.{table} DISABLE TRIGGER ALL")
        yield cursor
        for table in TABLES:
            cursor.execute(f"ALTER TABLE certledger.{table} ENABLE TRIGGER ALL")


@contextmanager
def application_role(database: Database) -> Iterator[Cursor]:
    """A cursor with the rights of the program, and nothing else of it."""
    connection = connect(database.dsn)
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def stored(cursor: Cursor, position: int, ledger: str = "omc") -> dict[str, Any]:
    """The envelope of an event."""
    cursor.execute(
        "SELECT envelope FROM certledger.journal WHERE ledger = %s AND position = %s",
        (ledger, position),
    )
    return envelopes.parse(bytes(cursor.fetchone()[0]))  # type: ignore[index]


def alter(cursor: Cursor, position: int, ledger: str = "omc", **data: Any) -> None:
    """Change fields of an event, and its leaf hash with them; the seal stays."""
    changed = stored(cursor, position, ledger)
    changed["data"] |= data
    text = envelopes.canonical_json(changed)
    cursor.execute(
        "UPDATE certledger.journal SET envelope = %s, leaf_hash = %s "
        "WHERE ledger = %s AND position = %s",
        (text, envelopes.leaf_hash(text), ledger, position),
    )


def insert(
    cursor: Cursor, stream: str, version: int, topic: str, ledger: str = "omc", **data: Any
) -> int:
    """Insert an event after the last one, with the seal of that one. Returns: its position."""
    cursor.execute(
        "SELECT position, envelope, occurred_at, recorded_at, seal, seal_key "
        "FROM certledger.journal WHERE ledger = %s ORDER BY position DESC LIMIT 1",
        (ledger,),
    )
    row = cursor.fetchone()
    assert row is not None
    position, last, occurred_at, recorded_at, seal, seal_key = row
    event_id = uuid4()
    forged = envelopes.parse(bytes(last)) | {
        "event_id": str(event_id),
        "stream": stream,
        "version": version,
        "topic": topic,
        "data": data,
    }
    text = envelopes.canonical_json(forged)
    cursor.execute(
        "INSERT INTO certledger.journal (ledger, position, stream, version, event_id, topic, "
        "envelope, leaf_hash, occurred_at, recorded_at, seal, seal_key) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            *(ledger, position + 1, stream, version, str(event_id), topic),
            *(text, envelopes.leaf_hash(text), occurred_at, recorded_at, seal, seal_key),
        ),
    )
    return int(position) + 1


def move_head(cursor: Cursor, ledger: str = "omc") -> None:
    """Let the head be at the last event, with the seal that the event has."""
    cursor.execute(
        "UPDATE certledger.ledgers l SET position = j.position, leaf_hash = j.leaf_hash, "
        "seal = j.seal, seal_key = j.seal_key FROM certledger.journal j "
        "WHERE l.ledger = %s AND j.ledger = l.ledger AND j.position = "
        "(SELECT max(position) FROM certledger.journal WHERE ledger = l.ledger)",
        (ledger,),
    )


def swap(cursor: Cursor, one: int, other: int, ledger: str = "omc") -> None:
    """Let two events change places; all columns but the positions stay."""
    for old, new in ((one, 10**9), (other, one), (10**9, other)):
        cursor.execute(
            "UPDATE certledger.journal SET position = %s WHERE ledger = %s AND position = %s",
            (new, ledger, old),
        )


def delete(cursor: Cursor, position: int, ledger: str = "omc") -> None:
    """Remove an event."""
    cursor.execute(
        "DELETE FROM certledger.journal WHERE ledger = %s AND position = %s", (ledger, position)
    )

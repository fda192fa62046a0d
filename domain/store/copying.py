"""Many rows at once, as COPY's binary format: the bytes themselves, nothing to escape or to parse.

The format is PostgreSQL's own (COPY, "Binary Format"): a signature, then for each row the number
of fields and for each field its length and its bytes, big-endian.
"""

import io
import struct
from datetime import UTC, datetime, timedelta

from domain.store.batch import Batch
from domain.store.connection import PgCursor

_START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BLOCK_BYTES = 1 << 20

_length = struct.Struct(">i").pack
_bigint = struct.Struct(">iq").pack
_place = struct.Struct(">iqiqi").pack
_16, _32 = _length(16), _length(32)

_EVENTS = """COPY certledger.journal (ledger, recorded_at, position, version, stream, topic,
    event_id, envelope, leaf_hash, occurred_at) FROM STDIN (FORMAT binary)"""

_COMMANDS = """COPY certledger.commands (ledger, principal, key, request_hash, command_id,
    first_position, last_position, receipt) FROM STDIN (FORMAT binary)"""

_CLAIMS = """COPY certledger.claims (ledger, kind, key, position, released_position)
    FROM STDIN (FORMAT binary)"""


def copy_events(cursor: PgCursor, batch: Batch) -> None:
    """Write the events of a batch. Raises: psycopg2.Error."""
    pieces = [_START]
    start = struct.pack(">h", 10) + _bytes(batch.ledger.encode()) + _time(batch.recorded_at)
    for event in batch.events:
        stream, topic, envelope = event.stream.encode(), event.topic.encode(), event.envelope
        pieces += (
            start,
            _place(8, event.position, 8, event.version, len(stream)),
            stream,
            _length(len(topic)),
            topic,
            _16,
            event.event_id.bytes,
            _length(len(envelope)),
            envelope,
            _32,
            event.leaf_hash,
            _time(event.occurred_at),
        )
    _copy(cursor, _EVENTS, pieces)


def copy_commands(cursor: PgCursor, batch: Batch) -> None:
    """Write the commands of a batch. Raises: psycopg2.Error."""
    pieces = [_START]
    start = struct.pack(">h", 8) + _bytes(batch.ledger.encode())
    for (principal, key), known in batch.commands.items():
        pieces += (
            start,
            _bytes(principal.encode()),
            _bytes(key.encode()),
            _bytes(known.request_hash),
            _16,
            known.command_id.bytes,
            _number(known.first_position),
            _number(known.last_position),
            _bytes(known.receipt),
        )
    _copy(cursor, _COMMANDS, pieces)


def copy_claims(cursor: PgCursor, batch: Batch) -> None:
    """Write the claims that a batch takes. Raises: psycopg2.Error."""
    pieces = [_START]
    start = struct.pack(">h", 5) + _bytes(batch.ledger.encode())
    for new in batch.new_claims:
        kind, key = new.claim
        pieces += (
            start,
            _bytes(kind.encode()),
            _bytes(key.encode()),
            _bigint(8, new.position),
            _number(new.released_position),
        )
    _copy(cursor, _CLAIMS, pieces)


def _copy(cursor: PgCursor, sql: str, pieces: list[bytes]) -> None:
    pieces.append(_END)
    cursor.copy_expert(sql, io.BytesIO(b"".join(pieces)), _BLOCK_BYTES)


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value


def _number(value: int | None) -> bytes:
    return _NULL if value is None else _bigint(8, value)


def _time(moment: datetime) -> bytes:
    return _bigint(8, (moment - _EPOCH) // _MICROSECOND)

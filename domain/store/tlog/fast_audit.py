"""Reading a stretch of a journal again, fast: is everything in it as it was written?

This is the audit's quick eye. It only ever says "flawless, and these are the hashes" or "look
closer": naming what is wrong is left to `verify.py`, which reads that stretch once more, slowly.
Rows come as COPY's binary format, one piece a row, so that nothing is converted that is only
compared. Each is judged the moment it arrives, while it is in the processor's cache and the server
sends the next. Stretches are aligned to their size and thus are subtrees: several processes can
read at once. Reading order: `reread`, `rehashed`, `_judged`, `_told`, `misplaced`, `reread_all`.
"""

import hashlib
import struct
from binascii import hexlify
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
import psycopg2

from domain.store.errors import Unavailable
from domain.store.journal.envelope import rfc3339
from domain.store.journal.journal import Journal
from domain.store.postgres.connection import PgCursor
from domain.store.postgres.errors import is_connection_failure
from domain.store.processes.pool import shared
from domain.store.tlog.merkle import HASH_BYTES, CompactRange

STRETCH = 1 << 13
"""Events of one COPY; a power of two. Their hashes are in memory together, about half a MB."""

ENVELOPE_KEYS = (
    "actor", "causation_id", "command_id", "correlation_id", "data", "event_id", "ledger",
    "occurred_at", "recorded_at", "stream", "topic", "version",
)  # fmt: skip

_HASHES = "position, leaf_hash"
_EVERYTHING = f"{_HASHES}, recorded_at, version, event_id, occurred_at, topic, stream"

# Bounds are numbers of ours; the ledger's name is quoted by the driver.
_COPY = """COPY (SELECT {columns}, envelope FROM certledger.journal
WHERE ledger = %s AND position > %s AND position <= %s ORDER BY position)
TO STDOUT (FORMAT binary)"""

# A row of it: the number of fields, then each field's length and bytes, big-endian. x is what is
# known: the number of fields and the lengths of what always has the same.
_position_and_hash = struct.Struct(">6xqi32s")
_recorded_to_topic = struct.Struct(">4xq4xq4x16s4xqi")  # up to the topic's length
_parts_of_id = struct.Struct("8s4s4s4s12s").unpack
_TOLD = _position_and_hash.size
_TOPIC = _TOLD + _recorded_to_topic.size
_SIGNATURE_BYTES = 19

# Whoever is not version - 1's successor, in one pass along the index on (stream, version).
_MISPLACED = """SELECT position FROM (
    SELECT position, version, lag(version) OVER w AS version_before,
        lag(position) OVER w AS position_before
    FROM certledger.journal WHERE ledger = %s
    WINDOW w AS (PARTITION BY stream ORDER BY version)) j
WHERE NOT CASE WHEN version_before = version - 1 THEN position_before < position
    ELSE version <= 1 END
ORDER BY position LIMIT %s"""

_PLAIN = frozenset((str, int, bool, type(None)))
_DEPTH = 60  # a little less than is allowed: what is deeper gets a closer look
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER  # no more than 53 bits

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Order = tuple[int, int, Sequence[int], bool]
"""What `reread` is to do: after, upto, sizes, hashes_only."""


@dataclass(frozen=True, slots=True)
class Range:
    """Events after < position <= upto, where nothing is wrong in between.

    first and last: their recorded_at, as microseconds since 2000; 0 if only hashes were looked at.
    trees: the tree over the stretch's first n leaves, for every n that was asked for and for all.
    """

    after: int
    upto: int
    first: int
    last: int
    trees: dict[int, CompactRange]


def reread(
    journal: Journal, after: int, upto: int, sizes: Sequence[int] = (), hashes_only: bool = False
) -> Range | None:
    """Hash every event of a stretch again, and compare what it says with the columns beside it.

    sizes: of the trees wanted beside the whole one, after < size < upto.
    hashes_only: hashes and positions are all that is looked at.
    Returns: None if anything is not as expected, or missing.
    """
    found = _flawless(journal, after, upto, hashes_only)
    if found is None:
        return None
    leaves, first, last = found
    return Range(after, upto, first, last, _trees(leaves, after, upto, sizes))


def rehashed(journal: Journal, after: int, upto: int) -> list[bytes] | None:
    """The leaf hashes of a stretch, taken from its envelopes.

    Returns: None if one is not the hash beside its envelope, or an event is missing.
    """
    found = _flawless(journal, after, upto, hashes_only=True)
    return None if found is None else found[0]


def _flawless(
    journal: Journal, after: int, upto: int, hashes_only: bool
) -> tuple[list[bytes], int, int] | None:
    """Leaf hashes of a stretch, and the recorded_at of its first and last event."""
    found: list[tuple[list[bytes], int, int]] = []
    judge = _judged(after, upto, None if hashes_only else journal.ledger.encode(), found)
    next(judge)
    copy = _COPY.format(columns=_HASHES if hashes_only else _EVERYTHING)
    with _cursor(journal) as cursor:
        cursor.copy_expert(cursor.mogrify(copy, (journal.ledger, after, upto)), _Sink(judge.send))
    return found[0] if found else None


class _Sink:
    """A file to write to, as COPY wants it. write: called with every row."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write


def _judged(
    after: int, upto: int, ledger: bytes | None, found: list[tuple[list[bytes], int, int]]
) -> Generator[None, bytes, None]:
    """Takes a stretch's rows as they come, and tells `found` of it if there is nothing wrong.

    ledger: None does not read what the envelopes say.
    """
    leaves: list[bytes] = []
    first = last = 0
    unpack, begun = _position_and_hash.unpack_from, hashlib.sha256(b"\0")
    begin = _TOLD + 4
    try:
        row = (yield)[_SIGNATURE_BYTES:]
        for expected in range(after + 1, upto + 1):
            position, length, stored = unpack(row)
            if ledger is not None:
                begin, recorded, end = _told(row, ledger)
            envelope = row[begin:]
            hashed = begun.copy()  # cheaper than to begin anew, or to put the zero byte in front
            hashed.update(envelope)
            leaf = hashed.digest()
            if leaf != stored or position != expected or length != HASH_BYTES:
                break
            if ledger is not None:
                if recorded < last or not (envelope.endswith(end) and _is_canonical(envelope)):
                    break
                first, last = first or recorded, recorded
            leaves.append(leaf)
            row = yield
        else:
            found.append((leaves, first, last))
    except struct.error:
        pass  # the trailer, which is two bytes: rows are missing
    while True:
        yield


@contextmanager
def _cursor(journal: Journal) -> Iterator[PgCursor]:
    try:
        with journal.unit_of_work() as cursor:
            yield cursor
    except psycopg2.Error as error:
        if not is_connection_failure(error):
            raise
        raise Unavailable(ledger=journal.ledger) from error


def _trees(
    leaves: list[bytes], after: int, upto: int, sizes: Sequence[int]
) -> dict[int, CompactRange]:
    trees: dict[int, CompactRange] = {}
    tree = CompactRange()
    for size in sorted({*sizes, upto}):
        tree.extend(leaves[tree.size : size - after])
        trees[size] = tree.copy()
    return trees


def _told(row: bytes, ledger: bytes) -> tuple[int, int, bytes]:
    """What the columns of a row say.

    Returns: where the envelope begins; recorded_at; how the envelope ends if it says the same.

    The last members of a canonical envelope are exactly the columns, so they are compared as
    bytes: in valid JSON that ends like this they can be nothing but members of the outermost
    object. Text that would have to be escaped makes the comparison fail, never succeed.
    """
    recorded, version, event_id, occurred, topic_bytes = _recorded_to_topic.unpack_from(row, _TOLD)
    topic_end = _TOPIC + topic_bytes
    stream_end = topic_end + 4 + int.from_bytes(row[topic_end : topic_end + 4])
    return stream_end + 4, recorded, (
        b',"event_id":"%b-%b-%b-%b-%b","ledger":"%b","occurred_at":"%b","recorded_at":"%b",'
        b'"stream":"%b","topic":"%b","version":%d}'
    ) % (
        *_parts_of_id(hexlify(event_id)), ledger, _written(occurred), _written(recorded),
        row[topic_end + 4 : stream_end], row[_TOPIC:topic_end], version,
    )  # fmt: skip


def _is_canonical(envelope: bytes) -> bool:
    try:
        parsed = orjson.loads(envelope)
        return (
            orjson.dumps(parsed, option=_CANONICAL) == envelope
            and tuple(parsed) == ENVELOPE_KEYS
            and _is_plain(parsed)
            and (envelope.isascii() or _has_ascii_keys(parsed))
        )
    except (ValueError, TypeError):
        return False


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a parsed value is an object or a list without floats, and not too deep."""
    if depth > _DEPTH:
        return False
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return False
    for item in value:
        if type(item) in _PLAIN:
            continue
        if not _is_plain(item, depth + 1):
            return False
    return True


def _has_ascii_keys(value: Any) -> bool:
    """Whether every key in a plain value is ASCII."""
    if type(value) is dict:
        return all(map(str.isascii, value)) and all(map(_has_ascii_keys, value.values()))
    return type(value) is not list or all(map(_has_ascii_keys, value))


_written_times: dict[int, bytes] = {}


def _written(microseconds: int) -> bytes:
    """A time as envelopes have it. A batch's events share theirs, so the last ones are kept."""
    text = _written_times.get(microseconds)
    if text is None:
        if len(_written_times) > 1000:
            _written_times.clear()
        text = rfc3339(_EPOCH + timedelta(microseconds=microseconds)).encode()
        _written_times[microseconds] = text
    return text


def microseconds_of(moment: datetime) -> int:
    """A time as `Range` has it."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def misplaced(journal: Journal, limit: int) -> list[int]:
    """Positions of events whose stream has no version before theirs, or has it later."""
    with _cursor(journal) as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")  # it reads everything
        cursor.execute(_MISPLACED, (journal.ledger, limit))
        return [row[0] for row in cursor.fetchall()]


# --- several processes ---------------------------------------------------------------------------


def reread_all(
    journal: Journal, orders: Iterable[Order], processes: int
) -> Generator[Range | None, None, None]:
    """`reread` for each order, in their order; this process is one of those that read."""
    return shared(
        partial(_order, journal), orders, partial(_reader, journal.dsn, journal.ledger), processes
    )


def _order(journal: Journal, order: Order) -> Range | None:
    return reread(journal, *order)


def _reader(dsn: str, ledger: str) -> Callable[[Order], Range | None]:
    """What another process calls once, to read with a connection of its own."""
    return partial(_order, Journal(dsn, ledger))

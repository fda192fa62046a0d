"""Reading a stretch of a journal again, fast: is everything in it as it was written?

This is the audit's quick eye. It only ever says "flawless, and these are the hashes" or "look
closer": naming what is wrong is left to `verify.py`, which reads that stretch once more, slowly.
Rows come as COPY's binary format, one piece a row, so that nothing is converted that is only
compared. Stretches are aligned to their size and thus are subtrees: several processes can read at
once. Reading order: `reread`, `_is_told_by`, `misplaced`.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from typing import Any

import orjson
import psycopg2

from domain.store.connection import PgCursor, is_connection_failure
from domain.store.envelope import INTEGER_LIMIT, rfc3339
from domain.store.errors import Unavailable
from domain.store.journal import Journal
from domain.store.merkle import Frontier

STRETCH = 1 << 14
"""Events read at once by a process; a power of two. About 15 MB."""

ENVELOPE_KEYS = (
    "actor", "causation_id", "command_id", "correlation_id", "data", "event_id", "ledger",
    "occurred_at", "recorded_at", "stream", "topic", "version",
)  # fmt: skip

_COLUMNS = "position, version, leaf_hash, event_id, occurred_at, recorded_at, topic, stream"

# Bounds are numbers of ours; the ledger's name is quoted by the driver.
_COPY = f"""COPY (SELECT {_COLUMNS}, envelope FROM certledger.journal
WHERE ledger = %s AND position > %s AND position <= %s ORDER BY position)
TO STDOUT (FORMAT binary)"""

# A row of it: the number of fields, then each field's length and bytes, big-endian.
_FIXED = struct.Struct(">hiqiqi32si16siqiqi")
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

_SCALARS = frozenset((str, bool, type(None)))
_DEPTH = 60  # a little less than is allowed: what is deeper gets a closer look

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


Start = Callable[..., "Callable[[], Stretch | None]"]
"""Begins to `reread` (after, upto, sizes, hashes_only); what it returns waits for the result."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events after < position <= upto, where nothing is wrong in between.

    first and last: their recorded_at, as microseconds since 2000. trees: the tree over the
    stretch's first n leaves, for every n that was asked for and for all of them.
    """

    after: int
    upto: int
    first: int
    last: int
    trees: dict[int, Frontier]


def reread(
    journal: Journal, after: int, upto: int, sizes: Sequence[int] = (), hashes_only: bool = False
) -> Stretch | None:
    """Hash every event of a stretch again, and compare what it says with the columns beside it.

    sizes: of the trees wanted beside the whole one, after < size < upto.
    hashes_only: do not compare and do not look at the form.
    Returns: None if anything is not as expected, or missing.
    """
    with _cursor(journal) as cursor:
        rows = _rows(cursor, journal.ledger, after, upto)
    if len(rows) != upto - after:
        return None
    leaves: list[bytes] = []
    seen: list[int] = []
    ledger = journal.ledger.encode()
    sha256, unpack = hashlib.sha256, _FIXED.unpack_from
    position, recorded = after, 0
    for row in rows:
        position += 1
        fields = unpack(row)
        topic_end = _FIXED.size + fields[-1]
        stream_end = topic_end + 4 + int.from_bytes(row[topic_end : topic_end + 4])
        envelope = row[stream_end + 4 :]
        leaf = sha256(b"\0" + envelope).digest()
        if fields[2] != position or fields[6] != leaf or fields[12] < recorded:
            return None
        recorded = fields[12]
        if not hashes_only:
            topic, stream = row[_FIXED.size : topic_end], row[topic_end + 4 : stream_end]
            if not _is_told_by(envelope, ledger, fields, topic, stream):
                return None
        leaves.append(leaf)
        seen.append(recorded)
    return Stretch(after, upto, seen[0], recorded, _trees(leaves, after, upto, sizes))


@contextmanager
def _cursor(journal: Journal) -> Iterator[PgCursor]:
    try:
        with journal.unit_of_work() as cursor:
            yield cursor
    except psycopg2.Error as error:
        if not is_connection_failure(error):
            raise
        raise Unavailable(ledger=journal.ledger) from error


def _rows(cursor: PgCursor, ledger: str, after: int, upto: int) -> list[bytes]:
    """Rows as COPY gives them, each from its number of fields on."""
    pieces: list[bytes] = []

    class Pieces:
        write = staticmethod(pieces.append)  # called once a row

    cursor.copy_expert(cursor.mogrify(_COPY, (ledger, after, upto)), Pieces)
    pieces.pop()  # the trailer
    if pieces:
        pieces[0] = pieces[0][_SIGNATURE_BYTES:]
    return pieces


def _trees(leaves: list[bytes], after: int, upto: int, sizes: Sequence[int]) -> dict[int, Frontier]:
    trees: dict[int, Frontier] = {}
    tree = Frontier()
    for size in sorted({*sizes, upto}):
        tree.extend(leaves[tree.size : size - after])
        trees[size] = tree.copy()
    return trees


def _is_told_by(
    envelope: bytes, ledger: bytes, fields: Sequence[Any], topic: bytes, stream: bytes
) -> bool:
    """Whether the envelope is canonical and says what the columns say.

    The last members of a canonical envelope are exactly the columns, so they are compared as
    bytes: in valid JSON that ends like this they can be nothing but members of the outermost
    object. Text that would have to be escaped makes the comparison fail, never succeed.
    """
    h = fields[8].hex()
    end = b',"event_id":"%s-%s-%s-%s-%s","ledger":"%s","occurred_at":"%s","recorded_at":"%s"' % (
        h[:8].encode(), h[8:12].encode(), h[12:16].encode(), h[16:20].encode(), h[20:].encode(),
        ledger, _written(fields[10]), _written(fields[12]),
    )  # fmt: skip
    end += b',"stream":"%s","topic":"%s","version":%d}' % (stream, topic, fields[4])
    if not envelope.endswith(end):
        return False
    try:
        parsed = orjson.loads(envelope)
        return (
            tuple(parsed) == ENVELOPE_KEYS
            and orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS) == envelope
            and _is_plain(parsed["actor"])
            and _is_plain(parsed["data"])
        )
    except (ValueError, TypeError):
        return False


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a parsed value holds nothing that the canonical form forbids."""
    if type(value) is dict:
        if depth > _DEPTH or not all(map(str.isascii, value)):
            return False
        value = value.values()
    elif type(value) is not list or depth > _DEPTH:
        return type(value) is int and -INTEGER_LIMIT <= value <= INTEGER_LIMIT
    for item in value:
        if type(item) not in _SCALARS and not _is_plain(item, depth + 1):
            return False
    return True


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
    """A time as `Stretch` has it."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def misplaced(journal: Journal, limit: int) -> list[int]:
    """Positions of events whose stream has no version before theirs, or has it later."""
    with _cursor(journal) as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")  # it reads everything
        cursor.execute(_MISPLACED, (journal.ledger, limit))
        return [row[0] for row in cursor.fetchall()]


# --- several processes ---------------------------------------------------------------------------

_journal: Journal | None = None


def _open(dsn: str, ledger: str) -> None:
    global _journal
    _journal = Journal(dsn, ledger)


def _reread(*order: Any) -> Stretch | None:
    assert _journal is not None
    return reread(_journal, *order)


@contextmanager
def readers(journal: Journal, processes: int) -> Iterator[Start]:
    """`reread` for a block, in processes of their own, which start when first needed."""
    # Spawned, not forked: the caller may have threads and connections.
    pool = ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_open, initargs=(journal.dsn, journal.ledger)
    )

    def start(*order: Any) -> Callable[[], Stretch | None]:
        # A caller that cannot be started a second time, or not enough memory: read it here.
        try:
            future = pool.submit(_reread, *order)
        except BrokenProcessPool:
            return partial(reread, journal, *order)

        def finish() -> Stretch | None:
            try:
                return future.result()
            except BrokenProcessPool:
                return reread(journal, *order)

        return finish

    try:
        yield start
    finally:
        pool.shutdown(cancel_futures=True)

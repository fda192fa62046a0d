"""Fast pass of the audit: checks whether a range of events is as it was written and sealed.

Returns the leaf hashes of a range, or None if anything differs; naming what differs is left to
audit.py, which then reads that range once more, event by event.

Rows come in COPY's binary format, so that columns are compared as bytes without conversion. Each
row is checked as soon as it arrives, while it is in the processor's cache and the server sends the
next one. Ranges are aligned to their size and thus are subtrees, so several processes can audit
ranges at the same time.
Reading order: audit_range, verified_leaf_hashes, `_verify_rows`, `_expected_tail`, out_of_order,
audit_ranges.
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

from domain.store.errors import SealBroken, Unavailable
from domain.store.journal.envelope import rfc3339
from domain.store.journal.journal import Journal
from domain.store.keys.seals import SEAL_BYTES, LedgerSealer
from domain.store.postgres.connection import Cursor
from domain.store.postgres.errors import is_connection_failure
from domain.store.processes.pool import map_ordered
from domain.store.tlog.merkle import HASH_BYTES, CompactRange

RANGE_EVENTS = 1 << 13
"""Events of one COPY; a power of two. Their hashes take about half a MB of memory."""

ENVELOPE_KEYS = (
    "actor", "causation_id", "command_id", "correlation_id", "data", "event_id", "ledger",
    "occurred_at", "recorded_at", "stream", "topic", "version",
)  # fmt: skip

_HASHES = "position, leaf_hash, seal, seal_key"
_EVERYTHING = f"{_HASHES}, recorded_at, version, event_id, occurred_at, topic, stream"

# The driver quotes the ledger's name and the bounds.
_COPY = """COPY (SELECT {columns}, envelope FROM certledger.journal
WHERE ledger = %s AND position > %s AND position <= %s ORDER BY position)
TO STDOUT (FORMAT binary)"""

# A row: the number of fields, then the length and bytes of each field, big-endian. x skips what is
# known: the number of fields, and the lengths of fixed-size fields.
_position_and_hash = struct.Struct(">6xqi32si32si8s")
_KEY_ID_BYTES = 8
_recorded_to_topic = struct.Struct(">4xq4xq4x16s4xqi")  # up to the topic's length
_parts_of_id = struct.Struct("8s4s4s4s12s").unpack
_COLUMNS_AT = _position_and_hash.size
_TOPIC_AT = _COLUMNS_AT + _recorded_to_topic.size
_SIGNATURE_BYTES = 19

# Events that do not follow version - 1 of their stream, in one pass along the index on
# (stream, version).
_OUT_OF_ORDER = """SELECT position FROM (
    SELECT position, version, lag(version) OVER w AS version_before,
        lag(position) OVER w AS position_before
    FROM certledger.journal WHERE ledger = %s
    WINDOW w AS (PARTITION BY stream ORDER BY version)) j
WHERE NOT CASE WHEN version_before = version - 1 THEN position_before < position
    ELSE version <= 1 END
ORDER BY position LIMIT %s"""

_PLAIN = frozenset((str, int, bool, type(None)))
_DEPTH = 60  # a little less than is allowed; deeper envelopes get the detailed audit
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER  # no more than 53 bits

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

RangeTask = tuple[int, int, Sequence[int], bool, LedgerSealer | None]
"""Arguments of `audit_range`: after, upto, sizes, hashes_only, sealer."""


@dataclass(frozen=True, slots=True)
class Range:
    """A verified range of events, after < position <= upto.

    first and last: recorded_at of its first and last event, in microseconds since 2000; 0 if only
    hashes were checked. leaf: leaf hash of the last event. trees: by size, the tree over the
    range's leaves up to that size, for the requested sizes and for all.
    """

    after: int
    upto: int
    first: int
    last: int
    leaf: bytes
    trees: dict[int, CompactRange]


def audit_range(
    journal: Journal,
    after: int,
    upto: int,
    sizes: Sequence[int] = (),
    hashes_only: bool = False,
    sealer: LedgerSealer | None = None,
) -> Range | None:
    """Hash every event of a range again, and compare its envelope with its columns.

    sizes: of additional trees to return, after < size < upto.
    hashes_only: check only hashes, seals and positions. sealer: None checks no seals.
    Returns: None if anything differs or is missing.
    """
    found = _verify_range(journal, after, upto, hashes_only, sealer)
    if found is None:
        return None
    leaves, first, last = found
    return Range(after, upto, first, last, leaves[-1], _trees(leaves, after, upto, sizes))


def verified_leaf_hashes(journal: Journal, after: int, upto: int) -> list[bytes] | None:
    """The leaf hashes of a range, computed from its envelopes; seals are checked.

    Returns: None if one differs from the stored hash, has no right seal, or is missing.
    """
    found = _verify_range(journal, after, upto, True, journal.sealer)
    return None if found is None else found[0]


def _verify_range(
    journal: Journal, after: int, upto: int, hashes_only: bool, sealer: LedgerSealer | None
) -> tuple[list[bytes], int, int] | None:
    """Leaf hashes of a range, and recorded_at of its first and last event; None if any differs."""
    found: list[tuple[list[bytes], int, int]] = []
    ledger = None if hashes_only else journal.ledger.encode()
    verifier = _verify_rows(after, upto, ledger, sealer, found)
    next(verifier)
    copy = _COPY.format(columns=_HASHES if hashes_only else _EVERYTHING)
    with reading(journal) as cursor:
        cursor.copy_expert(
            cursor.mogrify(copy, (journal.ledger, after, upto)), _Sink(verifier.send)
        )
    return found[0] if found else None


class _Sink:
    """The file object that `copy_expert` needs. write: called with every row."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write


def _verify_rows(
    after: int,
    upto: int,
    ledger: bytes | None,
    sealer: LedgerSealer | None,
    found: list[tuple[list[bytes], int, int]],
) -> Generator[None, bytes, None]:
    """Receives the rows of a range one by one; appends the result to `found` if all are correct.

    ledger: None checks only positions, hashes and seals.
    """
    leaves: list[bytes] = []
    first = last = 0
    unpack, prefix = _position_and_hash.unpack_from, hashlib.sha256(b"\0")
    begin, end = _COLUMNS_AT + 4, b""
    recorded = 0
    check = None if sealer is None else _seal_check(sealer)
    try:
        row = (yield)[_SIGNATURE_BYTES:]
        for expected in range(after + 1, upto + 1):
            position, length, stored, *seal = unpack(row)
            if ledger is not None:
                begin, recorded, end = _expected_tail(row, ledger)
            envelope = row[begin:]
            hashed = prefix.copy()  # cheaper than a new hash or prepending the zero byte
            hashed.update(envelope)
            leaf = hashed.digest()
            if leaf != stored or position != expected or length != HASH_BYTES:
                break
            if check is not None:
                check(position, leaf, *seal)
            if ledger is not None:
                if recorded < last or not (envelope.endswith(end) and _is_canonical(envelope)):
                    break
                first, last = first or recorded, recorded
            leaves.append(leaf)
            row = yield
        else:
            found.append((leaves, first, last))
    except (struct.error, SealBroken):
        pass  # the trailer of two bytes came early: rows are missing; or a seal is not right
    while True:
        yield


def _seal_check(sealer: LedgerSealer) -> Callable[[int, bytes, int, bytes, int, bytes], None]:
    """Checks position, leaf hash, and the seal and key id as COPY sent them, with their lengths.

    The function raises: SealBroken.
    """
    check_event = sealer.check_event
    names: dict[bytes, str] = {}

    def check(
        position: int, leaf: bytes, seal_bytes: int, seal: bytes, key_bytes: int, key: bytes
    ) -> None:
        if (seal_bytes, key_bytes) != (SEAL_BYTES, _KEY_ID_BYTES):
            raise SealBroken(ledger=sealer.ledger, what="event", position=position)
        name = names.get(key)
        if name is None:
            name = names[key] = key.decode("latin-1")
        check_event(position, leaf, seal, name)

    return check


@contextmanager
def reading(journal: Journal) -> Iterator[Cursor]:
    """A cursor in a transaction, to read with COPY. Raises: Unavailable, psycopg2.Error."""
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


def _expected_tail(row: bytes, ledger: bytes) -> tuple[int, int, bytes]:
    """The end of the envelope that the columns of a row imply.

    Returns: offset of the envelope; recorded_at; the bytes that the envelope has to end with.

    The last members of a canonical envelope are exactly the columns, so they are compared as
    bytes: valid JSON that ends with these bytes has them as members of its outermost object. A
    text that needs escaping makes the comparison fail, never succeed.
    """
    recorded, version, event_id, occurred, topic_bytes = _recorded_to_topic.unpack_from(
        row, _COLUMNS_AT
    )
    topic_end = _TOPIC_AT + topic_bytes
    stream_end = topic_end + 4 + int.from_bytes(row[topic_end : topic_end + 4])
    return stream_end + 4, recorded, (
        b',"event_id":"%b-%b-%b-%b-%b","ledger":"%b","occurred_at":"%b","recorded_at":"%b",'
        b'"stream":"%b","topic":"%b","version":%d}'
    ) % (
        *_parts_of_id(hexlify(event_id)), ledger, _rfc3339_of(occurred), _rfc3339_of(recorded),
        row[topic_end + 4 : stream_end], row[_TOPIC_AT:topic_end], version,
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


_times: dict[int, bytes] = {}


def _rfc3339_of(microseconds: int) -> bytes:
    """A time as it is written in envelopes; cached, because the events of a batch share theirs."""
    text = _times.get(microseconds)
    if text is None:
        if len(_times) > 1000:
            _times.clear()
        text = rfc3339(_EPOCH + timedelta(microseconds=microseconds)).encode()
        _times[microseconds] = text
    return text


def microseconds_of(moment: datetime) -> int:
    """A time in the unit of `Range`: microseconds since 2000."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def out_of_order(journal: Journal, limit: int) -> list[int]:
    """Positions of events whose preceding version is missing or has a later position."""
    with reading(journal) as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")  # it scans the whole ledger
        cursor.execute(_OUT_OF_ORDER, (journal.ledger, limit))
        return [row[0] for row in cursor.fetchall()]


# --- several processes ---------------------------------------------------------------------------


def audit_ranges(
    journal: Journal, tasks: Iterable[RangeTask], processes: int
) -> Generator[Range | None, None, None]:
    """`audit_range` for each task, in order; this process works too. processes: with this one."""
    return map_ordered(
        partial(_audit_task, journal),
        tasks,
        partial(_range_auditor, journal.dsn, journal.ledger),
        processes,
    )


def _audit_task(journal: Journal, task: RangeTask) -> Range | None:
    return audit_range(journal, *task)


def _range_auditor(dsn: str, ledger: str) -> Callable[[RangeTask], Range | None]:
    """Called once in each child process, which reads with its own connection."""
    return partial(_audit_task, Journal(dsn, ledger, None))

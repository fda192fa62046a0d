"""The SQL of an append: one message that reads, one that writes and commits.

The head lock is taken with the read, or between the two messages if the batch was executed
optimistically. Several statements travel in one message, because on a fast disk an append spends
its time on round trips. In PostgreSQL each statement of such a message sees everything committed
before that statement began, so a read that follows the lock sees the newest state.
Reading order: ReadRequest and `read`; `take_head`; `write_message`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.errorcodes import NOT_NULL_VIOLATION

from domain.store.journal.batch import Batch
from domain.store.journal.bucket_keys import bucket_of
from domain.store.journal.data_keys import DESTROY_KEYS, INSERT_KEYS
from domain.store.journal.envelope import rfc3339
from domain.store.journal.logins import FORGET_LOGINS, INSERT_LOGINS
from domain.store.journal.person_claims import (
    FORGET_PERSONS,
    INSERT_PERSON_CLAIMS,
    PersonIndex,
    rows_to_insert,
)
from domain.store.journal.records import Claim, KnownCommand, RecordedEvent
from domain.store.keys.login_keys import LoginName
from domain.store.postgres.connection import Cursor, PgConnection
from domain.store.postgres.literals import array

JOURNAL_CHANNEL = "certledger"
"""NOTIFY channel; the payload is the ledger."""

_SEPARATOR = b"\x1e"
"""Joins the envelopes of a batch into one text: JSON writes this character as an escape."""

_LOCK = "SELECT 1 FROM certledger.ledgers WHERE ledger = $1 FOR UPDATE"

# All kinds of rows have one shape, so that a UNION ALL can return them as one result:
# kind, a, b, n, m, x, y, since, until, id, seal, seal_key. Each branch probes an index once for
# each key: LATERAL keeps the planner from scanning the table when its statistics are old. $1 is
# the ledger.
_HEAD = """SELECT 'head', NULL::text, NULL::text, position,
    (SELECT max(epoch)::bigint FROM certledger.epochs WHERE destroyed_at IS NULL),
    NULL::bytea, leaf_hash, recorded_at, clock_timestamp(), NULL::uuid, seal, seal_key
FROM certledger.ledgers WHERE ledger = $1::text"""
"""With the newest epoch: who does not know it does not find what is stored under it."""

_EVENTS = """SELECT 'event', e.stream, e.topic, e.position, e.version, e.envelope, e.leaf_hash,
    e.occurred_at, e.recorded_at, e.event_id, e.seal, e.seal_key
FROM unnest({}::text[], {}::bigint[]) AS w (stream, after) CROSS JOIN LATERAL (
    SELECT * FROM certledger.journal j
    WHERE j.ledger = $1 AND j.stream = w.stream AND j.version > w.after ORDER BY j.version) e"""

_VERSIONS = """SELECT 'version', e.stream, e.topic, e.position, e.version, e.envelope, NULL::bytea,
    NULL::timestamptz, NULL::timestamptz, NULL::uuid, e.seal, e.seal_key
FROM unnest({}::text[]) AS w (stream) CROSS JOIN LATERAL (
    SELECT * FROM certledger.journal j
    WHERE j.ledger = $1 AND j.stream = w.stream ORDER BY j.version DESC LIMIT 1) e"""

_COMMANDS = """SELECT 'command', c.principal, c.key, c.first_position, c.last_position,
    c.request_hash, c.receipt, NULL::timestamptz, NULL::timestamptz, c.command_id, c.seal,
    c.seal_key
FROM unnest({}::text[], {}::text[]) AS w (principal, key) CROSS JOIN LATERAL (
    SELECT * FROM certledger.commands k
    WHERE k.ledger = $1 AND k.principal = w.principal AND k.key = w.key LIMIT 1) c"""

_CLAIMS = """SELECT 'claim', c.kind, c.key, c.position, NULL::bigint, NULL::bytea, NULL::bytea,
    NULL::timestamptz, NULL::timestamptz, NULL::uuid, NULL::bytea, NULL::text
FROM unnest({}::text[], {}::text[]) AS w (kind, key) CROSS JOIN LATERAL (
    SELECT * FROM certledger.claims k WHERE k.ledger = $1 AND k.kind = w.kind AND k.key = w.key
    AND k.released_position IS NULL LIMIT 1) c"""

_KEYS = """SELECT 'key', d.owner, d.class, d.generation::bigint, d.bucket_generation::bigint,
    d.wrapped, convert_to(d.algorithm, 'UTF8'), d.created_at, NULL::timestamptz, NULL::uuid,
    NULL::bytea, NULL::text
FROM unnest({}::text[]) AS w (owner) CROSS JOIN LATERAL (
    SELECT * FROM certledger.data_keys k
    WHERE k.ledger = $1 AND k.owner = w.owner ORDER BY k.class, k.generation) d"""

_TRACKED = """SELECT 'tracked', t.view, NULL::text, t.position, NULL::bigint, NULL::bytea,
    NULL::bytea, NULL::timestamptz, NULL::timestamptz, NULL::uuid, NULL::bytea, NULL::text
FROM unnest({}::text[]) AS w (view) CROSS JOIN LATERAL (
    SELECT * FROM certledger.tracking k WHERE k.ledger = $1 AND k.view = w.view LIMIT 1) t"""

_LOGINS = """SELECT 'login', l.key_id, l.pseudonym, NULL::bigint, NULL::bigint, l.mac,
    NULL::bytea, NULL::timestamptz, NULL::timestamptz, NULL::uuid, l.seal, l.seal_key
FROM unnest({0}::text[], {1}::text[]) AS w (key_id, mac) CROSS JOIN LATERAL (
    SELECT * FROM certledger.logins k WHERE k.ledger = $1 AND k.key_id = w.key_id
    AND k.mac = decode(w.mac, 'hex') LIMIT 1) l
UNION ALL SELECT 'version', e.stream, e.topic, e.position, e.version, e.envelope, NULL::bytea,
    NULL::timestamptz, NULL::timestamptz, NULL::uuid, e.seal, e.seal_key
FROM unnest({0}::text[], {1}::text[]) AS w (key_id, mac) CROSS JOIN LATERAL (
    SELECT * FROM certledger.logins k WHERE k.ledger = $1 AND k.key_id = w.key_id
    AND k.mac = decode(w.mac, 'hex') LIMIT 1) l CROSS JOIN LATERAL (
    SELECT * FROM certledger.journal j
    WHERE j.ledger = $1 AND j.stream = 'actor-' || l.pseudonym ORDER BY j.version DESC LIMIT 1) e"""
"""With the last event of the login's stream: whether a fact names who it is."""

_HOLDERS = """SELECT 'holder', p.kind, p.index, NULL::bigint, NULL::bigint, NULL::bytea,
    NULL::bytea, NULL::timestamptz, NULL::timestamptz, NULL::uuid, NULL::bytea, p.person_id
FROM unnest({}::text[], {}::text[]) AS w (kind, index) CROSS JOIN LATERAL (
    SELECT * FROM certledger.person_claims k WHERE k.ledger = $1 AND k.kind = w.kind
    AND k.index = w.index LIMIT 1) p"""

_INSERT_EVENTS = """INSERT INTO certledger.journal (ledger, position, stream, version, event_id,
    topic, envelope, leaf_hash, occurred_at, recorded_at, seal, seal_key)
SELECT $1, $2 + r.n, r.stream, r.version, r.event_id, r.topic, convert_to(r.envelope, 'UTF8'),
    decode(r.leaf_hash, 'hex'), r.occurred_at, $3, decode(r.seal, 'hex'), $4
FROM unnest($5::text[], $6::bigint[], $7::uuid[], $8::text[], string_to_array($9, U&'\\001E'),
    $10::text[], $11::timestamptz[], $12::text[]) WITH ORDINALITY
    AS r (stream, version, event_id, topic, envelope, leaf_hash, occurred_at, seal, n)"""

_MOVE_HEAD = """UPDATE certledger.ledgers SET position = $2, recorded_at = $3,
    leaf_hash = decode($4, 'hex'), seal = decode($5, 'hex'), seal_key = $6 WHERE ledger = $1"""

# Locks, checks and moves the head at once. The UPDATE waits for the row lock and then reads the row
# again; if position and leaf hash are not the expected ones, it sets NULL, which the column
# rejects. Without events the head keeps its seal.
_TAKE_HEAD = """UPDATE certledger.ledgers
SET position = CASE WHEN position = $7
        AND leaf_hash IS NOT DISTINCT FROM decode($8, 'hex') THEN $2::bigint END,
    recorded_at = greatest(recorded_at, $3), leaf_hash = coalesce(decode($4, 'hex'), leaf_hash),
    seal = coalesce(decode($5, 'hex'), seal), seal_key = coalesce($6, seal_key) WHERE ledger = $1"""

_INSERT_COMMANDS = """INSERT INTO certledger.commands (ledger, principal, key, request_hash,
    command_id, first_position, last_position, receipt, seal, seal_key)
SELECT $1, r.principal, r.key, decode(r.request_hash, 'hex'), r.command_id, r.first_position,
    r.last_position, decode(r.receipt, 'hex'), decode(r.seal, 'hex'), $2
FROM unnest($3::text[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::bigint[],
    $9::text[], $10::text[]) AS r (principal, key, request_hash, command_id, first_position,
    last_position, receipt, seal)"""

# One claim per statement: the only possible plan is a probe of the index on live claims.
_RELEASE_CLAIM = """UPDATE certledger.claims SET released_position = $1
WHERE ledger = $2 AND kind = $3 AND key = $4 AND released_position IS NULL"""

_INSERT_CLAIMS = """INSERT INTO certledger.claims (ledger, kind, key, position, released_position)
SELECT $1, r.kind, r.key, r.position, r.released
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[])
    AS r (kind, key, position, released)"""

# A tracking row that would not move forward is set to NULL, which the column rejects: the check
# made under the head lock cannot see a writer that does not take the lock.
_TRACK = """INSERT INTO certledger.tracking AS t (ledger, view, position)
SELECT $1, r.view, r.position FROM unnest($2::text[], $3::bigint[]) AS r (view, position)
ON CONFLICT (ledger, view) DO UPDATE SET position =
    CASE WHEN excluded.position > t.position THEN excluded.position END"""


_WRITES = {
    "certledger_events": _INSERT_EVENTS,
    "certledger_head": _MOVE_HEAD,
    "certledger_take": _TAKE_HEAD,
    "certledger_commands": _INSERT_COMMANDS,
    "certledger_release_claim": _RELEASE_CLAIM,
    "certledger_claims": _INSERT_CLAIMS,
    "certledger_keys": INSERT_KEYS,
    "certledger_destroy_keys": DESTROY_KEYS,
    "certledger_track": _TRACK,
    "certledger_logins": INSERT_LOGINS,
    "certledger_forget_logins": FORGET_LOGINS,
    "certledger_forget_persons": FORGET_PERSONS,
    "certledger_person_claims": INSERT_PERSON_CLAIMS,
}
"""Prepared once for each connection, under these names."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What to read in one message.

    streams: name -> version after which events are read. owners: of data keys of every class.
    holders: blind indexes of which it asks whose they are.
    """

    streams: Mapping[str, int] = field(default_factory=dict)
    versions: Collection[str] = ()
    commands: Collection[tuple[str, str]] = ()
    claims: Collection[Claim] = ()
    owners: Collection[str] = ()
    views: Collection[str] = ()
    logins: Collection[LoginName] = ()
    holders: Collection[PersonIndex] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return not (
            self.streams
            or self.versions
            or self.commands
            or self.claims
            or self.owners
            or self.views
            or self.logins
            or self.holders
        )


def read(
    connection: PgConnection, cursor: Cursor, ledger: str, request: ReadRequest, *, lock: bool
) -> list[tuple[Any, ...]]:
    """Rows of the request and the head row; with `lock`, takes the head lock first.

    The statement is prepared once for each connection and combination of kinds: planning it takes
    longer than running it.
    """
    name, parts, arguments = "certledger_read", [_HEAD], [ledger]
    for letter, sql, columns in (
        ("e", _EVENTS, list(zip(*request.streams.items(), strict=True))),
        ("v", _VERSIONS, [tuple(request.versions)]),
        ("c", _COMMANDS, list(zip(*request.commands, strict=True))),
        ("k", _CLAIMS, list(zip(*request.claims, strict=True))),
        ("d", _KEYS, [tuple(request.owners)]),
        ("t", _TRACKED, [tuple(request.views)]),
        ("l", _LOGINS, list(zip(*((n, mac.hex()) for n, mac in request.logins), strict=True))),
        ("p", _HOLDERS, list(zip(*request.holders, strict=True))),
    ):
        if columns and columns[0]:
            numbers = [f"${len(arguments) + n}" for n in range(1, len(columns) + 1)]
            parts.append(sql.format(*numbers))
            arguments.extend(array(column) for column in columns)
            name += "_" + letter
    if name not in connection.prepared:
        _prepare(connection, cursor, name, "\nUNION ALL ".join(parts))
    places = ", ".join(["%s"] * len(arguments))
    if lock:
        if "certledger_lock" not in connection.prepared:
            _prepare(connection, cursor, "certledger_lock", _LOCK)
        cursor.execute(
            f"BEGIN; EXECUTE certledger_lock (%s); EXECUTE {name} ({places})", (ledger, *arguments)
        )
    else:
        cursor.execute(f"EXECUTE {name} ({places})", arguments)
    return cursor.fetchall()


def _prepare(connection: PgConnection, cursor: Cursor, name: str, sql: str) -> None:
    cursor.execute(f"PREPARE {name} AS {sql}")
    connection.prepared.add(name)


class _Message:
    """Statements sent as one message; each is prepared when its connection first needs it."""

    def __init__(self, connection: PgConnection, cursor: Cursor, *first: bytes) -> None:
        self._connection = connection
        self._cursor = cursor
        self._parts = list(first)

    def execute(self, name: str, *arguments: Any) -> None:
        if name not in self._connection.prepared:
            _prepare(self._connection, self._cursor, name, _WRITES[name])
        places = ", ".join(["%s"] * len(arguments))
        self._parts.append(self._cursor.mogrify(f"EXECUTE {name} ({places})", arguments))

    def add(self, statement: bytes) -> None:
        self._parts.append(statement)

    def bytes(self) -> bytes:
        return b"; ".join(self._parts)


def take_head(connection: PgConnection, cursor: Cursor, batch: Batch) -> None:
    """Begin a transaction, take the head lock for an optimistic batch and move the head.

    A message of its own: resolving an unknown COMMIT relies on the lock being held before the
    COMMIT is sent. Raises: psycopg2.Error; see `is_head_conflict`.
    """
    message = _Message(connection, cursor, b"BEGIN")
    base = batch.head
    message.execute("certledger_take", *_head_columns(batch), base.position, _hex(base.leaf_hash))
    cursor.execute(message.bytes())


def is_head_conflict(error: psycopg2.Error) -> bool:
    """Whether a batch failed because the head was not the one it builds on."""
    return error.pgcode == NOT_NULL_VIOLATION and error.diag.table_name == "ledgers"


def write_message(
    connection: PgConnection, cursor: Cursor, batch: Batch, *, move_head: bool
) -> bytes:
    """Everything a batch writes, and the COMMIT, as one message.

    move_head: False if `take_head` has moved it.
    """
    message = _Message(connection, cursor)
    add = message.execute
    ledger, now = batch.ledger, rfc3339(batch.recorded_at)
    _add_persons(message, batch, now)
    if batch.events:
        columns = _event_columns(batch.events)
        add("certledger_events", ledger, batch.head.position, now, batch.sealer.key_id, *columns)
        if move_head:
            add("certledger_head", *_head_columns(batch))
        message.add(cursor.mogrify(f"NOTIFY {JOURNAL_CHANNEL}, %s", (ledger,)))
    for claim, position in batch.released:
        add("certledger_release_claim", position, ledger, *claim)
    if batch.new_claims:
        claim_rows = [(*c.claim, c.position, c.released_position) for c in batch.new_claims]
        add("certledger_claims", ledger, *_columns(claim_rows))
    if batch.commands:
        columns = _command_columns(batch.commands)
        add("certledger_commands", ledger, batch.sealer.key_id, *columns)
    if batch.persons:
        add("certledger_forget_persons", ledger, array(batch.persons))
        if person_rows := rows_to_insert(batch.persons.items()):
            add("certledger_person_claims", ledger, *_columns(person_rows))
    if batch.tracks:
        add("certledger_track", ledger, *_columns(list(batch.tracks.items())))
    _add_logins(message, batch)
    message.add(b"COMMIT")
    return message.bytes()


def _add_persons(message: _Message, batch: Batch, now: str) -> None:
    """The keys of persons, new ones and those that are destroyed."""
    add, ledger = message.execute, batch.ledger
    if batch.fresh_keys:
        key_rows = [
            (*key[:4], bucket_of(key.owner), key.bucket_generation, _hex(key.wrapped))
            for key in batch.new_keys()
        ]
        add("certledger_keys", ledger, now, now, *_columns(key_rows))
    if batch.destroyed:
        gone = [(*named, last) for named, last in batch.destroyed.items()]
        add("certledger_destroy_keys", now, ledger, *_columns(gone))


def _add_logins(message: _Message, batch: Batch) -> None:
    """Logins that go with an erasure, then new ones.

    Last of all: `forget_logins` refuses while the claim on the login is live, or if a command of
    staff was recorded under the pseudonym.
    """
    add, ledger = message.execute, batch.ledger
    if batch.forgotten:
        add("certledger_forget_logins", ledger, array(batch.forgotten))
    if batch.fresh_logins:
        login_rows = [
            (key_id, mac.hex(), row.pseudonym, row.seal.hex())
            for (key_id, mac), row in batch.fresh_logins.items()
        ]
        add("certledger_logins", ledger, batch.sealer.key_id, *_columns(login_rows))


def _event_columns(events: Sequence[RecordedEvent]) -> list[str]:
    return [
        array([e.stream for e in events]),
        _plain(e.version for e in events),
        _plain(e.event_id for e in events),
        array([e.topic for e in events]),
        _SEPARATOR.join([e.envelope for e in events]).decode(),
        _plain(e.leaf_hash.hex() for e in events),
        _plain(rfc3339(e.occurred_at) for e in events),
        _plain(e.seal.hex() for e in events),
    ]


def _head_columns(batch: Batch) -> list[Any]:
    """The head after a batch; leaf hash and seal are None if it has no events."""
    head = batch.new_head
    columns: list[Any] = [batch.ledger, head.position, rfc3339(head.recorded_at)]
    if not batch.events or head.leaf_hash is None:
        return [*columns, None, None, None]
    seal = batch.sealer.head(head.position, head.leaf_hash)
    return [*columns, head.leaf_hash.hex(), seal.hex(), batch.sealer.key_id]


def _command_columns(commands: Mapping[tuple[str, str], KnownCommand]) -> list[str]:
    known = commands.values()
    return [
        array([principal for principal, _ in commands]),
        array([key for _, key in commands]),
        array([c.request_hash.hex() for c in known]),
        _plain(c.command_id for c in known),
        array([c.first_position for c in known]),
        array([c.last_position for c in known]),
        array([c.receipt.hex() for c in known]),
        _plain(c.seal.hex() for c in known),
    ]


def _plain(values: Iterable[Any]) -> str:
    """An array literal of numbers, ids or times: they are never empty and need no quotes."""
    return "{" + ",".join(map(str, values)) + "}"


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    return [array(column) for column in zip(*rows, strict=True)]


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()

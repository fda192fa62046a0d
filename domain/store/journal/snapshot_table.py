"""Snapshots of folded streams: a cache outside the journal, which may be dropped at any time.

A snapshot is sealed together with the last event that is folded into it. One without a right seal,
or of an event that the journal no longer has, is not used: the stream is folded instead.
"""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from domain.store.errors import NoJournalKey, SealBroken
from domain.store.journal.journal import Journal

_NO_EVENT = (0, bytes(32))
"""Position and leaf hash of a snapshot of a foreign application that has no such event."""

log = logging.getLogger(__name__)


class StoredSnapshot(NamedTuple):
    """A row of the table. state: bytes that only its writer understands."""

    stream: str
    version: int
    topic: str
    state: bytes


def insert_snapshots(journal: Journal, snapshots: Iterable[StoredSnapshot]) -> None:
    """Seal snapshots and store them in one transaction.

    Raises: NoJournalKey; SealBroken if the event of a snapshot is; psycopg2.Error; a
        UniqueViolation if there is one of that stream and version.
    """
    sealer = journal.sealer
    if sealer is None:
        raise NoJournalKey(ledger=journal.ledger)
    rows = []
    for stream, version, topic, state in snapshots:
        last = journal.stream(stream, gt=version - 1, lte=version)
        position, leaf = (last[0].position, last[0].leaf_hash) if last else _NO_EVENT
        seal = sealer.snapshot(stream, version, position, leaf, topic, state)
        rows.append(
            (journal.ledger, stream, version, topic, state, position, leaf, seal, sealer.key_id)
        )
    with journal.unit_of_work() as cursor:
        for row in rows:
            cursor.execute(
                "INSERT INTO certledger.snapshots (ledger, stream, version, topic, state, "
                "position, leaf_hash, seal, seal_key) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                row,
            )


def select_snapshots(
    journal: Journal,
    stream: str,
    *,
    gt: int | None = None,
    lte: int | None = None,
    desc: bool = False,
    limit: int | None = None,
) -> list[StoredSnapshot]:
    """Snapshots of one stream in order of version (backwards if desc), gt < version <= lte.

    Leaves out those that may not be used, after `limit` was applied.
    """
    direction = "DESC" if desc else "ASC"
    rows = journal.query(
        "SELECT s.stream, s.version, s.topic, s.state, s.position, s.leaf_hash, s.seal, "
        "s.seal_key, j.position, j.leaf_hash FROM certledger.snapshots s "
        "LEFT JOIN certledger.journal j "
        "ON j.ledger = s.ledger AND j.stream = s.stream AND j.version = s.version "
        "WHERE s.ledger = %(ledger)s AND s.stream = %(stream)s "
        "AND (%(gt)s::bigint IS NULL OR s.version > %(gt)s) "
        "AND (%(lte)s::bigint IS NULL OR s.version <= %(lte)s) "
        f"ORDER BY s.version {direction} LIMIT %(limit)s",
        {"ledger": journal.ledger, "stream": stream, "gt": gt, "lte": lte, "limit": limit},
    )
    return [
        StoredSnapshot(name, version, topic, bytes(state))
        for name, version, topic, state, *bound in rows
        if _is_usable(journal, (name, version, topic, bytes(state)), bound)
    ]


def _is_usable(journal: Journal, snapshot: tuple[str, int, str, bytes], bound: list[Any]) -> bool:
    """Whether a snapshot has a right seal and is of the event that the journal has there."""
    stream, version, topic, state = snapshot
    position, leaf, seal, key_id, event_position, event_leaf = bound
    event = _NO_EVENT if event_position is None else (event_position, bytes(event_leaf))
    is_usable = event == (position, bytes(leaf))
    sealer = journal.sealer
    if is_usable and sealer is not None:
        try:
            sealer.check_snapshot(
                stream, version, event[0], event[1], topic, state, bytes(seal), key_id
            )
        except SealBroken:
            is_usable = False
    if not is_usable:
        log.warning(
            "ledger %s: the snapshot of %s at version %d is not of this journal; not used",
            journal.ledger, stream, version,
        )  # fmt: skip
    return is_usable

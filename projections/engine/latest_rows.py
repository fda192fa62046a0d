"""Checks that a row that a fold reads is of the last event that concerns it.

A seal says that the program made a row, and not that it is the newest: what an event makes of an
earlier row would have a right seal, and a position as new as the journal has. So the events since
the one that a row is of are read from its streams, as many as their versions say there are, and
their seals are checked: none of them may concern the row.

One statement for each that loaded rows. Of a stream that has an event in the batch, no event can be
hidden meanwhile, because that event's version counts those before it. Of another stream the last
ones can; but then the row keeps the earlier position, with which no lookup shows it.
Reading order: check_latest, _events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from domain.store.journal.envelope import leaf_hash
from domain.store.keys.seals import LedgerSealer
from domain.store.postgres.connection import Cursor
from domain.stored_facts import STORED_FACTS
from projections.engine.row_seals import ViewWrong
from projections.engine.rows import BatchStart
from projections.engine.tables import Follows, Row, Table

# LIMIT and OFFSET keep each part a loop over its index: a hash of the journal would take seconds.
_EVENTS = """SELECT j.position, j.seal_key, j.seal, j.envelope
FROM unnest(%(streams)s::text[], %(firsts)s::bigint[], %(before)s::bigint[])
    AS wanted (stream, first, before)
CROSS JOIN LATERAL (
    SELECT version FROM certledger.journal
    WHERE ledger = %(ledger)s AND position = wanted.first AND stream = wanted.stream LIMIT 1
) f
CROSS JOIN LATERAL (
    SELECT position, seal_key, seal, envelope FROM certledger.journal
    WHERE ledger = %(ledger)s AND stream = wanted.stream AND version >= f.version
        AND (version < wanted.before OR (wanted.before IS NULL AND position <= %(after)s))
    OFFSET 0
) j
ORDER BY j.position"""

_Event = tuple[int, dict[str, Any]]
"""Position and envelope."""


def check_latest(
    cursor: Cursor,
    sealer: LedgerSealer,
    view: str,
    table: Table,
    rows: Iterable[Row],
    batch: BatchStart,
) -> None:
    """Check that rows are of the last events before a batch that concern them.

    Raises: ViewWrong; SealBroken if one of the events that were read has no right seal.
    """
    wanted: dict[str, int] = {}
    followed = []
    for row in rows:
        for follows in table.follows:
            stream, position = f"{follows.stream}-{row[follows.id]}", row[follows.position]
            wanted[stream] = min(position, wanted.get(stream, position))
            followed.append((stream, follows, row))
    events = _events(cursor, sealer, wanted, batch)
    for stream, follows, row in followed:
        if not _is_latest(follows, row, events.get(stream, ())):
            raise ViewWrong(view=view)


def _is_latest(follows: Follows, row: Row, events: Sequence[_Event]) -> bool:
    """Whether the last of these events that concerns a row is the one that it is of."""
    last = 0
    for position, envelope in events:
        topic, data = envelope["topic"], envelope["data"]
        if not STORED_FACTS.is_current(topic):
            topic, data = STORED_FACTS.upcast(topic, data)
        if topic in follows.topics and all(data[name] == row[name] for name in follows.same):
            last = position
    return bool(last == row[follows.position])


def _events(
    cursor: Cursor, sealer: LedgerSealer, wanted: Mapping[str, int], batch: BatchStart
) -> dict[str, list[_Event]]:
    """The events of streams from a position on, before the batch. Raises: SealBroken.

    wanted: stream -> the position. A stream of which one of them is missing is left out.
    """
    before = [batch.versions.get(stream) for stream in wanted]
    named = {"ledger": sealer.ledger, "after": batch.after, "before": before}
    streams = {"streams": list(wanted), "firsts": list(wanted.values())}
    cursor.execute(_EVENTS, named | streams)
    stored = [
        (position, bytes(envelope), bytes(seal or b""), key_id)
        for position, key_id, seal, envelope in cursor.fetchall()
    ]
    sealer.check_events(
        (position, leaf_hash(envelope), seal, key_id) for position, envelope, seal, key_id in stored
    )
    found: dict[str, list[_Event]] = {}
    for position, envelope, _, _ in stored:
        event = orjson.loads(envelope)
        found.setdefault(event["stream"], []).append((position, event))
    return {
        stream: events
        for stream, events in found.items()
        if stream in wanted and _are_all(events, wanted[stream], batch.versions.get(stream))
    }


def _are_all(events: Sequence[_Event], first: int, before: int | None) -> bool:
    """Whether events begin at a position, have no gap, and end before a version; None: at any."""
    versions = [event["version"] for _, event in events]
    end = versions[0] + len(versions) if before is None else before
    return events[0][0] == first and versions == list(range(versions[0], end))

"""Which journal key may have sealed which positions, by a ledger's own facts.

`key_introduced.v1` and `key_retired.v1` are facts on the stream `ledger`. They are sealed
themselves, so they are read in order, each checked with the ranges of those before it.

`log_continued_elsewhere.v1` ends them all before its first position: what was sealed before a
recovery is good up to the last common position only. The key that seals that fact takes their
place, and has sealed again what lies between that position and the fact.
"""

from collections.abc import Sequence
from typing import Any

from domain.store.errors import SealBroken
from domain.store.journal.records import RecordedEvent
from domain.store.journal.sealed_rows import EVENT_COLUMNS, check_versions, event_from_row
from domain.store.keys.seals import JOURNAL_PURPOSE, LedgerSealer, SealRange

KEY_STREAM = "ledger"
KEY_INTRODUCED, KEY_RETIRED = "key_introduced.v1", "key_retired.v1"
LOG_CONTINUED = "log_continued_elsewhere.v1"
KEY_TOPICS = frozenset((KEY_INTRODUCED, KEY_RETIRED, LOG_CONTINUED))

KEY_STREAM_SQL = (
    f"SELECT {EVENT_COLUMNS} FROM certledger.journal "
    f"WHERE ledger = %s AND stream = '{KEY_STREAM}' ORDER BY version"
)
"""Reads the stream with the facts about keys; takes the ledger."""


def with_key_ranges(sealer: LedgerSealer, rows: Sequence[Sequence[Any]]) -> LedgerSealer:
    """The sealer with the ranges that the rows of KEY_STREAM_SQL say.

    Without a fact about a journal key every known key is accepted, as in a ledger that a foreign
    application writes. Raises: SealBroken.
    """
    current = sealer.with_ranges(None)
    recoveries = _recoveries(sealer, rows)
    events = []
    for row in rows:
        while recoveries and recoveries[0].first <= row[0]:
            current = current.with_ranges(ranges_from(current.ranges or (), recoveries.pop(0)))
        event = event_from_row(row, current)
        events.append(event)
        changes = event.topic in (KEY_INTRODUCED, KEY_RETIRED)
        if changes and event.data["purpose"] == JOURNAL_PURPOSE:
            current = current.with_ranges(_after(current.ranges or (), event))
    check_versions(events, None, sealer.ledger)
    return current


def ranges_from(ranges: Sequence[SealRange], recovery: SealRange) -> tuple[SealRange, ...]:
    """The ranges after a recovery, whose key has sealed everything from its first position on."""
    last = recovery.first - 1
    return (
        *(
            each._replace(last=last if each.last is None else min(each.last, last))
            for each in ranges
            if each.first <= last
        ),
        recovery,
    )


def _recoveries(sealer: LedgerSealer, rows: Sequence[Sequence[Any]]) -> list[SealRange]:
    """The key and the first position of each recovery among the rows. Raises: SealBroken."""
    found = []
    for row in rows:
        if row[3] == LOG_CONTINUED:
            event = event_from_row(row, sealer.with_ranges(None))
            found.append(SealRange(event.seal_key, event.data["first_position"], None))
    return found


def _after(ranges: tuple[SealRange, ...], event: RecordedEvent) -> tuple[SealRange, ...]:
    """The ranges after one more fact about a journal key. Raises: SealBroken."""
    key_id = event.data["key_id"]
    if event.topic == KEY_INTRODUCED:
        # The first key seals the opening of the ledger, of which this fact is a part.
        return (*ranges, SealRange(key_id, event.position if ranges else 1, None))
    ended = tuple(
        each._replace(last=event.position) if each.key_id == key_id and each.last is None else each
        for each in ranges
    )
    if ended == ranges:
        raise SealBroken(ledger=event.parsed["ledger"], what="event", position=event.position)
    return ended

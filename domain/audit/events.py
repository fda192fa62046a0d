"""Reads the events of a ledger once and hands every page to all checks.

The audit of the log has checked bytes and seals; here an envelope that is no JSON is left out.
Reading order: Event, EventCheck, run, events_since.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from domain.audit.results import CheckResult, Pace
from domain.events import Fact
from domain.store.journal.journal import Journal
from domain.store.mapper import Catalogue
from domain.store.tlog.fast_audit import reading
from domain.values.sealed_fields import without_sealed

PAGE = 2000
"""Events of a page: some megabytes at most."""

# COPY in binary: a fetch would decode the stored bytes to text, only for JSON to encode them again.
_READ = """COPY (SELECT position, envelope FROM certledger.journal
WHERE ledger = %s AND position > %s AND position <= %s ORDER BY position LIMIT %s)
TO STDOUT (FORMAT binary)"""
_SINCE = """SELECT position, envelope FROM certledger.journal
WHERE ledger = %s AND topic = ANY(%s) AND position > %s ORDER BY position"""
_HEAD_BYTES, _TAIL_BYTES = 19, 2
_row = struct.Struct(">hiqi")  # number of fields, 8, the position, length of the envelope


_TEXTS = ("topic", "stream", "command_id", "occurred_at", "recorded_at")


class Event(NamedTuple):
    """An event as the checks read it. envelope: parsed, with its sealed values."""

    position: int
    envelope: dict[str, Any]

    @property
    def topic(self) -> str:
        """The stored topic."""
        topic: str = self.envelope["topic"]
        return topic

    @property
    def data(self) -> dict[str, Any]:
        """The fields of the fact."""
        data: dict[str, Any] = self.envelope["data"]
        return data


class EventCheck(Protocol):
    """A check that follows the events."""

    result: CheckResult

    def page(self, events: Sequence[Event]) -> None:
        """The next events, in order of position."""

    def finish(self, upto: int, pace: Pace) -> None:
        """There are no more up to this position; compare what remains."""


def pages(journal: Journal, upto: int, after: int = 0) -> Iterator[tuple[int, list[Event]]]:
    """The events after < position <= upto, page by page, with the last position of each."""
    while rows := _rows(journal, after, upto):
        after = rows[-1][0]
        yield after, [event for row in rows if (event := _event(*row)) is not None]


def _rows(journal: Journal, after: int, upto: int) -> list[tuple[int, bytes]]:
    """One page as it is stored. Raises: Unavailable."""
    file = io.BytesIO()
    arguments = (journal.ledger, after, upto, PAGE)
    with reading(journal) as cursor:
        cursor.copy_expert(cursor.mogrify(_READ, arguments), file)
    copied = file.getvalue()
    rows = []
    begin, end = _HEAD_BYTES, len(copied) - _TAIL_BYTES
    while begin < end:
        _, _, position, length = _row.unpack_from(copied, begin)
        start = begin + _row.size
        begin = start + length
        rows.append((position, copied[start:begin]))
    return rows


def _event(position: int, envelope: bytes) -> Event | None:
    try:
        parsed = orjson.loads(envelope)
    except ValueError:
        return None
    return Event(position, parsed) if _has_members(parsed) else None


def _has_members(parsed: Any) -> bool:
    """Whether it has what the checks read; the audit of the log names one that has not."""
    return (
        type(parsed) is dict
        and type(parsed.get("data")) is dict
        and type(parsed.get("actor")) is dict
        and type(parsed.get("version")) is int
        and all(type(parsed.get(name)) is str for name in _TEXTS)
    )


def run(journal: Journal, checks: Sequence[EventCheck], upto: int, pace: Pace) -> None:
    """Give every check all events up to a position. Raises: Unavailable; what `pace` raises."""
    for position, events in pages(journal, upto):
        for check in checks:
            check.page(events)
        pace(position)
    for check in checks:
        check.finish(upto, pace)


def events_since(journal: Journal, topics: Iterable[str], after: int) -> list[Event]:
    """The events of some topics after a position: what changed while a check was reading.

    Parsed here: the database would refuse the whole query for one envelope that is no JSON, which
    somebody may have inserted. Raises: Unavailable.
    """
    rows = journal.query(_SINCE, (journal.ledger, [*topics], after))
    found = (_event(position, bytes(envelope)) for position, envelope in rows)
    return [event for event in found if event is not None]


def fact_of(catalogue: Catalogue, event: Event) -> Fact:
    """The fact of an event with sealed values None. Raises: UnknownTopic, UnreadableEvent."""
    data = without_sealed(event.data)
    where = f"position {event.position}"
    fact = catalogue.read(event.topic, data, where)
    assert isinstance(fact, Fact)
    return fact

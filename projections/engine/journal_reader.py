"""Reads the journal for views: each event decoded once, personal fields opened where needed."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import orjson

from domain.errors import LedgerError
from domain.events import PersonalDataErased, PersonCorrected, PersonRegistered
from domain.store.postgres.connection import Cursor
from projections.engine.view import Entry, Opener, PersonEntry

# COPY in binary, because rows then arrive as the stored bytes: a fetch would decode them to text,
# only for the JSON decoder to encode them again.
_READ = """COPY (SELECT position, topic, envelope FROM certledger.journal
WHERE ledger = %s AND position > %s AND position <= %s AND topic <> ALL(%s::text[])
ORDER BY position LIMIT %s) TO STDOUT (FORMAT binary)"""
_HEAD_BYTES, _TAIL_BYTES = 19, 2
_position = struct.Struct(">hiqi")  # number of fields, 8, the position, length of the topic
_length = struct.Struct(">i")

NO_LIMIT = 2**62

_PERSONS = frozenset((PersonRegistered.TOPIC, PersonCorrected.TOPIC))
"""Topics with a person's identity."""
_MASKED = ("name", "document_number")
"""Their fields that views mask; every other sealed field stays sealed."""


Stored = tuple[int, str, bytes]
"""A stored event: position, topic, envelope."""


class FieldOpener(Protocol):
    """Opens sealed fields and makes blind indexes, for one ledger."""

    @property
    def ledger(self) -> str: ...
    def preload(self, persons: Iterable[str]) -> None: ...
    def open(
        self, person: str, stream: str, version: int, field: str, sealed: str
    ) -> str | None: ...
    def blind_index(self, kind: str, value: str, algorithm: str | None = None) -> str: ...
    def forget(self, person: str | None = None) -> None: ...


def opener(vault: FieldOpener) -> Opener:
    """Returns what opens the fields that views mask."""

    def opened(envelope: Mapping[str, Any]) -> dict[str, str | None]:
        data, found = envelope["data"], {}
        for name in _MASKED:
            value = data[name]
            if type(value) is dict:
                place = envelope["stream"], envelope["version"], name
                value = vault.open(data["person_id"], *place, value["sealed"])
            found[name] = value
        return found

    return opened


def fetch(
    cursor: Cursor,
    ledger: str,
    after: int,
    limit: int,
    *,
    upto: int = NO_LIMIT,
    without: Sequence[str] = (),
) -> list[Stored]:
    """Events in order of position: after < position <= upto, at most `limit`.

    without: topics to leave out.
    """
    file = io.BytesIO()
    arguments = (ledger, after, upto, list(without), limit)
    cursor.copy_expert(cursor.mogrify(_READ, arguments), file)
    return _parse_copy(file.getvalue())


def _parse_copy(copied: bytes) -> list[Stored]:
    """Parse the rows of a binary COPY."""
    events: list[Stored] = []
    begin, end = _HEAD_BYTES, len(copied) - _TAIL_BYTES
    while begin < end:
        _, _, position, length = _position.unpack_from(copied, begin)
        begin += _position.size
        topic = copied[begin : begin + length].decode()
        begin += length
        (length,) = _length.unpack_from(copied, begin)
        begin += _length.size
        events.append((position, topic, copied[begin : begin + length]))
        begin += length
    return events


def decode(events: Iterable[Stored], vault: FieldOpener) -> Iterator[Entry]:
    """Decode events one at a time, so that each is folded while it is in the processor's cache.

    The keys of all persons among them are read in one query.
    """
    _preload(events, vault)
    loads, open_fields = orjson.loads, opener(vault)
    for position, topic, envelope in events:
        if topic in _PERSONS:
            yield PersonEntry(position, loads(envelope), open_fields)
            continue
        entry = Entry(position, loads(envelope))
        if topic == PersonalDataErased.TOPIC:
            vault.forget(entry.data["person_id"])
        yield entry


def read(
    cursor: Cursor, ledger: str, vault: FieldOpener, after: int, limit: int, *, upto: int = NO_LIMIT
) -> list[Entry]:
    """Entries in order of position: after < position <= upto, at most `limit`."""
    return list(decode(fetch(cursor, ledger, after, limit, upto=upto), vault))


def _preload(events: Iterable[Stored], vault: FieldOpener) -> None:
    facts = [orjson.loads(envelope)["data"] for _, topic, envelope in events if topic in _PERSONS]
    persons = {
        data["person_id"] for data in facts if any(type(data[name]) is dict for name in _MASKED)
    }
    if persons:
        # If a person has no key, the view that opens the fields reports it.
        with suppress(LedgerError):
            vault.preload(persons)

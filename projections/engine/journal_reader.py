"""Reads the journal for views: each event decoded once, personal fields opened where needed."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

import orjson

from domain.errors import LedgerError
from domain.events import ERASURE, REGISTRATION, PersonCorrected
from domain.store.errors import SealBroken
from domain.store.journal import envelope as envelopes
from domain.store.journal.key_ranges import KEY_TOPICS
from domain.store.keys.seals import LedgerSealer
from domain.store.postgres.connection import Cursor
from domain.stored_facts import STORED_FACTS
from domain.values.sealed_fields import is_sealed, person_owner
from projections.engine.view import Entry, Opener, PersonEntry

# COPY in binary, because rows then arrive as the stored bytes: a fetch would decode them to text,
# only for the JSON decoder to encode them again.
_READ = """COPY (SELECT position, topic, seal_key, seal, envelope
FROM certledger.journal
WHERE ledger = %s AND position > %s AND position <= %s
ORDER BY position LIMIT %s) TO STDOUT (FORMAT binary)"""
_HEAD_BYTES, _TAIL_BYTES = 19, 2
_position = struct.Struct(">hiqi")  # number of fields, 8, the position, length of the topic
_KEY_ID_BYTES, _SEAL_BYTES = 8, 32
_rest = struct.Struct(">i8si32si")  # key id and seal, each after its length; then the envelope's
_length = struct.Struct(">i")

NO_LIMIT = 2**62

_ERASURES = frozenset(fact.TOPIC for fact in ERASURE)
_PERSONS = frozenset(fact.TOPIC for fact in (*REGISTRATION, PersonCorrected))
"""Topics with a person's identity."""
_MASKED = ("name", "document_number")
"""Their fields that views mask; every other sealed field stays sealed."""


Stored = tuple[int, str, bytes]
"""A stored event: position, topic, envelope."""

_Sealed = tuple[int, str, str, bytes, bytes]
"""A row: position, topic, key of the seal, seal, envelope."""


class FieldOpener(Protocol):
    """Opens sealed fields and makes blind indexes, for one ledger; knows who may seal there.

    sealer: with the ranges of keys as they are now; `fresh` reads them again. None: no seal is
    checked, for a journal whose key is not known.
    """

    @property
    def ledger(self) -> str: ...
    def sealer(self, cursor: Cursor, *, fresh: bool = False) -> LedgerSealer | None: ...
    def preload(self, sealed: Iterable[Mapping[str, str]]) -> None: ...
    def open(self, stream: str, version: int, path: str, sealed: Mapping[str, str]) -> Any: ...
    def blind_index(self, kind: str, value: str, algorithm: str | None = None) -> str: ...
    def links(self, kind: str, number: str, version: int) -> tuple[str, ...]: ...
    def forget(self, owner: str | None = None) -> None: ...


def opener(vault: FieldOpener) -> Opener:
    """Returns what opens the fields that views mask."""

    def opened(envelope: Mapping[str, Any]) -> dict[str, str | None]:
        data, found = envelope["data"], {}
        for name in _MASKED:
            value = data[name]
            if type(value) is dict:
                value = vault.open(envelope["stream"], envelope["version"], f"/{name}", value)
            found[name] = value
        return found

    return opened


def fetch(
    cursor: Cursor, vault: FieldOpener, after: int, limit: int, *, upto: int = NO_LIMIT
) -> list[Stored]:
    """Events in order of position: after < position <= upto, at most `limit`.

    Raises: SealBroken with the position of the first that is missing or has no right seal.
    """
    file = io.BytesIO()
    cursor.copy_expert(cursor.mogrify(_READ, (vault.ledger, after, upto, limit)), file)
    rows = _parse_copy(file.getvalue())
    changes_keys = any(row[1] in KEY_TOPICS for row in rows)
    sealer = vault.sealer(cursor, fresh=changes_keys)
    if sealer is None:
        return [(position, topic, envelope) for position, topic, _, _, envelope in rows]
    return _checked(rows, after, sealer)


def _checked(rows: Iterable[_Sealed], after: int, sealer: LedgerSealer) -> list[Stored]:
    """The events of rows that follow a position. Raises: SealBroken."""
    events: list[Stored] = []
    sealer.check_events(_sealed(rows, after, sealer.ledger, events))
    return events


def _sealed(
    rows: Iterable[_Sealed], after: int, ledger: str, events: list[Stored]
) -> Iterator[tuple[int, bytes, bytes, str]]:
    """What the seals of rows are over; collects the events. Raises: SealBroken for a wrong row."""
    sha256, ends = hashlib.sha256, _Ends()
    for position, topic, key_id, seal, envelope in rows:
        after += 1
        # The end of an envelope is `,"topic":"…","version":<up to 19 digits>}`.
        end = ends[topic]
        if position != after or end not in envelope[-len(end) - 20 :]:
            raise SealBroken(ledger=ledger, what="event", position=after)
        events.append((position, topic, envelope))
        yield position, sha256(b"\0" + envelope).digest(), seal, key_id


class _Ends(dict[str, bytes]):
    """Topic -> what is before the version at the end of its envelopes."""

    def __missing__(self, topic: str) -> bytes:
        end = self[topic] = envelopes.topic_before_version(topic)
        return end


def _parse_copy(copied: bytes) -> list[_Sealed]:
    """Parse the rows of a binary COPY."""
    events: list[_Sealed] = []
    texts = _Texts()
    position_at, rest_at, rest_bytes = _position.unpack_from, _rest.unpack_from, _rest.size
    begin, end = _HEAD_BYTES, len(copied) - _TAIL_BYTES
    while begin < end:
        _, _, position, length = position_at(copied, begin)
        start = begin + _position.size
        begin = start + length
        topic = copied[start:begin]
        key_bytes, key_id, seal_bytes, seal, length = rest_at(copied, begin)
        start = begin + rest_bytes
        if key_bytes != _KEY_ID_BYTES or seal_bytes != _SEAL_BYTES:  # no seal of ours
            key_id = seal = b""
            start = begin + key_bytes + _length.size
            (seal_bytes,) = _length.unpack_from(copied, start)
            start += seal_bytes + _length.size
            (length,) = _length.unpack_from(copied, start)
            start += _length.size
        begin = start + length
        events.append((position, texts[topic], texts[key_id], seal, copied[start:begin]))
    return events


class _Texts(dict[bytes, str]):
    """Bytes -> text, decoded once: there are few topics and keys."""

    def __missing__(self, encoded: bytes) -> str:
        text = self[encoded] = encoded.decode()
        return text


def decode(events: Iterable[Stored], vault: FieldOpener) -> Iterator[Entry]:
    """Decode events one at a time, so that each is folded while it is in the processor's cache.

    An event of an older version is upcast, as everywhere. The keys of all that views open are read
    in one query.
    """
    _preload(events, vault)
    loads, open_fields = orjson.loads, opener(vault)
    current = STORED_FACTS.is_current
    for position, topic, envelope in events:
        parsed = loads(envelope)
        if not current(topic):
            topic, parsed["data"] = STORED_FACTS.upcast(topic, parsed["data"])
            parsed["topic"] = topic
        if topic in _PERSONS:
            yield PersonEntry(position, parsed, envelope, open_fields)
            continue
        entry = Entry(position, parsed, envelope)
        if topic in _ERASURES:
            vault.forget(person_owner(entry.data["person_id"]))
        yield entry


def read(
    cursor: Cursor, vault: FieldOpener, after: int, limit: int, *, upto: int = NO_LIMIT
) -> list[Entry]:
    """Entries in order of position: after < position <= upto, at most `limit`.

    Raises: SealBroken; see `fetch`.
    """
    return list(decode(fetch(cursor, vault, after, limit, upto=upto), vault))


def _preload(events: Iterable[Stored], vault: FieldOpener) -> None:
    facts = [orjson.loads(envelope)["data"] for _, topic, envelope in events if topic in _PERSONS]
    sealed = [data[name] for data in facts for name in _MASKED if is_sealed(data[name])]
    if sealed:
        # If a person has no key, the view that opens the fields reports it.
        with suppress(LedgerError):
            vault.preload(sealed)

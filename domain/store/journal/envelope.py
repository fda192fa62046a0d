"""The bytes of an event: canonical JSON, and their leaf hash in the log.

The form is RFC 8785 restricted to what every JSON reader preserves: sorted ASCII keys, integers of
at most 53 bits, strings, true, false, null, arrays and objects. A float has several spellings and
a lone surrogate has none; both are refused, and the error names their JSON path.
"""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from domain.store.errors import EnvelopeTooLarge, NotCanonical

LIMIT_BYTES = 65_535
"""Size limit of an envelope: an entry bundle of the log writes the length in two bytes."""

INTEGER_LIMIT = 2**53 - 1

ACTOR_KEYS = frozenset(("subject", "role", "organisation", "on_behalf_of", "authority"))

# Parts of the envelope of a row j. The bytes searched for are in no text, because a quotation mark
# within a text is escaped; the actor comes first and has fixed keys.
ACTOR_SQL = """substring(j.envelope from 10
    for greatest(position('},"causation_id":'::bytea in j.envelope) - 9, 0))"""
"""The JSON of the actor, as bytes; empty for what is not an envelope."""

COMMAND_ID_SQL = """encode(substring(j.envelope
    from position('"command_id":"'::bytea in j.envelope) + 14 for 36), 'escape')"""
"""The command id, as text."""

_SCALARS = frozenset((str, bool, type(None)))
_CONTAINERS = frozenset((dict, list, tuple))
_DEPTH_LIMIT = 64


def canonical_json(value: Any) -> bytes:
    """The canonical form of a value.

    value: dict with str keys, list, tuple, str, int, bool or None, at most 64 deep.
    Returns: UTF-8, no spaces, keys in order.
    Raises: NotCanonical naming the JSON path of the first value that has no such form.
    """
    if not _is_canonical((value,), -1):
        _refuse(value, (), 0)
    return _dumps(value)


def _dumps(value: Any) -> bytes:
    """Encode a value that was checked for everything but lone surrogates."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        # Checking every string first would cost more than letting the encoder find them.
        _find_surrogate(value, ())
        raise NotCanonical(path="$", reason=str(error)) from None


def build(
    *,
    event_id: UUID,
    ledger: str,
    stream: str,
    version: int,
    topic: str,
    occurred_at: datetime,
    recorded_at: datetime,
    actor: dict[str, Any],
    command_id: UUID,
    correlation_id: UUID,
    causation_id: UUID | None,
    data: dict[str, Any],
) -> bytes:
    """The envelope of one event, in the bytes that are stored and hashed.

    Times are aware. Raises: NotCanonical, EnvelopeTooLarge.
    """
    if actor.keys() != ACTOR_KEYS:
        raise NotCanonical(path="$.actor", reason=f"must have exactly {sorted(ACTOR_KEYS)}")
    # The other members are created below in canonical form. Hardly any event is refused, so only
    # then is the path searched.
    if not _is_canonical((actor, data, version), 0):
        _refuse({"actor": actor, "data": data, "version": version}, (), 0)
    envelope = _dumps(
        {
            "actor": actor,
            "causation_id": causation_id,
            "command_id": command_id,
            "correlation_id": correlation_id,
            "data": data,
            "event_id": event_id,
            "ledger": ledger,
            "occurred_at": rfc3339(occurred_at),
            "recorded_at": rfc3339(recorded_at),
            "stream": stream,
            "topic": topic,
            "version": version,
        }
    )
    if len(envelope) > LIMIT_BYTES:
        raise EnvelopeTooLarge(limit_bytes=LIMIT_BYTES, size_bytes=len(envelope), topic=topic)
    return envelope


def parse(envelope: bytes) -> dict[str, Any]:
    """The envelope as a dict; times and ids stay text."""
    parsed: dict[str, Any] = orjson.loads(envelope)
    return parsed


def has_columns(
    envelope: bytes,
    *,
    event_id: UUID,
    ledger: str,
    stream: str,
    version: int,
    topic: str,
    occurred_at: datetime,
    recorded_at: datetime,
) -> bool:
    """Whether an envelope holds the values of the columns next to it; does not decode it.

    The members that have a column are the last ones in order of name, so they are its end.
    """
    end = (
        f',"event_id":"{event_id}","ledger":"{ledger}","occurred_at":"{rfc3339(occurred_at)}"'
        f',"recorded_at":"{rfc3339(recorded_at)}","stream":{_text(stream)},"topic":{_text(topic)}'
        f',"version":{version}}}'
    )
    return envelope.endswith(end.encode())


def is_version(envelope: bytes, stream: str, topic: str, version: int) -> bool:
    """Whether an envelope is this version of a stream; does not decode it."""
    end = f',"stream":{_text(stream)},"topic":{_text(topic)},"version":{version}}}'
    return envelope.endswith(end.encode())


def topic_before_version(topic: str) -> bytes:
    """The bytes before the version at the end of every envelope of this topic."""
    return f',"topic":{_text(topic)},"version":'.encode()


@lru_cache(4096)
def _text(text: str) -> str:
    """A text in canonical JSON."""
    return orjson.dumps(text).decode()


def leaf_hash(envelope: bytes) -> bytes:
    """RFC 6962 leaf: SHA-256 of a zero byte and the exact stored bytes; 32 bytes."""
    return hashlib.sha256(b"\x00" + envelope).digest()


@lru_cache(4096)  # an append writes the same time several times
def rfc3339(moment: datetime) -> str:
    """The moment in UTC with exactly six fractional digits and Z: text order is time order.

    Raises: NotCanonical for a naive moment.
    """
    if moment.tzinfo is None:
        raise NotCanonical(path="$", reason=f"time {moment} has no zone")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def from_rfc3339(text: str) -> datetime:
    """The moment again; aware, UTC. Raises: ValueError if the text is not in our form."""
    if len(text) != 27 or text[26] != "Z":
        raise ValueError(f"{text!r} is not UTC with six fractional digits")
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)


def _is_canonical(container: Any, depth: int) -> bool:
    """Whether everything in a dict, list or tuple has a canonical form, surrogates aside."""
    if depth >= _DEPTH_LIMIT:
        return False
    items = container
    if type(container) is dict:
        try:
            if not "".join(container).isascii():
                return False
        except TypeError:
            return False
        items = container.values()
    for item in items:
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind is int:
            if not -INTEGER_LIMIT <= item <= INTEGER_LIMIT:
                return False
        elif kind not in _CONTAINERS or not _is_canonical(item, depth + 1):
            return False
    return True


def _refuse(value: Any, path: tuple[Any, ...], depth: int) -> None:
    """Raise NotCanonical with the path of the first value that has no canonical form."""
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind is int:
        if not -INTEGER_LIMIT <= value <= INTEGER_LIMIT:
            raise NotCanonical(path=_json_path(path), reason="is an integer of more than 53 bits")
        return
    if depth >= _DEPTH_LIMIT:
        raise NotCanonical(path=_json_path(path), reason=f"is more than {_DEPTH_LIMIT} deep")
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise NotCanonical(path=_json_path(path), reason=f"has the key {key!r}, not ASCII")
            _refuse(item, (*path, key), depth + 1)
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            _refuse(item, (*path, index), depth + 1)
    else:
        raise NotCanonical(path=_json_path(path), reason=f"is a {kind.__name__}")


def _find_surrogate(value: Any, path: tuple[Any, ...]) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            reason = "holds a lone surrogate"
            raise NotCanonical(path=_json_path(path), reason=reason) from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _find_surrogate(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _find_surrogate(item, (*path, index))


def _json_path(path: tuple[Any, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)

"""Makes records of rows, and checks the seals of what it makes.

Every reader that hands events, heads or commands on has them from here. A row is good if its seal
is, if the leaf hash is that of its envelope, and if the columns say what the envelope says.
A journal without a sealer, such as one on a standby that has no key, checks nothing.
"""

from collections.abc import Sequence
from typing import Any

from domain.store.errors import SealBroken
from domain.store.journal import envelope as envelopes
from domain.store.journal.records import Head, KnownCommand, RecordedEvent
from domain.store.keys.seals import LedgerSealer

EVENT_COLUMNS = (
    "position, stream, version, topic, event_id, envelope, leaf_hash, occurred_at, recorded_at, "
    "seal, seal_key"
)

HEAD_COLUMNS = "position, recorded_at, leaf_hash, seal, seal_key"

COMMAND_COLUMNS = "request_hash, command_id, first_position, last_position, receipt, seal, seal_key"


def event_from_row(row: Sequence[Any], sealer: LedgerSealer | None) -> RecordedEvent:
    """An event from a row of EVENT_COLUMNS. Raises: SealBroken."""
    position, stream, version, topic, event_id, envelope, leaf, occurred, recorded, seal, key = row
    event = RecordedEvent(
        position,
        stream,
        version,
        topic,
        event_id,
        bytes(envelope),
        bytes(leaf),
        occurred,
        recorded,
        bytes(seal),
        key,
    )
    if sealer is not None:
        _check(event, sealer)
    return event


def _check(event: RecordedEvent, sealer: LedgerSealer) -> None:
    """Raises: SealBroken."""
    envelope = event.envelope
    leaf = envelopes.leaf_hash(envelope)
    sealer.check_event(event.position, leaf, event.seal, event.seal_key)
    is_same = leaf == event.leaf_hash and envelopes.has_columns(
        envelope,
        event_id=event.event_id,
        ledger=sealer.ledger,
        stream=event.stream,
        version=event.version,
        topic=event.topic,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
    )
    if not is_same:
        raise SealBroken(ledger=sealer.ledger, what="event", position=event.position)


def version_from_row(row: Sequence[Any], sealer: LedgerSealer) -> int:
    """The version of an event that is not needed otherwise. Raises: SealBroken.

    row: position, stream, version, topic, envelope, seal, seal_key; it takes a third of the time.
    """
    position, stream, version, topic, stored, seal, key_id = row
    envelope = bytes(stored)
    sealer.check_event(position, envelopes.leaf_hash(envelope), bytes(seal), key_id)
    if not envelopes.is_version(envelope, stream, topic, version):
        raise SealBroken(ledger=sealer.ledger, what="event", position=position)
    return int(version)


def head_from_row(row: Sequence[Any], sealer: LedgerSealer | None) -> Head:
    """A head from a row of HEAD_COLUMNS. Raises: SealBroken."""
    position, recorded_at, leaf, seal, key_id = row
    if leaf is None:
        if sealer is not None and position > 0:
            raise SealBroken(ledger=sealer.ledger, what="head", position=position)
        return Head(position, recorded_at)
    leaf = bytes(leaf)
    if sealer is not None:
        sealer.check_head(position, leaf, bytes(seal or b""), key_id or "")
    return Head(position, recorded_at, leaf)


def command_from_row(
    name: tuple[str, str], row: Sequence[Any], sealer: LedgerSealer | None
) -> KnownCommand:
    """The command of a principal and key from a row of COMMAND_COLUMNS. Raises: SealBroken."""
    request_hash, command_id, first, last, receipt, seal, key_id = row
    known = KnownCommand(
        bytes(request_hash), command_id, first, last, bytes(receipt), bytes(seal), key_id
    )
    if sealer is not None:
        sealer.check_command(
            *name,
            known.request_hash,
            known.command_id,
            known.receipt,
            known.seal,
            known.seal_key,
            last,
        )
    return known


def check_positions(events: Sequence[RecordedEvent], after: int, ledger: str) -> None:
    """Check that events read in order of position leave none out.

    Raises: SealBroken with the position of the first one that is missing.
    """
    for expected, event in enumerate(events, start=after + 1):
        if event.position != expected:
            raise SealBroken(ledger=ledger, what="event", position=expected)


def check_versions(events: Sequence[RecordedEvent], after: int | None, ledger: str) -> None:
    """Check that events of one stream, in order of version, leave none out between them.

    after: the version that precedes them; None or NO_EVENTS if they begin the stream.
    Raises: SealBroken with the position of the event that follows the gap.
    """
    for expected, event in enumerate(events, start=events[0].version if events else 0):
        is_first = event is events[0]
        begins = (0, 1) if after is None or after < 0 else (after + 1,)
        if event.version != expected or (is_first and event.version not in begins):
            raise SealBroken(ledger=ledger, what="stream", position=event.position)

"""Entries of the register of erasures: which classes of whose data went, by ids only.

A database that is restored from before an erasure has the destroyed keys again. So each erasure has
an entry outside the database, in the places that keep heads (`api.transparency.erasure_register`),
named by the log and the position of its event. An entry is a function of the events alone, so every
service writes the same. It has a seal, so that nobody without the journal key can have data erased,
and the hash of the entry before it in its log, so that one that is missing shows.
Reading order: ErasureEntry, `recorded_erasures`, `chain`, `entry_text`, `entry_from_text`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from domain.store.errors import SealBroken
from domain.store.journal.data_keys import ERASURE_TOPICS
from domain.store.journal.envelope import canonical_json
from domain.store.journal.journal import Journal
from domain.store.journal.records import RecordedEvent
from domain.store.journal.sealed_rows import EVENT_COLUMNS, event_from_row
from domain.store.keys.seals import LedgerSealer
from domain.values.primitives import format_instant, parse_instant

NO_ENTRY = "0" * 64
"""The hash of the entry before the first one."""

_CONFIRMED, _, _REPEATED = ERASURE_TOPICS
_DOMAIN = b"certledger erasure v1\0"

# The topics are written out, as in the condition of the index that this uses.
_READ = f"""SELECT {EVENT_COLUMNS} FROM certledger.journal
WHERE ledger = %s AND position > %s AND topic IN {ERASURE_TOPICS} ORDER BY position"""


class ErasureEntry(NamedTuple):
    """One erasure. log: origin of the log that its event is in. position: of the event, there.

    classes: whose keys were destroyed. recorded_at: aware. number: 1 for the first entry of the
    log, then one more each time. previous: the hash of the entry before, hex.
    """

    ledger: str
    log: str
    position: int
    event_id: str
    person_id: str
    classes: tuple[str, ...]
    recorded_at: datetime
    number: int
    previous: str

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, hex; the next entry names it."""
        return hashlib.sha256(_DOMAIN + canonical_json(self._content())).hexdigest()

    def _content(self) -> dict[str, Any]:
        fields = self._asdict()
        return fields | {
            "classes": list(self.classes),
            "recorded_at": format_instant(self.recorded_at),
        }

    def text(self, sealer: LedgerSealer) -> str:
        """The entry as a place keeps it: one line of JSON with its seal."""
        seal = sealer.erasure(bytes.fromhex(self.hash))
        sealed = self._content() | {"seal": seal.hex(), "seal_key": sealer.key_id}
        return canonical_json(sealed).decode() + "\n"


def entry_from_text(text: str, sealer: LedgerSealer) -> ErasureEntry:
    """The entry that a place keeps. Raises: SealBroken for whatever is none with a right seal."""
    try:
        content = orjson.loads(text)
        seal, key_id = bytes.fromhex(content.pop("seal")), content.pop("seal_key")
        content["classes"] = tuple(content["classes"])
        content["recorded_at"] = parse_instant(content["recorded_at"])
        entry = ErasureEntry(**content)
        digest = bytes.fromhex(entry.hash)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SealBroken(ledger=sealer.ledger, what="erasure", position=0) from None
    if entry.ledger != sealer.ledger:
        raise SealBroken(ledger=sealer.ledger, what="erasure", position=entry.position)
    sealer.check_erasure(digest, seal, key_id)
    return entry


class Erasures(NamedTuple):
    """The erasures of a journal after a position. events: in order.

    repeated: the ids of lost events whose erasure was done again. repeated_at: the last position at
    which one was; 0 if none was.
    """

    events: list[RecordedEvent]
    repeated: frozenset[str]
    repeated_at: int


def recorded_erasures(journal: Journal, after: int = 0) -> Erasures:
    """Every event after a position that erased something.

    A confirmation erases also if it destroyed no key: login and document are free from then on. An
    event without a right seal has erased nothing; others report it.
    Raises: SealBroken if the facts about keys were altered; Unavailable.
    """
    sealer = journal.sealer
    found: list[RecordedEvent] = []
    for row in journal.query(_READ, (journal.ledger, after)):
        with suppress(SealBroken):
            found.append(event_from_row(row, sealer))
    repeats = [event for event in found if event.topic == _REPEATED]
    return Erasures(
        [event for event in found if event.topic == _CONFIRMED or event.data["destroyed"]],
        frozenset(event.data["lost_event_id"] for event in repeats),
        max((event.position for event in repeats), default=0),
    )


def chain(
    ledger: str, log: str, events: Iterable[RecordedEvent], last: ErasureEntry | None = None
) -> list[ErasureEntry]:
    """The entries of erasures of one log. last: the entry before them; None before the first."""
    entries: list[ErasureEntry] = []
    for event in events:
        last = ErasureEntry(
            ledger,
            log,
            event.position,
            str(event.event_id),
            event.data["person_id"],
            tuple(event.data["destroyed"]),
            event.recorded_at,
            1 if last is None else last.number + 1,
            NO_ENTRY if last is None else last.hash,
        )
        entries.append(last)
    return entries


def gaps(entries: Iterable[ErasureEntry]) -> list[ErasureEntry]:
    """The entries whose predecessor is not there. entries: of one log, in any order."""
    found = list(entries)
    hashes = {NO_ENTRY, *(entry.hash for entry in found)}
    return [entry for entry in found if entry.previous not in hashes]

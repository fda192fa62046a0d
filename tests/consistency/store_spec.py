"""The specification of the journal: versions, claims, keys of persons, idempotency.

Each command writes the state it read into its events, so that the checker can compare it with the
journal before them, also for appends with an unknown outcome.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.consistency.database_oracle import Event, Stored
from tests.consistency.history import Operation, Refused, Replayed, Saw, Wrote
from tests.consistency.journal_invariants import Violation

Claim = tuple[str, str]
ERASED = "erased"
POISON = "poison.v1"


@dataclass(frozen=True, slots=True)
class Ask:
    """One append. mark: identifies it; writes: streams, each with the version its sender knows,
    or None for the next one.

    key, request: idempotency. person: sealed for, or erased. picky: refuses by position.
    topic: of its events; the database rejects POISON.
    """

    mark: str
    writes: tuple[tuple[str, int | None], ...] = ()
    claims: tuple[Claim, ...] = ()
    releases: tuple[Claim, ...] = ()
    key: str | None = None
    request: bytes = b""
    person: str | None = None
    erase: bool = False
    picky: bool = False
    topic: str = "fee_paid.v1"
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class StoreRead:
    """One read. at: head, stream, page, command; of: the stream, the position or the key."""

    at: str
    of: Any = None


PICKY = 3
"""A picky append refuses at positions divisible by this."""


def request_hash_of(ask: Ask) -> bytes:
    """The stored hash of a request, which no key is needed to compare: the request, filled up."""
    return ask.request.ljust(40, b".")


def digest_of(wrapped: bytes) -> str:
    """The digest of a key in the events sealed with it."""
    return hashlib.sha256(wrapped).hexdigest()[:16]


def receipt_of(events: Sequence[Any]) -> bytes:
    """The receipt of every append: the places of its events and the state it read."""
    places = [(e.position, e.stream, e.version) for e in events]
    return json.dumps([places, events[0].data["mark"], events[0].data["seen"]]).encode()


class _Timeline:
    """A value that changes along positions."""

    def __init__(self, first: Any = None) -> None:
        self._positions, self._values = [0], [first]

    def set(self, position: int, value: Any) -> None:
        self._positions.append(position)
        self._values.append(value)

    def at(self, position: int) -> Any:
        return self._values[bisect_right(self._positions, position) - 1]


@dataclass(frozen=True, slots=True)
class _Known:
    """A recorded command. last: position from which on it is known."""

    ask: Ask
    first: int
    last: int
    command_id: str
    receipt: bytes


class StoreSpec:
    """Appends one after the other."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._streams: dict[str, _Timeline] = {}
        self._claims: dict[Claim, _Timeline] = {}
        self._persons: dict[str, _Timeline] = {}
        self._commands: dict[str, _Known] = {}
        self._claim_rows: dict[tuple[Claim, int], int | None] = {}

    # --- names -----------------------------------------------------------------------------------

    def name_of(self, asked: Any) -> Hashable | None:
        """The mark: of two requests under one key only one can have written."""
        return asked.mark if isinstance(asked, Ask) else None

    def name_of_event(self, event: Event) -> Hashable:
        """The mark in it."""
        return event.data.get("mark")

    def request_of(self, asked: Ask) -> Hashable:
        """What a repeated request has to equal."""
        return asked.request

    # --- appends ---------------------------------------------------------------------------------

    def take(self, asked: Ask, events: Sequence[Event]) -> str | None:
        """Apply one append."""
        reason = self._unlike(asked, events) or self._impossible(asked, events)
        if reason is not None:
            return reason
        first, last = events[0].position, events[-1].position
        for event in events:
            self._events.append(event)
            values = self._streams.setdefault(event.stream, _Timeline((0, None)))
            values.set(event.position, (event.version, asked.mark))
        for claim in asked.releases:
            self._claim_rows[claim, self._held(claim, first)] = first
            self._claims[claim].set(first, None)
        for claim in asked.claims:
            self._claim_rows[claim, first] = None
            self._claims.setdefault(claim, _Timeline()).set(first, first)
        if asked.person is not None:
            value = ERASED if asked.erase else events[0].data["sealed_with"]
            self._persons.setdefault(asked.person, _Timeline()).set(first, value)
        if asked.key is not None:
            receipt = receipt_of(events)
            known = _Known(asked, first, last, events[0].command_id, receipt)
            self._commands[asked.key] = known
        return None

    def _unlike(self, asked: Ask, events: Sequence[Event]) -> str | None:
        """Its form: these streams in this order, at the requested versions."""
        wanted = [(stream, asked.topic) for stream, _ in asked.writes]
        if [(event.stream, event.topic) for event in events] != wanted:
            return f"it asked for {wanted}"
        for event, (_, known) in zip(events, asked.writes, strict=True):
            if known is not None and event.version != known + 1:
                return f"it was to follow version {known}"
        if asked.topic == POISON:
            return "the database refuses it"
        return None

    def _impossible(self, asked: Ask, events: Sequence[Event]) -> str | None:
        """The state before it does not allow it, or is not the state that the command read."""
        before, seen = events[0].position - 1, events[0].data["seen"]
        if seen != (truth := self.seen(asked, before)):
            return f"it saw {seen}, and there was {truth}"
        if asked.key is not None and asked.key in self._commands:
            return f"key {asked.key} was used at {self._commands[asked.key].first}"
        if asked.picky and before % PICKY == 0:
            return "it would have refused"
        for claim in asked.releases:
            if self._held(claim, before) is None:
                return f"nobody held {claim}"
        for claim in asked.claims:
            if claim not in asked.releases and self._held(claim, before) is not None:
                return f"{claim} was taken at {self._held(claim, before)}"
        return self._badly_sealed(asked, events, before)

    def _badly_sealed(self, asked: Ask, events: Sequence[Event], before: int) -> str | None:
        if asked.person is None:
            return None
        key = self._key(asked.person, before)
        if key == ERASED or (asked.erase and key is None):
            return f"the key of {asked.person} was {key}"
        used = {event.data.get("sealed_with") for event in events}
        if not asked.erase and key is not None and used != {key}:
            return f"sealed with {used}, and the key of {asked.person} was {key}"
        return None

    # --- the state after a position --------------------------------------------------------------

    def seen(self, asked: Ask, position: int) -> dict[str, Any]:
        """What the decision of an append sees after a position; JSON values."""
        streams = sorted({stream for stream, _ in asked.writes})
        claims = sorted({*asked.claims, *asked.releases})
        return {
            "position": position,
            "streams": [list(self._stream(stream, position)) for stream in streams],
            "claims": [self._held(claim, position) for claim in claims],
            "key": self._key(asked.person, position) if asked.person is not None else None,
        }

    def _stream(self, stream: str, position: int) -> tuple[int, str | None]:
        values = self._streams.get(stream)
        return (0, None) if values is None else values.at(position)

    def _held(self, claim: Claim, position: int) -> Any:
        values = self._claims.get(claim)
        return None if values is None else values.at(position)

    def _key(self, person: str, position: int) -> str | None:
        values = self._persons.get(person)
        return None if values is None else values.at(position)

    def _known(self, key: str | None, position: int) -> _Known | None:
        known = self._commands.get(key or "")
        return known if known is not None and known.last <= position else None

    # --- answers ---------------------------------------------------------------------------------

    def answer_error(self, operation: Operation, events: Sequence[Event]) -> str | None:
        """The answer has the events to the byte, and their receipt."""
        answer = operation.answer
        assert isinstance(answer, Wrote)
        if answer.events != tuple(plain(event) for event in events):
            return "the answer has other events"
        return None if answer.receipt == receipt_of(events) else "the answer has another receipt"

    def agrees(self, operation: Operation, position: int) -> bool:
        """Refusals, replays and reads."""
        answer, asked = operation.answer, operation.asked
        if isinstance(answer, Saw):
            return bool(answer.what == self._read(asked, position))
        known = self._known(asked.key, position)
        if isinstance(answer, Replayed):
            if known is None or known.ask.request != asked.request:
                return False
            stored = (known.command_id, known.first, known.last)
            return (answer.receipt, answer.known) == (known.receipt, stored)
        assert isinstance(answer, Refused)
        if known is not None:
            # The key takes precedence: the first receipt again, or this refusal.
            other = known.ask.request != asked.request
            return other and answer.code == "idempotency_key_reused"
        return self._refuses(asked, answer, position)

    def _refuses(self, asked: Ask, answer: Refused, position: int) -> bool:
        fields = answer.fields
        if answer.code == "stale_stream":
            known = dict(asked.writes).get(fields["stream"])
            version, _ = self._stream(fields["stream"], position)
            return known is not None and known != version == fields["actual"]
        if answer.code == "claim_taken":
            claim = (fields["kind"], fields["key"])
            mine = claim in asked.claims and claim not in asked.releases
            return mine and self._held(claim, position) == fields["position"]
        if answer.code == "claim_not_held":
            claim = (fields["kind"], fields["key"])
            return claim in asked.releases and self._held(claim, position) is None
        if answer.code == "person_erased":
            return self._key(fields["person"], position) == ERASED
        if answer.code == "unwilling":
            unwilling = asked.picky and position % PICKY == 0
            unknown = asked.erase and self._key(asked.person or "", position) is None
            return fields["seen"] == self.seen(asked, position) and (unwilling or unknown)
        return answer.code == "rejected_by_database" and asked.topic == POISON

    def _read(self, read: StoreRead, position: int) -> Any:
        if read.at == "head":
            return position
        if read.at == "command":
            known = self._known(read.of, position)
            return None if known is None else (known.first, known.last, known.receipt)
        if read.at == "page":
            after, limit = read.of
            return tuple(plain(e) for e in self._events[after : min(after + limit, position)])
        found = (e for e in self._events[:position] if e.stream == read.of)
        return tuple(plain(event) for event in found)

    def shows(self, operation: Operation, position: int) -> bool:
        """The journal alone has no views."""
        raise NotImplementedError

    # --- the other tables ------------------------------------------------------------------------

    def final(self, stored: Stored) -> Iterable[Violation]:
        """Claims, commands and keys are exactly those of the recorded appends."""
        claims = {(*claim, at, until) for (claim, at), until in self._claim_rows.items()}
        if claims != stored.claims:
            yield Violation("claims differ", str(claims ^ stored.claims))
        commands = {
            (known.ask.key, request_hash_of(known.ask), known.command_id, known.receipt)
            for known in self._commands.values()
        }
        rows = {(c.key, c.request_hash, c.command_id, c.receipt) for c in stored.commands}
        if commands != rows:
            yield Violation("command row differs", str(commands ^ rows))
        keys = {person: values.at(2**63) for person, values in self._persons.items()}
        kept = {p: ERASED if w is None else digest_of(w) for p, w in stored.keys.items()}
        if keys != kept:
            yield Violation("keys differ", str(keys.items() ^ kept.items()))


def plain(event: Any) -> tuple[Any, ...]:
    """An event as a tuple, from a row of the oracle or an answer of the program."""
    row = (event.position, event.stream, event.version, str(event.event_id), event.topic)
    return (*row, bytes(event.envelope), bytes(event.leaf_hash), event.recorded_at)

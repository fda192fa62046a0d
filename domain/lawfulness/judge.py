"""Judges a ledger event by event; what `certledger verify` and the background audit call.

    judge = Judge("omc", vault.open, vault.blind_index, is_signature)
    for event in events:                      # every event, in order of position
        judge.next(event.position, event.parsed)
    judge.close()
    judge.unlawful, judge.judged, judge.not_judged

Two processes share the work: each reads every event and judges the commands of its share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from domain.actors import Actor
from domain.decision import SignatureCheck
from domain.events import CATALOGUE, Fact
from domain.lawfulness.history import History, RecordedCommand, RecordedFact
from domain.lawfulness.verdict import (
    NotJudged,
    Ports,
    Unlawful,
    Unreadable,
    Verdict,
    clause_of,
    lawful,
    why,
)
from domain.person_claims import IDENTITY_FACTS, BlindIndex
from domain.values.sealed_fields import (
    KEY,
    DeclaredValue,
    declared_values,
    has_sealed,
    is_sealed,
    map_sealed,
    matter_owner,
    person_owner,
)

Opener = Callable[[str, int, str, Mapping[str, str]], Any]
"""`open(stream, version, path, sealed)`: the JSON value, None if its key was destroyed; as
`domain.store.privacy.field_encryption.Vault.open`. Raises: a LedgerError for a value that does not
open."""

UNLAWFUL_MAX = 1000
"""Findings that are kept; all are counted."""

FOREIGN = "a topic of another application"
KEY_GONE = "it rests on text whose key is gone"

_STREAMS = frozenset(fact.STREAM for fact in CATALOGUE.values())
_READERS = {
    topic: (fact, fact.__pydantic_validator__.validate_python, has_sealed(fact))
    for topic, fact in CATALOGUE.items()
}
"""Topic -> the fact, what makes one of data, and whether it has sealed fields."""
_ACTORS_MAX = 100_000
_IDENTITY_PATHS = frozenset({"/document_number", "/name"})
"""Opened of every person: whose a number is, every judge has to know."""


class Judge:
    """Judges the events of one ledger in order of position.

    unlawful: what no decision could have made, at most UNLAWFUL_MAX, in order of position.
    unlawful_count: how many there are. judged, not_judged: events of this judge's share.
    reasons: of what was not judged, with the number of events.
    """

    def __init__(
        self,
        ledger: str,
        opener: Opener,
        blind_index: BlindIndex,
        is_signature: SignatureCheck,
        *,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Start before the first event.

        blind_index: as `domain.store.privacy.blind_index.BlindIndexes.blind_index`.
        is_signature: as `domain.store.keys.key_signatures.is_signature`.
        share: (index, of): judge every command of this share; all are folded. The shares
            0 … of - 1 together judge every command once.
        """
        self.ledger = ledger
        self.unlawful: list[Unlawful] = []
        self.unlawful_count = 0
        self.judged = 0
        self.not_judged = 0
        self.reasons: Counter[str] = Counter()
        self.history = History(blind_index)
        self._opener = opener
        self._ports = Ports(ledger, blind_index, is_signature)
        self._share = share
        self._actors: dict[tuple[Any, ...], Actor] = {}
        self._command: str | None = None
        self._waiting: list[tuple[int, Mapping[str, Any]]] = []

    def next(self, position: int, envelope: Mapping[str, Any]) -> None:
        """The next event. envelope: parsed, with its sealed values."""
        command = envelope["command_id"]
        if command != self._command:
            self._judge_command()
            self._command = command
        self._waiting.append((position, envelope))

    def close(self) -> None:
        """Judge the last command; there are no more events."""
        self._judge_command()

    # --- one command ------------------------------------------------------------------------------

    def _judge_command(self) -> None:
        """Judge and fold the events that wait: those of one command."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        reading = _Reading(self._is_mine(waiting[0][1]["command_id"]))
        for position, envelope in waiting:
            self._read(reading, position, envelope)
        recorded = reading.recorded()
        if reading.is_mine:
            own = len(waiting) - reading.foreign
            if own:
                self._count(self._verdict(reading, recorded), own)
            if reading.foreign:
                self._count(NotJudged(FOREIGN), reading.foreign)
        if recorded is not None:
            self.history.fold(recorded)

    def _is_mine(self, command_id: str) -> bool:
        index, of = self._share
        return of == 1 or crc32(command_id.encode()) % of == index

    def _verdict(self, reading: _Reading, recorded: RecordedCommand | None) -> Verdict:
        if reading.fault is not None or recorded is None:
            return reading.fault
        if reading.is_key_gone:
            return NotJudged(KEY_GONE)
        return lawful(self.history, recorded, self._ports)

    def _count(self, verdict: Verdict, events: int) -> None:
        if isinstance(verdict, NotJudged):
            self.not_judged += events
            self.reasons[verdict.reason] += events
            return
        self.judged += events
        if verdict is not None:
            self.unlawful_count += 1
            if len(self.unlawful) < UNLAWFUL_MAX:
                self.unlawful.append(verdict)

    # --- one event --------------------------------------------------------------------------------

    def _read(self, reading: _Reading, position: int, envelope: Mapping[str, Any]) -> None:
        """Read one event of a command as a fact."""
        topic, stream = envelope["topic"], envelope["stream"]
        reader = _READERS.get(topic)
        if reader is None:
            if stream.partition("-")[0] not in _STREAMS:
                reading.foreign += 1
            else:
                reading.find(Unlawful(position, topic, "", "no fact has this topic"))
            return
        kind, validate, seals = reader
        try:
            times = envelope["occurred_at"], envelope["recorded_at"]
            actor = self._actor(envelope["actor"])
            data = envelope["data"]
            if seals:
                data = self._opened(reading, kind, envelope)
            fact = validate(data)
        except Exception as error:
            # What no decision made may be any JSON.
            reading.find(Unlawful(position, topic, clause_of(kind), why(error)))
            return
        reading.facts.append(
            RecordedFact(position, stream, envelope["version"], topic, actor, data, fact, times[0])
        )
        if reading.times is None:
            reading.times = times
        if times != reading.times or actor != reading.facts[0].actor:
            reason = "another actor or time than the facts before it of its command"
            reading.find(Unlawful(position, topic, clause_of(kind), reason))

    def _actor(self, actor: Mapping[str, Any]) -> Actor:
        """Raises: ValidationError."""
        key = (*actor.values(),)
        found = self._actors.get(key)
        if found is None:
            if len(self._actors) >= _ACTORS_MAX:
                self._actors.clear()
            found = self._actors[key] = Actor.model_validate(actor)
        return found

    def _opened(
        self, reading: _Reading, kind: type[Fact], envelope: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The data, with its sealed values opened if this judge needs them, else None.

        Those that identify a person are needed always.

        Raises: Unreadable for a field that should be sealed and is not, or under another's key; the
            LedgerError of a value that does not open.
        """
        data: dict[str, Any] = envelope["data"]
        identifies = issubclass(kind, IDENTITY_FACTS)
        declared = {value.path: value for value in declared_values(kind, data)}
        for value in declared.values():
            if not is_sealed(value.holder[value.name]):
                raise Unreadable(f"{value.path} is not sealed")

        def opened(path: str, sealed: Mapping[str, str]) -> Any:
            if path not in declared:
                raise Unreadable(f"{path} is sealed")
            reading.keys.add(sealed[KEY])
            if not reading.is_mine and not (identifies and path in _IDENTITY_PATHS):
                return None
            if not _is_key_of(sealed[KEY], declared[path], envelope):
                raise Unreadable(f"{path} is sealed under a key of another owner")
            found = self._opener(envelope["stream"], envelope["version"], path, sealed)
            reading.is_key_gone |= found is None
            return found

        found: dict[str, Any] = map_sealed(data, opened)
        return found


def _is_key_of(key: str, value: DeclaredValue, envelope: Mapping[str, Any]) -> bool:
    """Whether a sealed value lies under a key that its field declares, or the matter's."""
    owner, _, _ = key.rpartition("/")
    if owner == matter_owner(envelope["stream"]):
        return True
    person = envelope["data"].get(value.mark.of)
    if value.mark.data_class is None or type(person) is not str:
        return False
    return owner == f"{person_owner(person)}/{value.mark.data_class}"


@dataclass(slots=True)
class _Reading:
    """The events of one command, as far as they are read.

    fault: the first that cannot be read as a fact of the command. foreign: how many there are of
    another application.
    """

    is_mine: bool
    facts: list[RecordedFact] = field(default_factory=list)
    times: tuple[str, str] | None = None
    fault: Unlawful | None = None
    foreign: int = 0
    is_key_gone: bool = False
    keys: set[str] = field(default_factory=set)

    def find(self, fault: Unlawful) -> None:
        self.fault = self.fault or fault

    def recorded(self) -> RecordedCommand | None:
        """The facts that can be read as one command's; None if there is none."""
        if self.times is None:
            return None
        return RecordedCommand(self.facts[0].actor, *self.times, self.facts, self.keys)

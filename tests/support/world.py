"""A ledger in memory, and the grammar of the decision tests.

`given(history).when(command, by=actor, at=time).then(*facts)` states the facts of a command,
`.fails(ErrorClass)` its refusal, which changes nothing. The world folds facts with
`domain.states.folds.evolve` and keeps claims as the journal does: releases come first, a taken
claim refuses the whole command, and a claim that is not taken cannot be released. Every fact is
written as JSON and parsed before it is folded, so that a test never gets more than the journal
would store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from domain import events as e
from domain.actors import Actor, Role
from domain.command_spec import ReadSet
from domain.commands import READ_SETS, decide, read_set_of
from domain.decision import (
    Claim,
    Command,
    Context,
    Decision,
    Identity,
    LedgerNotOpen,
    NotFound,
    stream_of,
)
from domain.documents.kinds import MaterialKind
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.person_claims import DOCUMENT, IDENTITY_FACTS, PersonIndex
from domain.service import snapshots
from domain.states import folds as states
from domain.states.application import Candidacy
from domain.states.editions import Editions
from domain.store.errors import ClaimNotHeld, ClaimTaken
from domain.store.keys.key_signatures import is_signature
from domain.values.certificate_cards import card_sha256
from domain.values.logins import normal_form
from domain.values.sealed_fields import DataClass, blanked, declared_values, person_owner
from tests.support.actors import OPERATOR

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
"""A Monday morning, 09:00 in Shanghai."""


@dataclass(frozen=True)
class Entry:
    """A fact with what the folds read, in the shape of a journal entry."""

    originator_id: str
    originator_version: int
    occurred_at: datetime
    actor: dict[str, Any]
    fact: e.Fact


def blind_index(kind: str, text: str) -> str:
    """Replaces the blind index: equal for equal texts, without revealing them."""
    return hashlib.sha256(f"{kind}|{text}".encode()).hexdigest()[:32]


CARD_SALT = bytes(range(32))


def digest_card(card: bytes) -> tuple[str, str]:
    """As in the service, under a salt that is always the same."""
    return card_sha256(card, CARD_SALT), CARD_SALT.hex()


def as_stored(fact: e.Fact) -> e.Fact:
    """The fact after a JSON round trip."""
    return e.CATALOGUE[fact.TOPIC].model_validate_json(fact.model_dump_json())


def stream_of_fact(fact: e.Fact) -> str:
    """The stream of a fact, by its kind and its id."""
    if fact.STREAM == "ledger":
        return "ledger"
    return stream_of(fact.STREAM, getattr(fact, f"{fact.STREAM}_id"))


@dataclass
class World:
    """Every state and claim of one ledger, called name; `now` is the time of the last command.

    person_claims: the blind indexes of each person who has some.
    """

    now: datetime = START
    name: str = "omc"
    states: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    claims: dict[Claim, int] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    person_claims: dict[str, tuple[PersonIndex, ...]] = field(default_factory=dict)
    ids: int = 0
    sealed: frozenset[tuple[str, DataClass]] = frozenset()
    forgotten: frozenset[str] = frozenset()
    staff: frozenset[str] = frozenset()

    def ledger(self) -> states.LedgerState:
        if "ledger" not in self.states:
            raise LedgerNotOpen()
        return self.states["ledger"]

    def person(self, person_id: str) -> states.Person:
        return self._get(stream_of("person", person_id), "person", person_id)

    def identity(self, person_id: str) -> Identity:
        if person_id not in self.identities:
            raise NotFound(what="identity of person", id=person_id)
        return self.identities[person_id]

    def candidacy(self, application_id: str) -> Candidacy:
        return self._get(stream_of("application", application_id), "application", application_id)

    def document_sha256(self, application_id: str, kind: MaterialKind) -> str | None:
        for entry in reversed(self.entries):
            fact = entry.fact
            if (
                isinstance(fact, e.DocumentSubmitted)
                and (fact.application_id, fact.kind) == (application_id, kind)
                and fact.person_id in self.identities
            ):
                return fact.plain_sha256 or fact.photo_sha256
        return None

    def session(self, session_id: str) -> states.ExamSession:
        return self._get(stream_of("session", session_id), "session", session_id)

    def notice(self, notice_id: str) -> states.Notice:
        return self._get(stream_of("notice", notice_id), "notice", notice_id)

    def series(self, series_id: str) -> states.Series:
        return self.states.get(stream_of("series", series_id)) or states.Series(series_id)

    def report(self, report_id: str) -> states.Report:
        return self._get(stream_of("report", report_id), "report", report_id)

    def editions(self, kind: EditionKind) -> Editions:
        return self.states.get(stream_of("edition", kind)) or Editions(kind)

    def exists(self, stream: str) -> bool:
        return stream in self.states

    def claimed(self, kind: str, key: str) -> bool:
        return (kind, key) in self.claims

    def holder(self, kind: str, index: str) -> str | None:
        found = [p for p, indexes in self.person_claims.items() if (kind, index) in indexes]
        return found[0] if found else None

    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]:
        found = (key for of_kind, key in self.claims if of_kind == kind)
        return tuple(sorted(key for key in found if key.startswith(prefix)))

    def sealed_classes(self, person_id: str) -> frozenset[DataClass]:
        return frozenset(each for owner, each in self.sealed if owner == person_owner(person_id))

    def known(self, kind: str, key: str | None = None) -> Any:
        """The state of one stream, None if there is none, as the state cache would return it."""
        return self.states.get(stream_of(kind, key))

    def _get(self, stream: str, what: str, key: str) -> Any:
        if stream not in self.states:
            raise NotFound(what=what, id=key)
        return self.states[stream]

    def copy(self) -> World:
        """An independent copy."""
        twin = copy(self)
        twin.states, twin.entries = dict(self.states), list(self.entries)
        twin.claims, twin.identities = dict(self.claims), dict(self.identities)
        twin.person_claims = dict(self.person_claims)
        return twin

    def context(self, actor: Actor, now: datetime) -> Context:
        """Actor and time; ids count up, so that the same history has the same ids."""
        return Context(
            now=now,
            actor=actor,
            new_id=self._new_id,
            blind_index=blind_index,
            ledger=self.name,
            is_signature=is_signature,
            digest_card=digest_card,
            pseudonym=self.pseudonym,
        )

    def pseudonym(self, login: str) -> str:
        """The login itself, until the erasure of a person who was no staff; then another name."""
        name = normal_form(login)
        while name in self.forgotten:
            name += " again"
        return name

    def _new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"

    def do(self, command: Command, by: Actor = OPERATOR, at: datetime | None = None) -> Decision:
        """Decide and record; without a time one minute after the last command.

        Raises: the LedgerError of the decision or of its claims; then nothing changed.
        """
        now = at or self.now + timedelta(minutes=1)
        if normal_form(by.subject) in self.forgotten:
            by = by.model_copy(update={"subject": self.pseudonym(by.subject)})
        read_set = self._read_set(command, lambda: self.copy().context(by, now))
        checked = ReadSetChecker(self, read_set)
        decision = decide(checked, command, self.context(by, now))
        checked.take(decision)
        self.record(decision, by, now)
        self.now = now
        return decision

    def _read_set(self, command: Command, context: Callable[[], Context]) -> ReadSet | None:
        """context: with the ids that the decision gets, made for each use."""
        try:
            READ_SETS[type(command)](self.known, command, context())
        except LedgerError:
            return None
        return read_set_of(self.known, command, context())

    def record(self, decision: Decision, actor: Actor, now: datetime) -> None:
        """Append a decision as the journal does: claims and facts, all or nothing."""
        claims = dict(self.claims)
        for kind, key in decision.releases:
            if claims.pop((kind, key), None) is None:
                raise ClaimNotHeld(kind=kind, key=key)
        for kind, key in decision.claims:
            if (kind, key) in claims:
                raise ClaimTaken(kind=kind, key=key, position=claims[kind, key])
            claims[kind, key] = len(self.entries) + 1
        self.claims = claims
        self.person_claims |= dict(decision.person_claims)
        for stream, fact in decision.facts:
            assert stream == stream_of_fact(fact), f"{fact.TOPIC} does not belong to {stream}"
            self.append(fact, actor, now)
        for owner, data_class in decision.erases:
            self.sealed -= {(owner, DataClass(data_class))}
            if data_class == DataClass.IDENTITY:
                self.identities.pop(owner.removeprefix(person_owner("")), None)
        if actor.role is not Role.CANDIDATE:
            self.staff |= {actor.subject}
        self.forgotten |= {*decision.forgets} - self.staff

    def append(self, fact: e.Fact, actor: Actor = OPERATOR, now: datetime | None = None) -> None:
        """Fold one fact without a decision."""
        stream = stream_of_fact(fact)
        state = self.states.get(stream)
        version = state.version + 1 if state else 1
        stored = as_stored(fact)
        entry = Entry(stream, version, now or self.now, actor.model_dump(mode="json"), stored)
        folded = states.evolve(state, replace(entry, fact=blanked(stored)))
        assert snapshots.restore(snapshots.take(stream, folded)) == folded
        self.states[stream] = folded
        self.entries.append(entry)
        data = fact.model_dump(mode="json")
        self.sealed |= {
            (person_owner(data[mark.of]), mark.data_class)
            for _, mark, _, _ in declared_values(type(fact), data)
            if mark.data_class is not None
        }
        if isinstance(fact, IDENTITY_FACTS):
            assert fact.name is not None
            assert fact.document_number is not None
            identity = Identity(fact.name, fact.document_type, fact.document_number)
            self.identities[fact.person_id] = identity

    def facts(self, kind: type[e.Fact] | None = None) -> list[e.Fact]:
        """Every recorded fact in order, or those of one kind."""
        return [x.fact for x in self.entries if kind is None or isinstance(x.fact, kind)]


class ReadSetChecker:
    """Asserts that a decision reads nothing outside its declared read set.

    read_set: None for a command that is refused before any read, such as a wrong check digit.
    """

    def __init__(self, world: World, read_set: ReadSet | None) -> None:
        self._world = world
        self._strict = read_set is not None
        self._read_set = read_set or ReadSet()

    def __getattr__(self, name: str) -> Any:
        kind = {"candidacy": "application", "editions": "edition"}.get(name, name)

        def read(*key: str) -> Any:
            if not self._read_set.is_open_ended:
                self._expect(stream_of(kind, *key), self._read_set.streams)
            return getattr(self._world, name)(*key)

        return read

    def identity(self, person_id: str) -> Identity:
        self._expect(stream_of("person", person_id), self._read_set.streams)
        self._expect(person_id, self._read_set.persons)
        return self._world.identity(person_id)

    def document_sha256(self, application_id: str, kind: MaterialKind) -> str | None:
        self._expect(stream_of("application", application_id), self._read_set.streams)
        person = self._world.candidacy(application_id).person_id
        self._expect(person, self._read_set.persons)
        return self._world.document_sha256(application_id, kind)

    def exists(self, stream: str) -> bool:
        self._expect(stream, (*self._read_set.versions, *self._read_set.streams))
        return self._world.exists(stream)

    def claimed(self, kind: str, key: str) -> bool:
        self._expect((kind, key), self._read_set.claims)
        return self._world.claimed(kind, key)

    def holder(self, kind: str, index: str) -> str | None:
        self._expect((kind, index), self._read_set.holders)
        found = self._world.holder(kind, index)
        if found is not None:
            # Whose it is, is known only now: what is read of them costs a round trip of its own.
            read = self._read_set
            streams = (*read.streams, stream_of("person", found))
            self._read_set = read._replace(streams=streams, persons=(*read.persons, found))
        return found

    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]:
        assert self._read_set.is_open_ended
        return self._world.claims_under(kind, prefix)

    def sealed_classes(self, person_id: str) -> frozenset[DataClass]:
        self._expect(person_id, self._read_set.persons)
        return self._world.sealed_classes(person_id)

    def take(self, decision: Decision) -> None:
        """Check the versions, claims and keys that appending the decision needs."""
        for _, indexes in decision.person_claims:
            for index in indexes:
                if index[0] == DOCUMENT:
                    self._expect(index, self._read_set.holders)
        for claim in (*decision.claims, *decision.releases):
            self._expect(claim, self._read_set.claims)
        for stream, fact in decision.facts:
            self._expect(stream, (*self._read_set.versions, *self._read_set.streams))
            data = fact.model_dump(mode="json")
            for _, mark, _, _ in declared_values(type(fact), data):
                if mark.data_class is None:
                    self._expect(stream, self._read_set.matters)
                else:
                    self._expect(data[mark.of], self._read_set.persons)

    def _expect(self, key: Any, declared: Sequence[Any]) -> None:
        assert key in declared or not self._strict, f"{key} is read but not in the read set"


@dataclass
class Given:
    """A history; `when` executes a command on top of it."""

    world: World

    def when(self, command: Command, by: Actor = OPERATOR, at: datetime | None = None) -> When:
        """Execute a command on a copy of the history."""
        world = self.world.copy()
        try:
            return When(world, world.do(command, by, at), None)
        except LedgerError as error:
            before = (self.world.states, self.world.claims, self.world.identities)
            assert (world.states, world.claims, world.identities) == before, (
                "a refused command changed the world"
            )
            return When(world, None, error)


@dataclass
class When:
    """Outcome of a command."""

    world: World
    decision: Decision | None
    error: LedgerError | None

    @property
    def decided(self) -> Decision:
        """The decision; fails the test with the error if there is none."""
        assert self.decision is not None, f"refused: {type(self.error).__name__}: {self.error}"
        return self.decision

    def then(self, *facts: e.Fact) -> World:
        """Exactly these facts were recorded, in this order. Returns: the world after them."""
        assert [fact for _, fact in self.decided.facts] == list(facts)
        return self.world

    def then_kinds(self, *kinds: type[e.Fact]) -> World:
        """Facts of exactly these kinds were recorded, in this order."""
        assert [type(fact) for _, fact in self.decided.facts] == list(kinds)
        return self.world

    def returns(self, **outcome: Any) -> When:
        """The outcome contains at least these values."""
        returned = self.decided.outcome
        assert {key: returned.get(key) for key in outcome} == outcome
        return self

    def fails(self, error: type[LedgerError], **fields: Any) -> LedgerError:
        """Refused with exactly this error, and these of its fields."""
        assert self.decision is None, f"not refused: {self.decision.facts}"
        assert type(self.error) is error, f"refused otherwise: {self.error!r}"
        given = self.error.fields
        assert {key: given.get(key) for key in fields} == fields
        return self.error

    def refuses_refund(self, refusal: e.RefundRefusal, clause: str) -> World:
        """A refund refusal is recorded with its clause, and no order."""
        facts = [fact for _, fact in self.decided.facts]
        assert [type(fact) for fact in facts] == [e.RefundRefused]
        assert (facts[0].refusal, facts[0].clause) == (refusal, clause)
        return self.world


def given(*history: World | e.Fact | Callable[[World], object]) -> Given:
    """A history: a world first, or none; then facts, or steps that take the world."""
    world = World()
    for part in history:
        if isinstance(part, World):
            world = part.copy()
        elif isinstance(part, e.Fact):
            world.append(part)
        else:
            part(world)
    return Given(world)

"""The states and claims of one ledger, folded from facts alone; what decisions are judged on.

Reading order: RecordedFact, RecordedCommand, History.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple

from domain.actors import Actor
from domain.claims import CLAIMS, Claim, claims_of
from domain.commands import OpenedInStates
from domain.decision import Identity, LedgerNotOpen, NotFound, stream_of
from domain.documents.kinds import MaterialKind
from domain.editions.edition import EditionKind
from domain.events import ERASURE, Fact
from domain.person_claims import (
    CONTESTED,
    DOCUMENT,
    BlindIndex,
    PersonIndex,
    person_claims_of,
)
from domain.states import folds
from domain.states.application import Candidacy
from domain.states.editions import Editions
from domain.values.identity_documents import DocumentType
from domain.values.sealed_fields import DataClass, blanked, person_owner


@dataclass(slots=True)
class RecordedFact:
    """One event as the judgement needs it; in the shape of a journal entry for the folds.

    data: as stored, with personal fields opened where they were opened, None where their key is
        gone. occurred: RFC 3339 text in UTC.
    """

    position: int
    originator_id: str
    originator_version: int
    topic: str
    actor: Actor
    data: dict[str, Any]
    fact: Fact
    occurred: str

    @property
    def occurred_at(self) -> datetime:
        """When it happened; aware."""
        return datetime.fromisoformat(self.occurred)


class RecordedCommand(NamedTuple):
    """What one command recorded. Times: RFC 3339 text in UTC with six fractional digits.

    keys: the names of those that seal its fields.
    """

    actor: Actor
    occurred_at: str
    recorded_at: str
    facts: Sequence[RecordedFact]
    keys: Iterable[str] = ()


def stream_of_fact(fact: Fact) -> str:
    """The stream a fact belongs to, by its kind and its id."""
    kind = fact.STREAM
    return kind if kind == "ledger" else f"{kind}-{getattr(fact, kind + '_id')}"


_INDEXED = frozenset({"person_application", "person_objection"})
"""The kinds of claims that decisions ask for by the beginning of their key."""

_BITS = {each: 1 << place for place, each in enumerate(DataClass)}

PHOTO_IDENTITY = Identity("photo", DocumentType.PASSPORT, "0")
"""Instead of a person's identity, which only the name of a photo's file is compared with; that name
is not recorded."""


@dataclass(slots=True)
class History:
    """Every state and claim of a ledger up to some position; the `States` of a decision.

    states: by stream. claims: those taken at present. occurred: by stream, when its last event
    happened. indexes: by person. holders: whose they are. unknown: persons whose document cannot be
    opened any more. sealed: by owner, the classes of which there are data keys, as bits.
    under: by kind and beginning, the keys of claims that are asked for like that.
    """

    blind_index: BlindIndex
    states: dict[str, Any] = field(default_factory=dict)
    claims: set[Claim] = field(default_factory=set)
    occurred: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, tuple[PersonIndex, ...]] = field(default_factory=dict)
    holders: dict[PersonIndex, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    sealed: dict[str, int] = field(default_factory=dict)
    under: dict[Claim, tuple[str, ...]] = field(default_factory=dict)

    def copy(self) -> History:
        """An independent copy, for what may have to be undone."""
        kept = {each.name: copy(getattr(self, each.name)) for each in fields(self)}
        return History(**kept)

    # --- as a decision reads it -------------------------------------------------------------------

    def _get(self, kind: str, key: str) -> Any:
        state = self.states.get(f"{kind}-{key}")
        if state is None:
            raise NotFound(what=kind, id=key)
        return state

    def ledger(self) -> folds.LedgerState:
        """Raises: LedgerNotOpen."""
        state: folds.LedgerState | None = self.states.get("ledger")
        if state is None:
            raise LedgerNotOpen()
        return state

    def person(self, person_id: str) -> folds.Person:
        """Raises: NotFound."""
        person: folds.Person = self._get("person", person_id)
        return person

    def identity(self, person_id: str) -> Identity:
        """Not the person's own; see PHOTO_IDENTITY. Raises: NotFound, also after erasure."""
        if self.person(person_id).is_unknown:
            raise NotFound(what="identity of person", id=person_id)
        return PHOTO_IDENTITY

    def candidacy(self, application_id: str) -> Candidacy:
        """Raises: NotFound."""
        application: Candidacy = self._get("application", application_id)
        return application

    def document_sha256(self, application_id: str, kind: MaterialKind) -> str | None:
        """Not known here: two documents of one application are not compared again."""
        return None

    def session(self, session_id: str) -> folds.ExamSession:
        """Raises: NotFound."""
        session: folds.ExamSession = self._get("session", session_id)
        return session

    def notice(self, notice_id: str) -> folds.Notice:
        """Raises: NotFound."""
        notice: folds.Notice = self._get("notice", notice_id)
        return notice

    def report(self, report_id: str) -> folds.Report:
        """Raises: NotFound."""
        report: folds.Report = self._get("report", report_id)
        return report

    def series(self, series_id: str) -> folds.Series:
        """An unknown series is an empty one."""
        return self.states.get(stream_of("series", series_id)) or folds.Series(series_id)

    def editions(self, kind: EditionKind) -> Editions:
        """The adopted ones of a kind, in addition to the packaged ones."""
        return self.states.get(stream_of("edition", kind)) or Editions(kind)

    def exists(self, stream: str) -> bool:
        """Whether the stream has an event."""
        return stream in self.states

    def claimed(self, kind: str, key: str) -> bool:
        """Whether the claim is taken."""
        return (kind, key) in self.claims

    def holder(self, kind: str, index: str) -> str | None:
        """The person who has an index, as far as their number can be opened."""
        return self.holders.get((kind, index))

    def document(self, person_id: str) -> str | None:
        """The index of a person's document, or of the one they contest; None if it is unknown."""
        indexes = dict(self.indexes.get(person_id, ()))
        return indexes.get(DOCUMENT) or indexes.get(CONTESTED)

    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]:
        """Of the kinds that are never released; prefix: up to the first vertical bar."""
        return tuple(sorted(self.under.get((kind, prefix), ())))

    def sealed_classes(self, person_id: str) -> frozenset[DataClass]:
        """The classes of which there is a data key of the person."""
        bits = self.sealed.get(person_owner(person_id), 0)
        return frozenset(each for each, bit in _BITS.items() if bits & bit)

    def version(self, stream: str) -> int:
        """Of the stream's last event; 0 for a stream without one."""
        state = self.states.get(stream)
        return 0 if state is None else state.version

    # --- as facts change it -----------------------------------------------------------------------

    def fold(self, recorded: RecordedCommand) -> None:
        """Apply what a command recorded, lawful or not, as far as it folds."""
        self._note_keys(recorded)
        for each in recorded.facts:
            stream, fact = each.originator_id, each.fact
            if stream_of_fact(fact) != stream:
                continue
            try:
                if type(fact) in CLAIMS:
                    facts = [every.fact for every in recorded.facts]
                    change = claims_of(fact, OpenedInStates(self, facts))
                    self.claims.difference_update(change.releases)
                    self.claims.update(change.takes)
                    self._index(change.takes)
                self._fold_person(fact)
                each.fact = blanked(fact)  # states hold no sealed text
                self.states[stream] = folds.evolve(self.states.get(stream), each)
            except Exception:
                # The folds trust decisions; a fact that none made may break on any line.
                continue
            self.occurred[stream] = recorded.occurred_at

    def _fold_person(self, fact: Fact) -> None:
        changed = person_claims_of(fact, self.blind_index)
        if changed is None:
            return
        person, indexes = changed
        for index in self.indexes.pop(person, ()):
            if self.holders.get(index) == person:
                del self.holders[index]
        if indexes:
            self.indexes[person] = indexes
        else:
            self.unknown.add(person)
        for index in indexes:
            self.holders.setdefault(index, person)

    def _index(self, claims: Iterable[Claim]) -> None:
        for kind, key in claims:
            if kind in _INDEXED:
                begin = kind, key[: key.index("|") + 1]
                self.under[begin] = (*self.under.get(begin, ()), key)

    def _note_keys(self, recorded: RecordedCommand) -> None:
        """The keys that there are after a command: those it uses, and without those it destroys.

        Of its own facts an erasure is the last that names keys.
        """
        for name in recorded.keys:
            owner, data_class, _ = name.rsplit("/", 2)
            if owner in ("person", "matter") or data_class not in _BITS:
                continue
            self.sealed[owner] = self.sealed.get(owner, 0) | _BITS[DataClass(data_class)]
        for each in recorded.facts:
            if isinstance(each.fact, ERASURE):
                owner = person_owner(each.fact.person_id)
                for gone in each.fact.destroyed:
                    self.sealed[owner] = self.sealed.get(owner, 0) & ~_BITS[gone]

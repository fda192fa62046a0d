"""States other than an application's and of editions: ledger, person, session, notice and so on.

`evolve` folds one fact into any of them and into `Candidacy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from domain import events as e
from domain.actors import agency_of, is_same_organisation, subject_of
from domain.errors import LedgerError
from domain.states import application, editions
from domain.values.fast_replace import replace
from domain.values.identity_documents import DocumentType
from domain.values.sealed_fields import DataClass


class NoOrganisation(LedgerError):
    """This is the operator's ledger; no evaluation organisation has it."""

    code = "no_organisation"


@dataclass(frozen=True, slots=True)
class LedgerState:
    """How a ledger was opened, and the keys in use, in order of introduction."""

    id: str
    opened: e.LedgerOpened | e.ServiceOpened
    keys: tuple[e.KeyIntroduced, ...] = ()
    continuations: tuple[e.LogContinuedElsewhere, ...] = ()
    issuer_urls: tuple[e.IssuerUrlSet, ...] = ()
    version: int = 0

    @property
    def organisation(self) -> e.LedgerOpened:
        """The evaluation organisation. Raises: NoOrganisation in the ledger `service`."""
        if not isinstance(self.opened, e.LedgerOpened):
            raise NoOrganisation()
        return self.opened

    @property
    def log_origin(self) -> str:
        """The origin of the ledger's present log."""
        return self.continuations[-1].new_origin if self.continuations else self.opened.log_origin

    @property
    def log_number(self) -> int:
        """1 for the log that the ledger was opened with, one more after each recovery."""
        return 1 + len(self.continuations)

    def keys_for(self, purpose: e.KeyPurpose) -> tuple[str, ...]:
        """The ids of the keys of a purpose that are in use, the newest last."""
        return tuple(key.key_id for key in self.keys if key.purpose == purpose)

    def issuer_url_on(self, day: date) -> str | None:
        """The address that is printed on a day: the newest that has begun; None: none was set."""
        begun = [each for each in self.issuer_urls if each.valid_from <= day]
        return begun[-1].url if begun else None


class Registration(StrEnum):
    """How far a registration (登记) is settled."""

    REGISTERED = "registered"
    CONTESTED = "contested"  # 存疑
    JOINED = "joined"  # 并入
    REJECTED = "rejected"  # 驳回
    OBJECTOR = "objector"  # 异议人, who is not registered


@dataclass(frozen=True, slots=True)
class NamedActor:
    """A member of staff whose name and login are recorded. id: their pseudonym."""

    id: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class ProposedErasure:
    """An erasure that waits for a second person. by: who proposed it."""

    id: str
    reason: e.ErasureReason
    findings_sha256: str
    by: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person, without personal data.

    document_type: None of an objector who is not registered. held_by: whose document a contested
    registration names. agency: the organisation that registered or named them; None: they
    registered themselves. recognised_by: the agencies that gave their name and document.
    proposal: the last one. erased: by two persons; nothing new begins for this person, while some
    classes of their data may be kept. destroyed: the classes that went.
    """

    id: str
    subject: str | None
    document_type: DocumentType | None
    document_country: str | None
    registered_by: str = ""
    agency: str | None = None
    recognised_by: tuple[str, ...] = ()
    registration: Registration = Registration.REGISTERED
    held_by: str | None = None
    proposal: ProposedErasure | None = None
    erased: bool = False
    destroyed: frozenset[DataClass] = frozenset()
    version: int = 0

    @property
    def is_unknown(self) -> bool:
        """Whether name and document were destroyed."""
        return DataClass.IDENTITY in self.destroyed

    def is_registered_by(self, agency: str) -> bool:
        """Whether this agency registered them."""
        return self.agency is not None and is_same_organisation(self.agency, agency)

    def is_known_to(self, agency: str) -> bool:
        """Whether this agency registered them, or gave their name and document."""
        known = any(is_same_organisation(each, agency) for each in self.recognised_by)
        return known or self.is_registered_by(agency)


def seat_key(room: str, seat: int) -> str:
    """Key of a seat within its session."""
    return f"{room}#{seat}"


@dataclass(frozen=True, slots=True)
class ExamSession:
    """An exam session. seats: `seat_key` -> application id. tickets: number -> application id.

    Keys are text, so that a snapshot can store them as JSON.
    """

    id: str
    scheduled: e.ExamSessionScheduled
    seats: dict[str, str] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)
    ended_at: datetime | None = None
    version: int = 0

    def free_seat(self, in_room: str | None = None) -> tuple[str, int] | None:
        """The first free seat, room by room, or of one room only."""
        for room in self.scheduled.rooms:
            if in_room not in (None, room.room):
                continue
            for seat in range(1, room.seats + 1):
                if seat_key(room.room, seat) not in self.seats:
                    return room.room, seat
        return None


@dataclass(frozen=True, slots=True)
class Notice:
    """A public notice, its period and its objections.

    objections, open_objections: objection id -> application id. objectors: objection id -> the
    person who objected.
    upheld: ids of upheld objections. withheld: ids of applications whose rows do not become final,
    because of an upheld objection or, at the closing, because their scores had changed.
    """

    id: str
    opened: e.PublicNoticeOpened
    ends_on: date
    provisional: bool
    objections: dict[str, str] = field(default_factory=dict)
    open_objections: dict[str, str] = field(default_factory=dict)
    objectors: dict[str, str] = field(default_factory=dict)
    upheld: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()
    closed: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """A number series. source: who allocates the numbers, fixed by the first one."""

    id: str
    last_serial: int = 0
    source: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A report to the authority. rows: certificate number -> application id."""

    id: str
    batch_type: str
    rows: dict[str, str]
    version: int = 0


def _ledger_opened(
    state: LedgerState | None, fact: e.LedgerOpened | e.ServiceOpened, entry: Any
) -> LedgerState:
    return LedgerState(id="ledger", opened=fact)


def _issuer_url_set(state: LedgerState, fact: e.IssuerUrlSet, entry: Any) -> LedgerState:
    return replace(state, issuer_urls=(*state.issuer_urls, fact))


def _key_introduced(state: LedgerState, fact: e.KeyIntroduced, entry: Any) -> LedgerState:
    return replace(state, keys=(*state.keys, fact))


def _key_retired(state: LedgerState, fact: e.KeyRetired, entry: Any) -> LedgerState:
    gone = (fact.purpose, fact.key_id)
    left = tuple(key for key in state.keys if (key.purpose, key.key_id) != gone)
    return replace(state, keys=left)


def _log_continued(state: LedgerState, fact: e.LogContinuedElsewhere, entry: Any) -> LedgerState:
    """The keys of the old log and of what it sealed are good for its own positions only."""
    gone = (e.KeyPurpose.LOG, e.KeyPurpose.JOURNAL)
    return replace(
        state,
        keys=tuple(key for key in state.keys if key.purpose not in gone),
        continuations=(*state.continuations, fact),
    )


def _registered(
    state: Person | None, fact: e.PersonRegistered | e.RegistrationContested, entry: Any
) -> Person:
    return Person(
        fact.person_id,
        fact.subject,
        fact.document_type,
        fact.document_country,
        registered_by=subject_of(entry),
        agency=agency_of(entry),
    )


def _contested(state: Person | None, fact: e.RegistrationContested, entry: Any) -> Person:
    registration = Registration.CONTESTED
    return replace(_registered(state, fact, entry), registration=registration, held_by=fact.held_by)


def _recognised(state: Person, fact: e.PersonRecognised, entry: Any) -> Person:
    agency = agency_of(entry)
    if agency is None or state.is_known_to(agency):
        return state
    return replace(state, recognised_by=(*state.recognised_by, agency))


def _joined(state: Person, fact: e.RegistrationJoined, entry: Any) -> Person:
    return replace(state, subject=None, registration=Registration.JOINED)


def _assigned(state: Person, fact: e.LoginAssigned, entry: Any) -> Person:
    return replace(state, subject=fact.subject)


def _rejected(state: Person, fact: e.RegistrationRejected, entry: Any) -> Person:
    return replace(state, registration=Registration.REJECTED)


def _corrected(state: Person, fact: e.PersonCorrected, entry: Any) -> Person:
    return replace(
        state,
        document_type=fact.document_type,
        document_country=fact.document_country,
        registration=Registration.CONTESTED if fact.held_by else Registration.REGISTERED,
        held_by=fact.held_by,
    )


def _objector_named(state: Person | None, fact: e.ObjectorNamed, entry: Any) -> Person:
    return Person(
        fact.person_id,
        None,
        None,
        None,
        registered_by=subject_of(entry),
        agency=agency_of(entry),
        registration=Registration.OBJECTOR,
    )


def _erasure_proposed(state: Person, fact: e.ErasureProposed, entry: Any) -> Person:
    by = subject_of(entry)
    proposal = ProposedErasure(fact.proposal, fact.reason, fact.findings_sha256, by)
    return replace(state, proposal=proposal)


def _erased(
    state: Person, fact: e.ErasureConfirmed | e.ErasureContinued | e.ErasureRepeated, entry: Any
) -> Person:
    destroyed = state.destroyed | frozenset(fact.destroyed)
    return replace(state, erased=True, destroyed=destroyed)


def _scheduled(state: ExamSession | None, fact: e.ExamSessionScheduled, entry: Any) -> ExamSession:
    return ExamSession(fact.session_id, fact)


def _seated(state: ExamSession, fact: e.SeatAssigned, entry: Any) -> ExamSession:
    return replace(
        state,
        seats={**state.seats, seat_key(fact.room, fact.seat): fact.application_id},
        tickets={**state.tickets, fact.ticket_number: fact.application_id},
    )


def _named(state: NamedActor | None, fact: e.ActorNamed, entry: Any) -> NamedActor:
    return NamedActor(fact.subject)


def _held(state: ExamSession, fact: e.ExamSessionHeld, entry: Any) -> ExamSession:
    return replace(state, ended_at=fact.ended_at)


def _notice(state: Notice | None, fact: e.PublicNoticeOpened, entry: Any) -> Notice:
    return Notice(fact.notice_id, fact, fact.ends_on, fact.ends_on_is_provisional)


def _extended(state: Notice, fact: e.PublicNoticeExtended, entry: Any) -> Notice:
    return replace(state, ends_on=fact.ends_on, provisional=fact.ends_on_is_provisional)


def _objection(state: Notice, fact: e.ObjectionFiled, entry: Any) -> Notice:
    return replace(
        state,
        objections={**state.objections, fact.objection_id: fact.application_id},
        open_objections={**state.open_objections, fact.objection_id: fact.application_id},
        objectors={**state.objectors, fact.objection_id: fact.objector_id},
    )


def _settled(state: Notice, fact: Any, entry: Any) -> Notice:
    remaining = {k: v for k, v in state.open_objections.items() if k != fact.objection_id}
    if isinstance(fact, e.ObjectionUpheld):
        state = replace(
            state,
            upheld=state.upheld | {fact.objection_id},
            withheld=state.withheld | {fact.application_id},
        )
    return replace(state, open_objections=remaining)


def _closed(state: Notice, fact: e.PublicNoticeClosed, entry: Any) -> Notice:
    return replace(state, closed=True, withheld=state.withheld | frozenset(fact.withheld))


def _serial(state: Series | None, fact: e.SerialTaken, entry: Any) -> Series:
    last = state.last_serial if state else 0
    return Series(fact.series_id, max(last, fact.serial), fact.source)


def _frozen(state: Report | None, fact: e.ReportFrozen, entry: Any) -> Report:
    return Report(fact.report_id, fact.batch_type, {r.number: r.application_id for r in fact.rows})


FOLDS: dict[type[e.Fact], Callable[[Any, Any, Any], Any]] = {
    e.LedgerOpened: _ledger_opened,
    e.ServiceOpened: _ledger_opened,
    e.IssuerUrlSet: _issuer_url_set,
    e.KeyIntroduced: _key_introduced,
    e.KeyRetired: _key_retired,
    e.LogContinuedElsewhere: _log_continued,
    e.ActorNamed: _named,
    e.PersonRegistered: _registered,
    e.RegistrationContested: _contested,
    e.PersonRecognised: _recognised,
    e.RegistrationJoined: _joined,
    e.LoginAssigned: _assigned,
    e.RegistrationRejected: _rejected,
    e.PersonCorrected: _corrected,
    e.ObjectorNamed: _objector_named,
    e.ErasureProposed: _erasure_proposed,
    e.ErasureConfirmed: _erased,
    e.ErasureContinued: _erased,
    e.ErasureRepeated: _erased,
    e.ExamSessionScheduled: _scheduled,
    e.SeatAssigned: _seated,
    e.ExamSessionHeld: _held,
    e.PublicNoticeOpened: _notice,
    e.PublicNoticeExtended: _extended,
    e.ObjectionFiled: _objection,
    e.ObjectionDismissed: _settled,
    e.ObjectionUpheld: _settled,
    e.PublicNoticeClosed: _closed,
    e.SerialTaken: _serial,
    e.ReportFrozen: _frozen,
    **editions.FOLDS,
    **application.FOLDS,
}
"""Fact class -> the fold that applies it; covers the whole catalogue."""


def evolve(state: Any, entry: Any) -> Any:
    """The state after one more entry.

    state: the fold of the stream's earlier entries, None before the first.
    Raises: KeyError for a fact without a fold: ignoring it would corrupt the state.
    """
    folded = FOLDS[type(entry.fact)](state, entry.fact, entry)
    if folded is state:
        return replace(folded, version=entry.originator_version)
    # The fold just created this object and nobody else has it: setting its version is safe.
    object.__setattr__(folded, "version", entry.originator_version)
    return folded


def project(state: Any, entries: Any) -> Any:
    """Fold entries in order; the projector function of `eventsourcing`."""
    for entry in entries:
        state = evolve(state, entry)
    return state

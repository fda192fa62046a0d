"""The other states decisions look at: book, person, exam session, notice, series, report.

`evolve` is the one fold for all of them and for `Candidacy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from domain import events as e
from domain.actors import subject_of
from domain.states import application as candidacy
from domain.values.fast_replace import replace
from domain.values.identity_documents import DocumentType
from domain.values.primitives import Level


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Who keeps the ledger and what it charges."""

    id: str
    opened: e.LedgerOpened
    fees: tuple[e.FeeScheduleSet, ...] = ()
    version: int = 0

    def fees_on(self, occupation: str, level: Level, day: date) -> e.FeeScheduleSet | None:
        """The schedule in force on a day: the latest that began by then.

        Of two that begin on the same day, the one that was set later puts the other right.
        """
        begun = [
            f
            for f in self.fees
            if f.occupation == occupation and f.level == level and f.valid_from <= day
        ]
        return max(reversed(begun), key=lambda f: f.valid_from, default=None)


@dataclass(frozen=True, slots=True)
class Person:
    """A person, without what is personal: only indexes."""

    id: str
    subject: str | None
    document_type: DocumentType
    document_index: str
    name_index: str
    registered_by: str = ""
    erased: bool = False
    version: int = 0


def seat_key(room: str, seat: int) -> str:
    """A seat's name within its session."""
    return f"{room}#{seat}"


@dataclass(frozen=True, slots=True)
class ExamSession:
    """An exam session and who sits where: `seat_key` -> application id, ticket -> application id.

    Keys are text, so that a snapshot can hold them as JSON.
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

    objections, open_objections: objection id -> application id.
    upheld: objections that were found right. withheld: rows that left the notice unsettled, by
    an upheld objection or, once it is closed, because their scores had changed.
    """

    id: str
    opened: e.PublicNoticeOpened
    ends_on: date
    provisional: bool
    objections: dict[str, str] = field(default_factory=dict)
    open_objections: dict[str, str] = field(default_factory=dict)
    upheld: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()
    closed: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """A number series. source: who gives the numbers, fixed by the first one."""

    id: str
    last_serial: int = 0
    source: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A report upward. rows: certificate number -> application id."""

    id: str
    batch_type: str
    rows: dict[str, str]
    version: int = 0


def _book(s: LedgerState | None, f: e.LedgerOpened, entry: Any) -> LedgerState:
    return LedgerState(id="ledger", opened=f)


def _fees(s: LedgerState, f: e.FeeScheduleSet, entry: Any) -> LedgerState:
    return replace(s, fees=(*s.fees, f))


def _registered(s: Person | None, f: e.PersonRegistered, entry: Any) -> Person:
    return Person(
        f.person_id,
        f.subject,
        f.document_type,
        f.document_index,
        f.name_index,
        registered_by=subject_of(entry),
    )


def _corrected(s: Person, f: e.PersonCorrected, entry: Any) -> Person:
    return replace(
        s,
        document_type=f.document_type,
        document_index=f.document_index,
        name_index=f.name_index,
    )


def _erased(s: Person, f: e.PersonalDataErased, entry: Any) -> Person:
    return replace(s, erased=True)


def _scheduled(s: ExamSession | None, f: e.ExamSessionScheduled, entry: Any) -> ExamSession:
    return ExamSession(f.session_id, f)


def _seated(s: ExamSession, f: e.SeatAssigned, entry: Any) -> ExamSession:
    return replace(
        s,
        seats={**s.seats, seat_key(f.room, f.seat): f.application_id},
        tickets={**s.tickets, f.ticket_number: f.application_id},
    )


def _held(s: ExamSession, f: e.ExamSessionHeld, entry: Any) -> ExamSession:
    return replace(s, ended_at=f.ended_at)


def _notice(s: Notice | None, f: e.PublicNoticeOpened, entry: Any) -> Notice:
    return Notice(f.notice_id, f, f.ends_on, f.ends_on_is_provisional)


def _extended(s: Notice, f: e.PublicNoticeExtended, entry: Any) -> Notice:
    return replace(s, ends_on=f.ends_on, provisional=f.ends_on_is_provisional)


def _objection(s: Notice, f: e.ObjectionFiled, entry: Any) -> Notice:
    return replace(
        s,
        objections={**s.objections, f.objection_id: f.application_id},
        open_objections={**s.open_objections, f.objection_id: f.application_id},
    )


def _settled(s: Notice, f: Any, entry: Any) -> Notice:
    remaining = {k: v for k, v in s.open_objections.items() if k != f.objection_id}
    if isinstance(f, e.ObjectionUpheld):
        s = replace(s, upheld=s.upheld | {f.objection_id}, withheld=s.withheld | {f.application_id})
    return replace(s, open_objections=remaining)


def _closed(s: Notice, f: e.PublicNoticeClosed, entry: Any) -> Notice:
    return replace(s, closed=True, withheld=s.withheld | frozenset(f.withheld))


def _serial(s: Series | None, f: e.SerialTaken, entry: Any) -> Series:
    last = s.last_serial if s else 0
    return Series(f.series_id, max(last, f.serial), f.source)


def _frozen(s: Report | None, f: e.ReportFrozen, entry: Any) -> Report:
    return Report(f.report_id, f.batch_type, {r.number: r.application_id for r in f.rows})


FOLDS: dict[type[e.Fact], Callable[[Any, Any, Any], Any]] = {
    e.LedgerOpened: _book,
    e.FeeScheduleSet: _fees,
    e.PersonRegistered: _registered,
    e.PersonCorrected: _corrected,
    e.PersonalDataErased: _erased,
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
    **candidacy.FOLDS,
}
"""Every fact of the catalogue and how it changes its state."""


def evolve(state: Any, entry: Any) -> Any:
    """The state after one more entry.

    state: what the earlier entries of the stream left, None before the first.
    Raises: KeyError for a fact without a fold: it must never be passed over in silence.
    """
    folded = FOLDS[type(entry.fact)](state, entry.fact, entry)
    if folded is state:
        return replace(folded, version=entry.originator_version)
    # Made a moment ago and known to nobody yet, so it can still be given its version.
    object.__setattr__(folded, "version", entry.originator_version)
    return folded


def project(state: Any, entries: Any) -> Any:
    """Fold entries one after the other; the projector function of `eventsourcing`."""
    for entry in entries:
        state = evolve(state, entry)
    return state

"""Step 4: sessions, seats, admission tickets and scores (学员考试).

Source: source-document 4.1, 4.2, 4.3.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from domain import events as e
from domain.actors import Role
from domain.claims import seat_claims
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    cached_applications,
    notice_streams,
    persons_of,
    reads_application_and_person,
    reads_stream,
    with_persons,
)
from domain.decision import (
    AlreadyExists,
    Claim,
    Command,
    Context,
    Decision,
    NotFound,
    States,
    ensure_not_own,
    ensure_past,
    stream_of,
)
from domain.errors import LedgerError
from domain.events import Item, Subject
from domain.states.application import Candidacy, Status
from domain.states.folds import ExamSession, seat_key
from domain.steps.agency_rights import ensure_agency
from domain.steps.payment import use_fact
from domain.steps.refund import SecondPersonNeeded
from domain.values.primitives import Instant, Level, Marks

SUBJECT_MINUTES = 90
"""How long each subject lasts, minutes. Source: 4.3(2)."""


SessionId = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,54}$")]
"""Shorter than other ids: a ticket's number is `<session>-<room>-<seat>`, itself an id."""


class NotEnrolled(LedgerError):
    """Only who is enrolled (报考成功) sits the exam; this application is {status}."""

    code = "not_enrolled"


class SessionFull(LedgerError):
    """Session {session_id} has no free seat."""

    code = "session_full"


class SeatTaken(LedgerError):
    """Seat {seat} in room {room} is taken or does not exist."""

    code = "seat_taken"


class WrongSession(LedgerError):
    """Session {session_id} is for another occupation or level."""

    code = "wrong_session"


class SessionOver(LedgerError):
    """Session {session_id} has begun already."""

    code = "session_over"


class SessionNotHeld(LedgerError):
    """Session {session_id} was not held yet."""

    code = "session_not_held"


class AlreadySeated(LedgerError):
    """This application has a seat already."""

    code = "already_seated"


class ScoreAlreadyRecorded(LedgerError):
    """The {subject} score is recorded already; change it with a correction."""

    code = "score_already_recorded"


class ScoreMissing(LedgerError):
    """The {subject} score is not recorded yet."""

    code = "score_missing"


class AlreadyVerified(LedgerError):
    """The scores are verified already."""

    code = "already_verified"


class ScoreUnchanged(LedgerError):
    """A correction has to change the {subject} score."""

    code = "score_unchanged"


class CertificateAlreadyNumbered(LedgerError):
    """A certificate was numbered on this result; revoke it before the score is corrected."""

    code = "certificate_already_numbered"


class ScheduleSession(Command):
    """Fix time, place, rooms and seats of an exam session."""

    session_id: SessionId | None = None
    name: e.ShortText
    occupation: e.ShortText
    level: Level
    place: e.ShortText
    address: e.ShortText
    theory_starts_at: Instant
    practical_starts_at: Instant
    rooms: tuple[e.ExamRoom, ...] = Field(min_length=1, max_length=100)


class AssignSeat(Command):
    """Give an enrolled candidate a seat and issue the admission ticket.

    With a room only, the first free seat of it; with neither, the first free one of the session.
    """

    application_id: e.Id
    session_id: e.Id
    room: e.ShortText | None = None
    seat: int | None = Field(default=None, ge=1, le=1000, description="number within the room")

    @model_validator(mode="after")
    def _a_seat_needs_its_room(self) -> Self:
        if self.seat is not None and self.room is None:
            raise ValueError("a seat needs its room")
        return self


class CloseSession(Command):
    """Record that a session was held, and when it ended."""

    session_id: e.Id
    ended_at: Instant


class RecordScore(Command):
    """Record one subject's marks, or that the candidate was absent (marks left out)."""

    session_id: e.Id
    ticket_number: e.Id
    subject: Subject
    marks: Marks | None = Field(description="0..100 in halves; null: absent (缺考)")


class VerifyScores(Command):
    """Confirm both scores as the second person, having compared them with the papers."""

    application_id: e.Id
    theory: Marks | None
    practical: Marks | None


class CorrectScore(Command):
    """Put a recorded score right."""

    application_id: e.Id
    subject: Subject
    marks: Marks | None
    reason: e.LongText
    objection_id: e.Id | None = None


class SubjectsOverlap(LedgerError):
    """The two subjects overlap; each lasts {minutes} minutes."""

    code = "subjects_overlap"


class RoomTwice(LedgerError):
    """Room {room} is named twice."""

    code = "room_twice"


class ScoreDiffers(LedgerError):
    """The {subject} score on the paper is not the one recorded."""

    code = "score_differs"


def decide_schedule_session(world: States, command: ScheduleSession, context: Context) -> Decision:
    """Each subject lasts 90 minutes and they do not overlap.

    Raises: AlreadyExists, SubjectsOverlap, RoomTwice.
    Source: source-document 4.2, 4.3, 4.3(1), 4.3(2).
    """
    session_id = command.session_id or context.new_id()
    stream = stream_of("session", session_id)
    if world.exists(stream):
        raise AlreadyExists(what="session", id=session_id)
    apart = abs((command.practical_starts_at - command.theory_starts_at).total_seconds())
    if apart < SUBJECT_MINUTES * 60:
        raise SubjectsOverlap(minutes=SUBJECT_MINUTES)
    names = [room.room for room in command.rooms]
    for name in names:
        if names.count(name) > 1:
            raise RoomTwice(room=name)
    fact = e.ExamSessionScheduled(
        session_id=session_id,
        name=command.name,
        occupation=command.occupation,
        level=command.level,
        place=command.place,
        address=command.address,
        theory_starts_at=command.theory_starts_at,
        practical_starts_at=command.practical_starts_at,
        subject_minutes=SUBJECT_MINUTES,
        rooms=command.rooms,
    )
    return Decision(facts=((stream, fact),), outcome={"session_id": session_id})


def seat_for(session: ExamSession, command: AssignSeat) -> tuple[str, int]:
    """The seat asked for if it is free, else the first free one. Raises: SeatTaken, SessionFull."""
    if command.room is None or command.seat is None:
        free = session.free_seat(command.room)
        if free is None:
            raise SessionFull(session_id=session.id)
        return free
    rooms = {r.room: r.seats for r in session.scheduled.rooms}
    taken = seat_key(command.room, command.seat) in session.seats
    if command.seat > rooms.get(command.room, 0) or taken:
        raise SeatTaken(room=command.room, seat=command.seat)
    return command.room, command.seat


def ticket_number(session: ExamSession, room: str, seat: int) -> str:
    """The session, the number of the room in it, and the seat."""
    room_no = [r.room for r in session.scheduled.rooms].index(room) + 1
    return f"{session.id}-{room_no:02d}-{seat:03d}"


def decide_assign_seat(world: States, command: AssignSeat, context: Context) -> Decision:
    """A seat, a ticket number and the ticket; the ticket number holds session, room and seat.

    The claim refuses a second seat of one person in one session, whatever they applied for.
    Raises: NotFound, NotYourOwn, NotEnrolled, AlreadySeated, WrongSession, SessionOver, SeatTaken,
        SessionFull.
    Source: source-document 4.1, 4.2.
    """
    state = world.candidacy(command.application_id)
    ensure_agency(context, state)
    session = world.session(command.session_id)
    if state.status is not Status.ENROLLED:
        raise NotEnrolled(status=state.status.value)
    if state.session_id is not None:
        raise AlreadySeated()
    plan = session.scheduled
    if (plan.occupation, plan.level) != (state.occupation, state.level):
        raise WrongSession(session_id=session.id)
    if min(plan.theory_starts_at, plan.practical_starts_at) <= context.now:
        raise SessionOver(session_id=session.id)
    room, seat = seat_for(session, command)
    ticket = ticket_number(session, room, seat)
    assigned = e.SeatAssigned(
        session_id=session.id,
        application_id=state.id,
        person_id=state.person_id,
        room=room,
        seat=seat,
        ticket_number=ticket,
    )
    issued = e.AdmissionTicketIssued(
        application_id=state.id,
        person_id=state.person_id,
        session_id=session.id,
        ticket_number=ticket,
        room=room,
        seat=seat,
    )
    return Decision(
        facts=(
            (stream_of("session", session.id), assigned),
            (stream_of("application", state.id), issued),
        ),
        outcome={"ticket_number": ticket, "room": room, "seat": seat},
    )


def decide_close_session(world: States, command: CloseSession, context: Context) -> Decision:
    """The end of the later subject starts the month for the public notice.

    Raises: NotFound, AlreadyExists if it was closed before, InTheFuture, SessionNotHeld if it
        would end before it began.
    Source: source-document 4.2, 5.1.
    """
    session = world.session(command.session_id)
    if session.ended_at is not None:
        raise AlreadyExists(what="end of session", id=session.id)
    ensure_past(context, ended_at=command.ended_at)
    plan = session.scheduled
    if command.ended_at <= max(plan.theory_starts_at, plan.practical_starts_at):
        raise SessionNotHeld(session_id=session.id)
    fact = e.ExamSessionHeld(session_id=session.id, ended_at=command.ended_at)
    return Decision(facts=((stream_of("session", session.id), fact),))


def decide_record_score(world: States, command: RecordScore, context: Context) -> Decision:
    """One subject of one ticket. An absence is recorded as such, it is not a zero.

    Both use the item that the certification fee pays for: who does not come has used the exam up.
    Raises: NotFound, SessionNotHeld, ScoreAlreadyRecorded, OwnApplication.
    Source: source-document 2.2, 4.3(1), 4.3(2).
    """
    session = world.session(command.session_id)
    application_id = session.tickets.get(command.ticket_number)
    if application_id is None:
        raise NotFound(what="ticket", id=command.ticket_number)
    if session.ended_at is None:
        raise SessionNotHeld(session_id=session.id)
    state = world.candidacy(application_id)
    theory = command.subject is Subject.THEORY
    if (state.theory if theory else state.practical) is not None:
        raise ScoreAlreadyRecorded(subject=command.subject.value)
    ensure_not_own(context, world.person(state.person_id))
    cls = e.TheoryScoreRecorded if theory else e.PracticalScoreRecorded
    item = Item.THEORY_EXAM if theory else Item.PRACTICAL_EXAM
    stream = stream_of("application", state.id)
    fact = cls(
        application_id=state.id,
        person_id=state.person_id,
        session_id=session.id,
        marks=command.marks,
    )
    facts: tuple[tuple[str, e.Fact], ...] = ((stream, fact),)
    if item not in state.used:
        facts += ((stream, use_fact(state, item, session.ended_at)),)
    return Decision(facts=facts, outcome={"application_id": state.id})


def _scores(state: Candidacy) -> tuple[Marks | None, Marks | None]:
    """Both marks. Raises: ScoreMissing."""
    for subject, score in ((Subject.THEORY, state.theory), (Subject.PRACTICAL, state.practical)):
        if score is None:
            raise ScoreMissing(subject=subject.value)
    return state.marks()


def decide_verify_scores(world: States, command: VerifyScores, context: Context) -> Decision:
    """The second person names both marks again; only equal ones are verified.

    Raises: NotFound, ScoreMissing, AlreadyVerified, SecondPersonNeeded, OwnApplication,
        ScoreDiffers.
    Source: source-document 4.3(3).
    """
    state = world.candidacy(command.application_id)
    theory, practical = _scores(state)
    if state.verified:
        raise AlreadyVerified()
    recorders = {s.recorded_by for s in (state.theory, state.practical) if s}
    if context.actor.subject in recorders:
        raise SecondPersonNeeded()
    ensure_not_own(context, world.person(state.person_id))
    if command.theory != theory:
        raise ScoreDiffers(subject=Subject.THEORY.value)
    if command.practical != practical:
        raise ScoreDiffers(subject=Subject.PRACTICAL.value)
    fact = e.ScoresVerified(
        application_id=state.id,
        person_id=state.person_id,
        theory=theory,
        practical=practical,
        passed=state.has_passed(),
    )
    return Decision(
        facts=((stream_of("application", state.id), fact),), outcome={"passed": fact.passed}
    )


def decide_correct_score(world: States, command: CorrectScore, context: Context) -> Decision:
    """A correction is a new fact and asks for verification and a notice again.

    It may name the objection it follows from: one to this row that was upheld.
    Raises: NotFound, ScoreMissing, ScoreUnchanged, CertificateAlreadyNumbered, OwnApplication.
    Source: source-document 4.3(2), 5.1.
    """
    state = world.candidacy(command.application_id)
    theory, practical = _scores(state)
    recorded = theory if command.subject is Subject.THEORY else practical
    if recorded == command.marks:
        raise ScoreUnchanged(subject=command.subject.value)
    if any(c.standing != "revoked" for c in state.certificates.values()):
        raise CertificateAlreadyNumbered()
    ensure_not_own(context, world.person(state.person_id))
    if command.objection_id is not None:
        notices = [world.notice(notice_id) for notice_id in state.notices]
        wanted = command.objection_id
        rows = [n.objections[wanted] for n in notices if wanted in n.upheld]
        if state.id not in rows:
            raise NotFound(what="upheld objection", id=command.objection_id)
    fact = e.ScoreCorrected(
        application_id=state.id,
        person_id=state.person_id,
        subject=command.subject,
        marks=command.marks,
        reason=command.reason,
        objection_id=command.objection_id,
    )
    return Decision(facts=((stream_of("application", state.id), fact),))


# --- read sets and specs --------------------------------------------------------------------------


def _reads_of_schedule(cached: StateHint, command: ScheduleSession, context: Context) -> ReadSet:
    session_id = command.session_id or context.new_id()
    return ReadSet(versions=(stream_of("session", session_id),))


def _reads_of_seat(cached: StateHint, command: AssignSeat, context: Context) -> ReadSet:
    claims: tuple[Claim, ...] = ()
    state = cached("application", command.application_id)
    session = cached("session", command.session_id)
    if session is not None and state is not None:
        ticket = ticket_number(session, *seat_for(session, command))
        claims = seat_claims(session.id, state.person_id, ticket)
    return ReadSet(
        streams=(
            stream_of("application", command.application_id),
            stream_of("session", command.session_id),
        ),
        claims=claims,
    )


def _reads_of_score(cached: StateHint, command: RecordScore, context: Context) -> ReadSet:
    session = cached("session", command.session_id)
    found = None if session is None else session.tickets.get(command.ticket_number)
    seated = () if found is None else (found,)
    return ReadSet((stream_of("session", command.session_id), *with_persons(cached, seated)))


def _reads_of_score_correction(
    cached: StateHint, command: CorrectScore, context: Context
) -> ReadSet:
    ids = (command.application_id,)
    notices: tuple[str, ...] = ()
    if command.objection_id is not None:
        notices = notice_streams(cached_applications(cached, ids))
    return ReadSet((*with_persons(cached, ids), *notices), persons=persons_of(cached, ids))


SCHEDULE_SESSION = CommandSpec(
    ScheduleSession,
    decide_schedule_session,
    _reads_of_schedule,
    roles=frozenset({Role.CERTIFIER}),
)
ASSIGN_SEAT = CommandSpec(
    AssignSeat,
    decide_assign_seat,
    _reads_of_seat,
    roles=frozenset({Role.AGENCY, Role.CERTIFIER}),
)
CLOSE_SESSION = CommandSpec(
    CloseSession,
    decide_close_session,
    reads_stream("session", "session_id"),
    roles=frozenset({Role.CERTIFIER, Role.EXAMINER}),
)
RECORD_SCORE = CommandSpec(
    RecordScore, decide_record_score, _reads_of_score, roles=frozenset({Role.EXAMINER})
)
VERIFY_SCORES = CommandSpec(
    VerifyScores,
    decide_verify_scores,
    reads_application_and_person,
    roles=frozenset({Role.SCORE_VERIFIER}),
)
CORRECT_SCORE = CommandSpec(
    CorrectScore,
    decide_correct_score,
    _reads_of_score_correction,
    roles=frozenset({Role.CERTIFIER, Role.EXAMINER}),
)

SPECS = (
    SCHEDULE_SESSION,
    ASSIGN_SEAT,
    CLOSE_SESSION,
    RECORD_SCORE,
    VERIFY_SCORES,
    CORRECT_SCORE,
)

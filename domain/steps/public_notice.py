"""Step 5: results go public, are objected to, and become final (成绩公示).

Source: source-document 5.1.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from domain import events as e
from domain.actors import Role
from domain.claims import live_claim_of, objection_claim
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    cached_applications,
    notice_streams,
    persons_of,
    with_persons,
)
from domain.decision import (
    AlreadyExists,
    Command,
    Context,
    Decision,
    NotFound,
    NotYourOwn,
    States,
    ensure_not_own,
    ensure_own,
    stream_of,
)
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.states.application import Candidacy
from domain.states.editions import calendar_on
from domain.states.folds import ExamSession, Notice, Person, Registration
from domain.steps.agency_rights import ensure_concerned
from domain.steps.enrolment import PersonErased
from domain.steps.exam import SessionNotHeld
from domain.values.opaque_ids import OpaqueId
from domain.values.working_days import (
    NOTICE_WORKING_DAYS,
    add_working_days,
    closes_at,
    publication_deadline,
    shanghai_date,
)

ROWS_MAX = 800
"""Rows of one notice: with ids of 64 places and a long reason it still fits into one event, which
takes 65,535 bytes. What is left over is published with the next notice."""


class ScoresNotVerified(LedgerError):
    """Scores of {count} candidates of session {session_id} are not verified yet."""

    code = "scores_not_verified"


class NothingToPublish(LedgerError):
    """Session {session_id} has no result that is not published already."""

    code = "nothing_to_publish"


class NoticeTooLate(LedgerError):
    """The notice was due by {deadline}; publishing later needs a reason."""

    code = "notice_too_late"


class NoticeOver(LedgerError):
    """Notice {notice_id} took objections until {ends_on}."""

    code = "notice_over"


class NoticeRunning(LedgerError):
    """Notice {notice_id} runs until {ends_on}, 24:00."""

    code = "notice_running"


class NoticeEndProvisional(LedgerError):
    """The end of notice {notice_id} is provisional; a calendar with its days comes first."""

    code = "notice_end_provisional"


class NoticeEndKnown(LedgerError):
    """Notice {notice_id} ends on {ends_on}, which is certain; there is nothing to extend."""

    code = "notice_end_known"


class ObjectionsOpen(LedgerError):
    """Notice {notice_id} has {count} open objections."""

    code = "objections_open"


class NoticeClosed(LedgerError):
    """Notice {notice_id} is closed."""

    code = "notice_closed"


class RowNotInNotice(LedgerError):
    """Application {application_id} has no row in notice {notice_id}."""

    code = "row_not_in_notice"


class OpenNotice(Command):
    """Publish the results of a session: all verified ones whose present marks are not public.

    late_reason: needed when the month after the exam is over; recorded only then.
    """

    notice_id: e.Id | None = None
    session_id: e.Id
    late_reason: e.LongText | None = None


class ExtendNotice(Command):
    """Calculate a provisional end again, now that the calendar is known."""

    notice_id: e.Id


class FileObjection(Command):
    """Object to one row within the period.

    By a person who is known, or by somebody who is not registered and gives their name.
    """

    notice_id: e.Id
    application_id: e.Id
    objection_id: OpaqueId | None = None
    objector_id: OpaqueId | None = Field(
        default=None, description="who objects: a known person, or with a name the id of a new one"
    )
    objector_name: e.ShortText | None = Field(
        default=None, description="姓名或单位名称 of who objects, if they are not registered"
    )
    objector_contact: e.ShortText | None = Field(
        default=None, description="联系方式 of who objects, if they are not registered"
    )
    text: str = Field(min_length=1, max_length=2000)

    @model_validator(mode="after")
    def _says_who_objects(self) -> Self:
        if self.objector_name is None:
            if self.objector_id is None:
                raise ValueError("objector_id or objector_name is needed")
            if self.objector_contact is not None:
                raise ValueError("objector_contact needs objector_name")
        return self


class ResolveObjection(Command):
    """Say whether the check found the row right or wrong."""

    notice_id: e.Id
    objection_id: e.Id
    outcome: Literal["dismissed", "upheld"]
    reason: e.LongText


class CloseNotice(Command):
    """End a notice whose period is over and whose objections are settled."""

    notice_id: e.Id


def _publishable(world: States, session: ExamSession) -> list[Candidacy]:
    """Rows whose verified, present scores are not public, in order of their tickets.

    The never published ones come first and alone. Raises: ScoresNotVerified.
    """
    # By ticket: a state that was restored from a snapshot has its seats in another order, and the
    # audit makes the same decision again.
    states = [world.candidacy(app) for _, app in sorted(session.tickets.items())]
    # A corrected row waits for its own verification without delaying the others, but the first
    # notice leaves nobody out.
    unpublished = [s for s in states if s.notice_id is None]
    waiting = sum(1 for s in unpublished if not s.verified)
    if waiting:
        raise ScoresNotVerified(session_id=session.id, count=waiting)
    return unpublished or [s for s in states if s.verified and s.published is None]


def decide_open_notice(world: States, command: OpenNotice, context: Context) -> Decision:
    """Within one month of the exam's end, for five working days; both dates frozen in the fact.

    The day of publication is not counted. Past the calendar's last known day the end is
    provisional and says so. A corrected row gets a supplementary notice of its own.
    Raises: NotFound, AlreadyExists, SessionNotHeld, ScoresNotVerified, NothingToPublish,
        NoticeTooLate without a reason.
    Source: source-document 5.1.
    """
    session = world.session(command.session_id)
    notice_id = command.notice_id or context.new_id()
    stream = stream_of("notice", notice_id)
    if world.exists(stream):
        raise AlreadyExists(what="notice", id=notice_id)
    if session.ended_at is None:
        raise SessionNotHeld(session_id=session.id)
    publishable = _publishable(world, session)
    if not publishable:
        raise NothingToPublish(session_id=session.id)
    rows = publishable[:ROWS_MAX]
    first = rows[0].notice_id is None
    calendar = calendar_on(world.editions(EditionKind.CALENDAR), context.today)
    deadline = publication_deadline(shanghai_date(session.ended_at), calendar)
    late = first and context.today > deadline
    if late and command.late_reason is None:
        raise NoticeTooLate(deadline=str(deadline))
    end = add_working_days(context.today, NOTICE_WORKING_DAYS, calendar)
    opened = e.PublicNoticeOpened(
        notice_id=notice_id,
        session_id=session.id,
        kind="main" if first else "supplementary",
        published_on=context.today,
        ends_on=end.date,
        ends_on_is_provisional=end.provisional,
        working_days=NOTICE_WORKING_DAYS,
        calendar_edition=end.calendar_edition,
        deadline_on=deadline,
        late_reason=command.late_reason if late else None,
        application_ids=tuple(state.id for state in rows),
    )
    facts: list[tuple[str, e.Fact]] = [(stream, opened)]
    facts += [(stream_of("application", s.id), _published(s, session, notice_id)) for s in rows]
    return Decision(
        facts=tuple(facts),
        outcome={
            "notice_id": notice_id,
            "rows": len(rows),
            "remaining": len(publishable) - len(rows),
            "ends_on": str(end.date),
            "ends_on_is_provisional": end.provisional,
        },
    )


def _published(state: Candidacy, session: ExamSession, notice_id: str) -> e.ResultPublished:
    theory, practical = state.marks()
    assert state.ticket_number is not None, "the session has a seat of this application"
    return e.ResultPublished(
        application_id=state.id,
        person_id=state.person_id,
        notice_id=notice_id,
        session_id=session.id,
        ticket_number=state.ticket_number,
        theory=theory,
        practical=practical,
        passed=state.has_passed(),
    )


def decide_extend_notice(world: States, command: ExtendNotice, context: Context) -> Decision:
    """A provisional end is calculated again from the same day of publication.

    By the calendar that holds today: the one that was adopted since.

    Raises: NotFound, NoticeClosed, NoticeEndKnown if the end is not provisional,
        NoticeEndProvisional while the calendar still does not reach.
    Source: source-document 5.1.
    """
    notice = world.notice(command.notice_id)
    if notice.closed:
        raise NoticeClosed(notice_id=notice.id)
    if not notice.provisional:
        raise NoticeEndKnown(notice_id=notice.id, ends_on=str(notice.ends_on))
    opened = notice.opened
    calendar = calendar_on(world.editions(EditionKind.CALENDAR), context.today)
    end = add_working_days(opened.published_on, opened.working_days, calendar)
    if end.provisional:
        raise NoticeEndProvisional(notice_id=notice.id)
    fact = e.PublicNoticeExtended(
        notice_id=notice.id,
        ends_on=end.date,
        ends_on_is_provisional=False,
        calendar_edition=end.calendar_edition,
    )
    return Decision(facts=((stream_of("notice", notice.id), fact),))


def _running(notice: Notice, context: Context) -> bool:
    return context.now < closes_at(notice.ends_on)


def _named(context: Context, person: Person) -> bool:
    """Whether the actor named this objector, or settles objections."""
    actor = context.actor
    if actor.role is Role.AGENCY:
        return person.is_known_to(actor.organisation)
    return actor.role is Role.CERTIFIER


def _objector(
    world: States, command: FileObjection, context: Context
) -> tuple[str, tuple[tuple[str, e.Fact], ...]]:
    """Who objects, and the fact that names them if nobody knows them yet.

    A candidate objects in their own name. An objector who is not registered is nobody to others
    than who named them. Raises: NotFound, NotYourOwn, PersonErased, AlreadyExists
    for the id of a new objector.
    """
    if command.objector_name is None:
        assert command.objector_id is not None, "the command says who objects"
        person = world.person(command.objector_id)
        if person.registration is Registration.OBJECTOR and not _named(context, person):
            raise NotFound(what="person", id=person.id)
        ensure_own(context, person, "person")
        ensure_concerned(context, world, person)
        if person.erased:
            raise PersonErased()
        return person.id, ()
    if context.actor.role is Role.CANDIDATE:
        raise NotYourOwn(what="person")
    objector_id = command.objector_id or context.new_id()
    stream = stream_of("person", objector_id)
    if world.exists(stream):
        raise AlreadyExists(what="person", id=objector_id)
    named = e.ObjectorNamed(
        person_id=objector_id, name=command.objector_name, contact=command.objector_contact
    )
    return objector_id, ((stream, named),)


def decide_file_objection(world: States, command: FileObjection, context: Context) -> Decision:
    """Anybody who gives their name objects to a row inside the period; it waits for the outcome.

    Who is not registered gets an id and data keys of their own. While the end is provisional it may
    still move, so nobody is turned away by it.
    Raises: NotFound, NotYourOwn, PersonErased, AlreadyExists for the id of a new objector,
        NoticeClosed, NoticeOver, RowNotInNotice, AlreadyExists.
    Source: source-document 5.1.
    """
    notice = world.notice(command.notice_id)
    objector_id, named = _objector(world, command, context)
    if notice.closed:
        raise NoticeClosed(notice_id=notice.id)
    if not notice.provisional and not _running(notice, context):
        raise NoticeOver(notice_id=notice.id, ends_on=str(notice.ends_on))
    if command.application_id not in notice.opened.application_ids:
        raise RowNotInNotice(application_id=command.application_id, notice_id=notice.id)
    objection_id = command.objection_id or context.new_id()
    if objection_id in notice.objections:
        raise AlreadyExists(what="objection", id=objection_id)
    fact = e.ObjectionFiled(
        notice_id=notice.id,
        objection_id=objection_id,
        application_id=command.application_id,
        person_id=world.candidacy(command.application_id).person_id,
        objector_id=objector_id,
        text=command.text,
    )
    return Decision(
        facts=((stream_of("notice", notice.id), fact), *named),
        outcome={"objection_id": objection_id, "objector_id": objector_id},
    )


def decide_resolve_objection(
    world: States, command: ResolveObjection, context: Context
) -> Decision:
    """Dismissed: the row stays. Upheld: it leaves this notice and waits for its correction.

    Raises: NotFound, NoticeClosed, NotFound for an unknown or settled objection, OwnApplication
        if the row or the objection is one's own.
    Source: source-document 5.1.
    """
    notice = world.notice(command.notice_id)
    if notice.closed:
        raise NoticeClosed(notice_id=notice.id)
    application_id = notice.open_objections.get(command.objection_id)
    if application_id is None:
        raise NotFound(what="open objection", id=command.objection_id)
    state = world.candidacy(application_id)
    for each in (state.person_id, notice.objectors[command.objection_id]):
        ensure_not_own(context, world.person(each))
    cls = e.ObjectionDismissed if command.outcome == "dismissed" else e.ObjectionUpheld
    fact = cls(
        notice_id=notice.id,
        objection_id=command.objection_id,
        application_id=state.id,
        person_id=state.person_id,
        reason=command.reason,
    )
    return Decision(facts=((stream_of("notice", notice.id), fact),))


def is_withheld(world: States, notice: Notice, application_id: str) -> bool:
    """Whether a row leaves the notice without becoming final.

    Either an objection to it was upheld, or its score was corrected meanwhile and is published
    again, or waits for that.
    """
    if application_id in notice.withheld:
        return True
    state = world.candidacy(application_id)
    return state.notice_id != notice.id or state.published is None


def decide_close_notice(world: States, command: CloseNotice, context: Context) -> Decision:
    """The rest becomes final once the period is over and no objection is open.

    A final row ends its application's claim, so that the person may apply again.
    Raises: NotFound, NoticeClosed, NoticeEndProvisional, NoticeRunning, ObjectionsOpen.
    Source: source-document 5.1.
    """
    notice = world.notice(command.notice_id)
    if notice.closed:
        raise NoticeClosed(notice_id=notice.id)
    if notice.provisional:
        raise NoticeEndProvisional(notice_id=notice.id)
    if _running(notice, context):
        raise NoticeRunning(notice_id=notice.id, ends_on=str(notice.ends_on))
    if notice.open_objections:
        raise ObjectionsOpen(notice_id=notice.id, count=len(notice.open_objections))
    rows = notice.opened.application_ids
    withheld = tuple(row for row in rows if is_withheld(world, notice, row))
    final_count = len(rows) - len(withheld)
    fact = e.PublicNoticeClosed(notice_id=notice.id, final_count=final_count, withheld=withheld)
    return Decision(
        facts=((stream_of("notice", notice.id), fact),),
        outcome={"final": final_count, "withheld": list(withheld)},
    )


# --- read sets and specs --------------------------------------------------------------------------

_CALENDAR = stream_of("edition", EditionKind.CALENDAR)


def _reads_of_opening(cached: StateHint, command: OpenNotice, context: Context) -> ReadSet:
    notice_id = command.notice_id or context.new_id()
    session = cached("session", command.session_id)
    seated = () if session is None else session.seats.values()
    return ReadSet(
        streams=(
            stream_of("session", command.session_id),
            _CALENDAR,
            *(stream_of("application", each) for each in seated),
        ),
        versions=(stream_of("notice", notice_id),),
        matters=(stream_of("notice", notice_id),),
    )


def _reads_of_extension(cached: StateHint, command: ExtendNotice, context: Context) -> ReadSet:
    return ReadSet((stream_of("notice", command.notice_id), _CALENDAR))


def _reads_of_objection(cached: StateHint, command: FileObjection, context: Context) -> ReadSet:
    """In the order in which the decision makes ids."""
    is_new = command.objector_name is not None
    objector_id = command.objector_id or context.new_id()
    objection_id = command.objection_id or context.new_id()
    objector = (stream_of("person", objector_id),)
    return ReadSet(
        streams=(
            stream_of("notice", command.notice_id),
            stream_of("application", command.application_id),
            *(() if is_new else objector),
        ),
        versions=objector if is_new else (),
        claims=(objection_claim(objector_id, command.notice_id, objection_id),),
        persons=(objector_id,),
        is_open_ended=context.actor.role is Role.AGENCY and not is_new,
    )


def _reads_of_resolution(cached: StateHint, command: ResolveObjection, context: Context) -> ReadSet:
    notice = cached("notice", command.notice_id)
    found = None if notice is None else notice.open_objections.get(command.objection_id)
    row = () if found is None else (found,)
    objector = None if notice is None else notice.objectors.get(command.objection_id)
    streams = (
        stream_of("notice", command.notice_id),
        *with_persons(cached, row),
        *(() if objector is None else (stream_of("person", objector),)),
    )
    return ReadSet(streams, persons=persons_of(cached, row))


def _reads_of_closing(cached: StateHint, command: CloseNotice, context: Context) -> ReadSet:
    """Every row, the earlier notices that published it, and the claim that ends with it."""
    notice = cached("notice", command.notice_id)
    rows = () if notice is None else notice.opened.application_ids
    states = cached_applications(cached, rows)
    streams = (
        stream_of("notice", command.notice_id),
        *(stream_of("application", each) for each in rows),
        *notice_streams(states),
    )
    return ReadSet(tuple(dict.fromkeys(streams)), (), tuple(map(live_claim_of, states)))


_PUBLISHER = frozenset({Role.CERTIFIER, Role.REGISTRAR})

OPEN_NOTICE = CommandSpec(OpenNotice, decide_open_notice, _reads_of_opening, roles=_PUBLISHER)
EXTEND_NOTICE = CommandSpec(
    ExtendNotice,
    decide_extend_notice,
    _reads_of_extension,
    roles=_PUBLISHER | {Role.SERVICE},
)
FILE_OBJECTION = CommandSpec(
    FileObjection,
    decide_file_objection,
    _reads_of_objection,
    roles=frozenset({Role.CANDIDATE, Role.AGENCY, Role.CERTIFIER}),
)
RESOLVE_OBJECTION = CommandSpec(
    ResolveObjection,
    decide_resolve_objection,
    _reads_of_resolution,
    roles=frozenset({Role.CERTIFIER, Role.SCORE_VERIFIER}),
)
CLOSE_NOTICE = CommandSpec(CloseNotice, decide_close_notice, _reads_of_closing, roles=_PUBLISHER)

SPECS = (OPEN_NOTICE, EXTEND_NOTICE, FILE_OBJECTION, RESOLVE_OBJECTION, CLOSE_NOTICE)

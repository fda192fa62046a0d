"""Sessions, seats and admission tickets (学员考试, 准考证)."""

from datetime import timedelta

import pytest

from domain import events as e
from domain.decision import AlreadyExists, InTheFuture, NotFound
from domain.steps.exam import (
    AlreadySeated,
    AssignSeat,
    CloseSession,
    NotEnrolled,
    RoomTwice,
    SeatTaken,
    SessionFull,
    SessionNotHeld,
    SessionOver,
    SubjectsOverlap,
    WrongSession,
)
from domain.store.errors import ClaimTaken
from domain.values.primitives import Level
from tests.support.actors import candidate
from tests.support.commands import (
    ENDED_AT,
    NEEDED,
    PRACTICAL_AT,
    STAGES,
    THEORY_AT,
    apply_for,
    give,
    hand_in,
    material,
    pay,
    schedule,
    seat,
    submit,
)
from tests.support.journeys import (
    a_held_session,
    a_paid_application,
    a_rejected_application,
    an_application_in_review,
    an_enrolled_application,
    an_open_ledger,
    seated_applications,
)
from tests.support.world import World, given


def end(at: object = ENDED_AT) -> CloseSession:
    return CloseSession(session_id="S1", ended_at=at)


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_has_two_subjects_of_ninety_minutes_each():
    """Source: source-document 4.2, 4.3, 4.3(1), 4.3(2)."""
    command = schedule()
    given(an_open_ledger()).when(command).returns(session_id="S1").then(
        e.ExamSessionScheduled(**command.model_dump(), subject_minutes=90)
    )


@pytest.mark.parametrize("first", ["theory", "practical"])
def test_the_two_subjects_do_not_overlap_whichever_comes_first(first):
    """Source: source-document 4.3(2)."""
    later = THEORY_AT + timedelta(minutes=90)
    times = (THEORY_AT, later) if first == "theory" else (later, THEORY_AT)
    exact = schedule(theory_starts_at=times[0], practical_starts_at=times[1])
    given().when(exact).then_kinds(e.ExamSessionScheduled)
    short = later - timedelta(seconds=1)
    times = (THEORY_AT, short) if first == "theory" else (short, THEORY_AT)
    overlapping = schedule(theory_starts_at=times[0], practical_starts_at=times[1])
    given().when(overlapping).fails(SubjectsOverlap, minutes=90)


def test_a_session_id_is_given_once_and_made_up_where_none_is_given():
    given(seated_applications()).when(schedule()).fails(AlreadyExists, what="session")
    given().when(schedule(session_id=None)).returns(session_id="id-1")


def test_a_room_is_named_once():
    rooms = (e.ExamRoom(room="101", seats=2), e.ExamRoom(room="101", seats=3))
    given().when(schedule(rooms=rooms)).fails(RoomTwice, room="101")


def test_a_session_id_leaves_room_for_the_ticket_number():
    with pytest.raises(ValueError, match="session_id"):
        schedule("S" * 56)
    assert schedule("S" * 55).session_id == "S" * 55


def test_the_longest_session_id_and_the_last_seat_still_give_a_ticket():
    name = "S" * 55
    rooms = tuple(e.ExamRoom(room=f"r{n}", seats=1000) for n in range(100))
    world = an_enrolled_application()
    world.do(schedule(name, rooms=rooms))
    given(world).when(seat(session=name, room="r99", seat=1000)).returns(
        ticket_number=f"{name}-100-1000"
    )


# --- seats and tickets ----------------------------------------------------------------------------


def test_an_enrolled_candidate_gets_a_seat_and_a_ticket_to_download():
    """Source: source-document 4.1, 4.2."""
    world = an_enrolled_application()
    world.do(schedule())
    place = {"session_id": "S1", "room": "101", "seat": 1, "ticket_number": "S1-01-001"}
    given(world).when(seat()).returns(ticket_number="S1-01-001", room="101", seat=1).then(
        e.SeatAssigned(application_id="A1", person_id="P1", **place),
        e.AdmissionTicketIssued(application_id="A1", person_id="P1", **place),
    )


@pytest.mark.parametrize(
    ("world", "status"),
    [
        (a_paid_application(), "paid"),
        (an_application_in_review(passed=2), "in_review"),
        (a_rejected_application(), "rejected"),
    ],
)
def test_nobody_sits_the_exam_before_enrolment(world, status):
    """Source: source-document 2.4(3), 4.1."""
    world.do(schedule())
    given(world).when(seat()).fails(NotEnrolled, status=status)


def test_seats_are_given_one_after_the_other_and_room_by_room():
    world = seated_applications(6)
    tickets = list(world.session("S1").tickets)
    assert tickets == [f"S1-01-00{n}" for n in range(1, 6)] + ["S1-02-001"]


def test_a_session_that_is_full_takes_nobody():
    world = seated_applications(7)
    an_enrolled_application(8, world)
    given(world).when(seat(8)).fails(SessionFull, session_id="S1")
    given(world).when(seat(8, room="101")).fails(SessionFull)


def test_a_seat_that_was_asked_for_is_given_if_it_is_free():
    world = an_enrolled_application(2, seated_applications())
    given(world).when(seat(2, room="102", seat=2)).returns(ticket_number="S1-02-002")
    given(world).when(seat(2, room="101", seat=1)).fails(SeatTaken, room="101", seat=1)
    given(world).when(seat(2, room="101", seat=6)).fails(SeatTaken)
    given(world).when(seat(2, room="999", seat=1)).fails(SeatTaken)


def test_a_room_that_was_asked_for_is_the_room_that_is_given():
    world = an_enrolled_application(2, seated_applications())
    given(world).when(seat(2, room="102")).returns(room="102", seat=1)
    given(world).when(seat(2, room="999")).fails(SessionFull)


def test_a_seat_cannot_be_asked_for_without_its_room():
    with pytest.raises(ValueError, match="a seat needs its room"):
        AssignSeat(application_id="A1", session_id="S1", seat=3)


def test_an_application_has_one_seat():
    """The fee covers one exam. Source: source-document 2.2."""
    world = seated_applications()
    world.do(schedule("S2"))
    given(world).when(seat(session="S2")).fails(AlreadySeated)
    given(world).when(seat()).fails(AlreadySeated)


def test_a_session_of_another_level_or_occupation_is_the_wrong_one():
    """Source: source-document 4.2."""
    world = an_enrolled_application()
    world.do(schedule("S3", level=Level.SENIOR))
    world.do(schedule("S4", occupation="4-13-04-01"))
    given(world).when(seat(session="S3")).fails(WrongSession)
    given(world).when(seat(session="S4")).fails(WrongSession)


def test_no_seat_is_given_once_the_session_has_begun():
    """Source: source-document 4.2."""
    world = an_enrolled_application()
    world.do(schedule())
    given(world).when(seat(), at=THEORY_AT).fails(SessionOver)
    given(world).when(seat(), at=THEORY_AT - timedelta(seconds=1)).then_kinds(
        e.SeatAssigned, e.AdmissionTicketIssued
    )


def test_what_is_unknown_gets_no_seat():
    world = an_enrolled_application()
    given(world).when(seat()).fails(NotFound, what="session")
    given(world).when(seat(9)).fails(NotFound, what="application")


def enrolled_for_a_second_level() -> World:
    """A person who is enrolled for level four and for level three."""
    world = an_enrolled_application()
    world.do(apply_for(application_id="A2", level=Level.JUNIOR), by=candidate(1))
    world.do(pay(2, world))
    for kind in NEEDED:
        file = hand_in(kind, application_id="A2", material=material(kind))
        world.do(file, by=candidate(1))
    world.do(submit(2), by=candidate(1))
    for stage, actor in STAGES:
        world.do(give(stage, "pass", 2), by=actor)
    return world


def test_a_person_with_two_applications_has_one_seat_in_a_session():
    world = enrolled_for_a_second_level()
    world.do(schedule())
    world.do(seat())
    world.append(
        e.ExamSessionScheduled(**schedule(level=Level.JUNIOR).model_dump(), subject_minutes=90)
    )
    given(world).when(seat(2)).fails(ClaimTaken, kind="session_person")


# --- the end of a session -------------------------------------------------------------------------


def test_the_end_of_a_session_is_recorded_once():
    """Source: source-document 4.2, 5.1."""
    world = seated_applications()
    after = (
        given(world)
        .when(end(), at=ENDED_AT)
        .then(e.ExamSessionHeld(session_id="S1", ended_at=ENDED_AT))
    )
    given(after).when(end()).fails(AlreadyExists)


def test_a_session_does_not_end_before_its_later_subject_began():
    world = seated_applications()
    given(world).when(end(PRACTICAL_AT), at=ENDED_AT).fails(SessionNotHeld)
    given(world).when(end(THEORY_AT), at=ENDED_AT).fails(SessionNotHeld)
    given(world).when(end(PRACTICAL_AT + timedelta(seconds=1)), at=ENDED_AT).then_kinds(
        e.ExamSessionHeld
    )


def test_a_session_does_not_end_in_the_future():
    world = seated_applications()
    early = ENDED_AT - timedelta(seconds=1)
    given(world).when(end(), at=early).fails(InTheFuture, field="ended_at")


def test_refusals_of_an_end_come_in_their_order():
    given().when(end()).fails(NotFound)
    given(a_held_session()).when(end(ENDED_AT + timedelta(days=9))).fails(AlreadyExists)
    before = seated_applications()
    given(before).when(end(THEORY_AT)).fails(InTheFuture)


def test_refusals_of_a_seat_come_in_their_order():
    world = an_application_in_review()
    world.do(schedule("S3", level=Level.SENIOR))
    late = THEORY_AT + timedelta(days=1)
    given(world).when(seat(session="S3"), at=late).fails(NotEnrolled)
    enrolled = an_enrolled_application()
    enrolled.do(schedule("S3", level=Level.SENIOR))
    given(enrolled).when(seat(session="S3"), at=late).fails(WrongSession)
    enrolled.do(schedule())
    given(enrolled).when(seat(room="999", seat=1), at=late).fails(SessionOver)

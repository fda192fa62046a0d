"""Results go public and become final (成绩公示)."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from domain import events as e
from domain.decision import AlreadyExists, NotFound
from domain.events import Subject
from domain.steps import public_notice
from domain.steps.exam import SessionNotHeld
from domain.steps.public_notice import (
    ExtendNotice,
    NothingToPublish,
    NoticeClosed,
    NoticeEndKnown,
    NoticeEndProvisional,
    NoticeRunning,
    NoticeTooLate,
    ObjectionsOpen,
    ScoresNotVerified,
)
from domain.store.errors import ClaimTaken
from domain.values.primitives import Marks
from tests.support.actors import VERIFIER, candidate
from tests.support.commands import (
    CLOSED_AT,
    NOTICE_ENDS_ON,
    PASSED,
    PUBLISHED_AT,
    adopt_edition,
    apply_for,
    close,
    correct,
    object_to,
    publish,
    verify,
    when,
)
from tests.support.editions import calendar_2027, packaged_calendar
from tests.support.journeys import (
    a_held_session,
    final_results,
    published_results,
    recorded_scores,
    seated_applications,
    verified_scores,
)
from tests.support.world import World, given

THEORY = Subject.THEORY
FAILED = ("59.5", "100")


def corrected(world: World, theory: str, practical: str, n: int = 1) -> None:
    """A score put right and verified again."""
    world.do(correct(THEORY, theory, n))
    world.do(verify(theory, practical, n), by=VERIFIER)


# --- opening --------------------------------------------------------------------------------------


def test_a_notice_published_before_the_national_holiday_ends_after_five_working_days():
    """09-30 to 10-13: seven days off, one Saturday worked. Source: source-document 5.1."""
    world = verified_scores(PASSED)
    given(world).when(publish(), at=PUBLISHED_AT).returns(
        notice_id="N1", rows=1, remaining=0, ends_on="2026-10-13", ends_on_is_provisional=False
    ).then(
        e.PublicNoticeOpened(
            notice_id="N1",
            session_id="S1",
            kind="main",
            published_on=date(2026, 9, 30),
            ends_on=date(2026, 10, 13),
            ends_on_is_provisional=False,
            working_days=5,
            calendar_edition=packaged_calendar().edition,
            deadline_on=date(2026, 10, 8),
            application_ids=("A1",),
        ),
        e.ResultPublished(
            application_id="A1",
            person_id="P1",
            notice_id="N1",
            session_id="S1",
            ticket_number="S1-01-001",
            theory=Marks("72"),
            practical=Marks("65.5"),
            passed=True,
        ),
    )


def test_every_row_of_the_session_is_published_passed_failed_and_absent():
    """Source: source-document 4.3(3), 5.1."""
    world = published_results(PASSED, FAILED, (None, "90"))
    rows = world.facts(e.ResultPublished)
    assert [(row.application_id, row.passed) for row in rows] == [
        ("A1", True),
        ("A2", False),
        ("A3", False),
    ]


def test_nothing_is_published_of_a_session_that_was_not_held():
    """Source: source-document 5.1."""
    given(seated_applications()).when(publish()).fails(SessionNotHeld)
    given().when(publish()).fails(NotFound, what="session")


def test_nobody_is_left_out_of_the_first_notice():
    """Source: source-document 4.3(3), 5.1."""
    given(a_held_session(2)).when(publish()).fails(ScoresNotVerified, count=2)
    world = recorded_scores(PASSED, PASSED)
    world.do(verify(*PASSED), by=VERIFIER)
    given(world).when(publish()).fails(ScoresNotVerified, count=1)


def test_a_result_is_published_once_as_it_stands():
    given(published_results()).when(publish("N2")).fails(NothingToPublish)


def test_a_notice_id_is_given_once_and_made_up_where_none_is_given():
    given(published_results()).when(publish()).fails(AlreadyExists, what="notice")
    given(verified_scores(PASSED)).when(publish(None)).returns(notice_id="id-1")


@pytest.mark.parametrize(
    ("moment", "late"),
    [("2026-10-08 23:59", False), ("2026-10-09 00:00", True), ("2026-11-20 09:00", True)],
)
def test_the_notice_is_due_within_a_month_of_the_exam(moment, late):
    """2026-10-05 is a holiday, the month ends on 10-08. Source: source-document 5.1."""
    world = verified_scores(PASSED)
    attempt = given(world).when(publish(), at=when(moment))
    if late:
        attempt.fails(NoticeTooLate, deadline="2026-10-08")
    else:
        attempt.then_kinds(e.PublicNoticeOpened, e.ResultPublished)


def test_a_late_notice_says_why_and_a_punctual_one_does_not():
    """Source: source-document 5.1."""
    world = verified_scores(PASSED)
    why = publish(late_reason="系统故障")
    late = given(world).when(why, at=when("2026-10-09 09:00"))
    assert late.decided.facts[0][1].late_reason == "系统故障"
    punctual = given(world).when(why, at=PUBLISHED_AT)
    assert punctual.decided.facts[0][1].late_reason is None


def test_more_rows_than_a_notice_holds_are_published_with_the_next(monkeypatch):
    monkeypatch.setattr(public_notice, "ROWS_MAX", 2)
    world = verified_scores(PASSED, PASSED, PASSED)
    assert world.do(publish(), at=PUBLISHED_AT).outcome["remaining"] == 1
    given(world).when(publish("N2"), at=when("2026-10-09 09:00")).fails(NoticeTooLate)
    world.do(publish("N2"))
    notice = world.notice("N2").opened
    assert (notice.kind, notice.application_ids) == ("main", ("A3",))


def test_refusals_of_a_notice_come_in_their_order():
    world = published_results()
    given(world).when(publish(session="S9")).fails(NotFound)
    given(world).when(publish()).fails(AlreadyExists)
    late = when("2026-12-01 09:00")
    given(a_held_session()).when(publish(), at=late).fails(ScoresNotVerified)
    given(world).when(publish("N2"), at=late).fails(NothingToPublish)


# --- closing --------------------------------------------------------------------------------------


def test_a_notice_runs_until_midnight_of_its_last_day():
    """Source: source-document 5.1."""
    world = published_results()
    given(world).when(close(), at=CLOSED_AT - timedelta(seconds=1)).fails(
        NoticeRunning, ends_on="2026-10-13"
    )
    given(world).when(close(), at=CLOSED_AT).returns(final=1, withheld=[]).then(
        e.PublicNoticeClosed(notice_id="N1", final_count=1)
    )


def test_a_notice_closes_once():
    given(final_results()).when(close()).fails(NoticeClosed)
    given().when(close()).fails(NotFound)


def test_a_final_row_lets_its_person_apply_again():
    """Source: source-document 5.1."""
    again = apply_for(application_id="A9")
    given(published_results(FAILED)).when(again, by=candidate(1)).fails(ClaimTaken)
    given(final_results(FAILED)).when(again, by=candidate(1)).returns(eligible=True)


def test_a_row_corrected_meanwhile_is_withheld_and_goes_on_holding_its_claim():
    """Source: source-document 5.1."""
    world = published_results(FAILED, PASSED)
    world.do(correct(THEORY, "60"))
    when_closed = given(world).when(close(), at=CLOSED_AT).returns(final=1, withheld=["A1"])
    after = when_closed.then(e.PublicNoticeClosed(notice_id="N1", final_count=1, withheld=("A1",)))
    assert after.claimed("live_application", "P1|4-01-02-07|4")
    assert not after.claimed("live_application", "P2|4-01-02-07|4")


def test_refusals_of_a_closing_come_in_their_order():
    world = a_provisional_notice()
    world.do(object_to(), by=candidate(1))
    given(world).when(close()).fails(NoticeEndProvisional)
    running = published_results()
    running.do(object_to(), by=candidate(1))
    given(running).when(close()).fails(NoticeRunning)
    given(running).when(close(), at=CLOSED_AT).fails(ObjectionsOpen, count=1)


# --- past the calendar's last known day -----------------------------------------------------------


def a_provisional_notice() -> World:
    """Published on 2026-12-28: the count runs past 2026-12-31."""
    world = verified_scores(PASSED)
    world.do(publish(late_reason="考点改期"), at=when("2026-12-28 10:00"))
    return world


def test_an_end_past_the_calendar_is_provisional_and_says_so():
    """Source: source-document 5.1."""
    notice = a_provisional_notice().notice("N1")
    assert notice.provisional
    assert notice.ends_on > date(2026, 12, 31)


def test_a_provisional_notice_cannot_close_until_it_is_extended():
    """Source: source-document 5.1."""
    world = a_provisional_notice()
    later = when("2027-02-01 09:00")
    given(world).when(close(), at=later).fails(NoticeEndProvisional)
    refusal = given(world).when(ExtendNotice(notice_id="N1"), at=later).fails(NoticeEndProvisional)
    assert "a calendar with its days comes first" in str(refusal)
    adopt_edition(world, calendar_2027(valid_from=date(2027, 1, 1)))
    after = (
        given(world)
        .when(ExtendNotice(notice_id="N1"), at=later)
        .then(
            e.PublicNoticeExtended(
                notice_id="N1",
                ends_on=date(2027, 1, 5),
                ends_on_is_provisional=False,
                calendar_edition="cn-2027.1",
            )
        )
    )
    given(after).when(ExtendNotice(notice_id="N1")).fails(NoticeEndKnown)
    given(after).when(close()).then_kinds(e.PublicNoticeClosed)


def test_a_calendar_that_does_not_hold_yet_extends_nothing():
    """Source: source-document 5.1."""
    world = a_provisional_notice()
    adopt_edition(world, calendar_2027(valid_from=date(2027, 1, 1)))
    extend = ExtendNotice(notice_id="N1")
    given(world).when(extend, at=when("2026-12-31 23:59")).fails(NoticeEndProvisional)
    given(world).when(extend, at=when("2027-01-01 00:00")).then_kinds(e.PublicNoticeExtended)


def test_a_notice_is_counted_by_the_calendar_that_was_adopted():
    """Source: source-document 5.1."""
    world = verified_scores(PASSED)
    adopt_edition(world, calendar_2027())
    world.do(publish(late_reason="考点改期"), at=when("2026-12-28 10:00"))
    opened = world.notice("N1").opened
    assert (opened.ends_on, opened.ends_on_is_provisional) == (date(2027, 1, 5), False)
    assert opened.calendar_edition == "cn-2027.1"


def test_an_adopted_calendar_changes_no_end_that_was_certain():
    """Source: source-document 5.1. What was decided keeps its edition."""
    world = published_results()
    before = world.notice("N1")
    adopt_edition(world, calendar_2027(valid_from=date(2026, 9, 1)))
    given(world).when(ExtendNotice(notice_id="N1")).fails(NoticeEndKnown)
    assert world.notice("N1") == before


def test_an_end_that_is_certain_is_not_extended():
    given(published_results()).when(ExtendNotice(notice_id="N1")).fails(NoticeEndKnown)
    given(final_results()).when(ExtendNotice(notice_id="N1")).fails(NoticeClosed)
    given().when(ExtendNotice(notice_id="N1")).fails(NotFound)


def test_nobody_is_turned_away_by_an_end_that_may_still_move():
    """Source: source-document 5.1."""
    world = a_provisional_notice()
    given(world).when(object_to(), by=candidate(1), at=when("2027-02-01 09:00")).then_kinds(
        e.ObjectionFiled
    )


# --- supplementary notices ------------------------------------------------------------------------


def test_a_corrected_row_gets_a_supplementary_notice_of_its_own():
    """Source: source-document 5.1."""
    world = published_results(FAILED, PASSED)
    corrected(world, "60", "100")
    after = given(world).when(publish("N2")).then_kinds(e.PublicNoticeOpened, e.ResultPublished)
    notice = after.notice("N2").opened
    assert (notice.kind, notice.application_ids) == ("supplementary", ("A1",))
    assert after.facts(e.ResultPublished)[-1].passed


def test_a_supplementary_notice_has_no_month_to_keep():
    """Source: source-document 5.1."""
    world = final_results(FAILED)
    corrected(world, "60", "100")
    given(world).when(publish("N2"), at=when("2026-12-01 09:00")).then_kinds(
        e.PublicNoticeOpened, e.ResultPublished
    )


def test_a_correction_that_is_not_verified_yet_holds_up_nobody_else():
    """Source: source-document 5.1."""
    world = published_results(FAILED, FAILED)
    world.do(correct(THEORY, "60"))
    corrected(world, "61", "100", 2)
    world.do(publish("N2"))
    assert world.notice("N2").opened.application_ids == ("A2",)


def test_a_score_corrected_there_and_back_is_published_again():
    """Each correction asks for a notice of its own. Source: source-document 5.1."""
    world = published_results(FAILED)
    world.do(correct(THEORY, "60"))
    corrected(world, "59.5", "100")
    world.do(publish("N2"))
    assert world.notice("N2").opened.application_ids == ("A1",)


def test_a_row_that_moved_to_another_notice_becomes_final_there_only():
    """Source: source-document 5.1."""
    world = published_results(FAILED)
    corrected(world, "60", "100")
    world.do(publish("N2"))
    first = world.do(close(), at=CLOSED_AT)
    assert (first.outcome, first.releases) == ({"final": 0, "withheld": ["A1"]}, ())
    second = world.do(close("N2"), at=CLOSED_AT + timedelta(days=7))
    assert second.outcome == {"final": 1, "withheld": []}
    assert second.releases == (("live_application", "P1|4-01-02-07|4"),)


def test_a_row_corrected_after_it_was_final_does_not_end_a_newer_application():
    """Source: source-document 5.1."""
    world = final_results(FAILED)
    corrected(world, "60", "100")
    world.do(publish("N2"))
    alone = given(world).when(close("N2"), at=when("2026-11-30 09:00"))
    alone.then_kinds(e.PublicNoticeClosed)
    world.do(apply_for(application_id="A9"), by=candidate(1))
    world.do(close("N2"), at=when("2026-11-30 09:00"))
    assert world.claimed("live_application", "P1|4-01-02-07|4")


def test_the_days_of_a_notice_are_frozen_when_it_opens():
    """Source: source-document 5.1."""
    assert published_results().notice("N1").ends_on == NOTICE_ENDS_ON


def test_the_rows_do_not_depend_on_the_order_in_which_a_state_was_restored():
    """A snapshot stores seats in order of their text. Source: source-document 5.1."""
    world = verified_scores(PASSED, FAILED, PASSED)
    [expected, *_] = given(world).when(publish(), at=PUBLISHED_AT).decided.facts
    session = world.session("S1")
    tickets = dict(reversed(session.tickets.items()))
    world.states["session-S1"] = replace(
        session, seats=dict(reversed(session.seats.items())), tickets=tickets
    )
    [restored, *_] = given(world).when(publish(), at=PUBLISHED_AT).decided.facts
    assert restored == expected
    assert expected[1].application_ids == ("A1", "A2", "A3")

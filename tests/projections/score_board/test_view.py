"""What the score board shows, when, and to whom.

Covers: projections/score_board/view.py, projections/score_board/tables.py,
projections/score_board/queries.py, projections/masking.py
"""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from domain import events as e
from domain.events import Subject
from projections.engine.view import ERASED
from projections.score_board import queries as q
from tests.projections.grammar import ProjectedLedger
from tests.support.actors import EXAMINER, REGISTRAR, VERIFIER, candidate
from tests.support.commands import (
    CLOSED_AT,
    NOTICE_ENDS_ON,
    PASSED,
    close,
    correct,
    correct_person,
    destroyed,
    document_of,
    object_to,
    publish,
    settle,
    verify,
)
from tests.support.journeys import final_results, published_results
from tests.support.world import World

FAILED = ("59.5", "100")
ABSENT = (None, "80")
OPENED_ON = date(2026, 9, 30)


def board(ledger: ProjectedLedger, today: date = OPENED_ON, notice: str = "N1") -> dict[str, Any]:
    """The page as everybody sees it on a day."""
    with ledger.cursor() as cursor:
        found = q.public_board(cursor, "omc", notice, today)
    assert found is not None
    return found


def states(ledger: ProjectedLedger, notice: str = "N1", **options: Any) -> dict[str, str]:
    """Application -> state of its row."""
    with ledger.cursor() as cursor:
        listed = q.rows(cursor, "omc", notice, **options)
    return {row["application_id"]: row["state"] for row in listed}


def test_a_notice_shows_its_period_and_its_rows_masked(ledger: ProjectedLedger) -> None:
    """Source: source-document 5.1."""
    ledger.record(published_results(PASSED, FAILED, ABSENT)).fold()
    shown = board(ledger)
    assert (shown["status"], shown["kind"], shown["session_name"]) == (
        "open",
        "main",
        "2026年第3批",
    )
    assert (shown["published_on"], shown["ends_on"]) == (OPENED_ON, NOTICE_ENDS_ON)
    assert (shown["working_days"], shown["ends_on_is_provisional"]) == (5, False)
    assert shown["deadline_on"] == date(2026, 10, 8)
    assert [
        (r["ticket_number"], r["masked_name"], r["theory"], r["practical"], r["passed"])
        for r in shown["rows"]
    ] == [
        ("S1-01-001", "钱*", "72", "65.5", True),
        ("S1-01-002", "孙*", "59.5", "100", False),
        ("S1-01-003", "李*", None, "80", False),
    ]
    number = document_of(1)
    assert shown["rows"][0]["masked_number"] == number[:3] + "*" * 13 + number[-2:]
    assert (shown["rows"][0]["occupation_name"], shown["rows"][0]["level"]) == ("互联网营销师", 4)


def test_totals_distinguish_failed_from_absent(ledger: ProjectedLedger) -> None:
    ledger.record(published_results(PASSED, FAILED, ABSENT)).fold()
    totals = board(ledger)["totals"]
    assert {n: totals[n] for n in ("rows", "passed", "failed", "absent", "final")} == {
        "rows": 3, "passed": 1, "failed": 1, "absent": 1, "final": 0
    }  # fmt: skip


def test_public_rows_contain_nothing_that_identifies_a_person(ledger: ProjectedLedger) -> None:
    ledger.record(published_results()).fold()
    shown = board(ledger)
    assert not set(q.NEVER_PUBLIC) & set(shown["rows"][0])
    assert document_of(1) not in str(shown)
    assert "钱一" not in str(shown)


@pytest.mark.parametrize(
    ("today", "is_shown"),
    [
        (OPENED_ON - timedelta(days=1), False),
        (OPENED_ON, True),
        (NOTICE_ENDS_ON, True),
        (NOTICE_ENDS_ON + timedelta(days=1), False),
    ],
)
def test_rows_are_public_only_in_the_period(
    ledger: ProjectedLedger, today: date, is_shown: bool
) -> None:
    """Source: source-document 5.1."""
    ledger.record(published_results()).fold()
    shown = board(ledger, today)
    assert shown["rows_shown"] is is_shown
    assert len(shown["rows"]) == is_shown


def test_after_a_notice_is_closed_its_totals_remain_and_its_rows_are_for_staff(
    ledger: ProjectedLedger,
) -> None:
    ledger.record(final_results(PASSED, FAILED)).fold()
    shown = board(ledger, NOTICE_ENDS_ON)
    assert (shown["status"], shown["rows"], shown["totals"]["final"]) == ("closed", [], 2)
    assert (shown["final_count"], shown["withheld_count"]) == (2, 0)
    assert states(ledger) == {"A1": "final", "A2": "final"}


def test_a_row_is_under_objection_until_the_last_objection_is_dismissed(
    ledger: ProjectedLedger,
) -> None:
    """Source: source-document 5.1."""
    world = published_results(PASSED, PASSED)
    world.do(object_to(1), by=candidate(1))
    world.do(object_to(1, by=2, objection_id="O2"), by=candidate(2))
    assert states(ledger.record(world).fold()) == {"A1": "under_objection", "A2": "published"}
    world.do(settle("dismissed", 1), by=REGISTRAR)
    assert states(ledger.record(world).fold())["A1"] == "under_objection"
    world.do(settle("dismissed", 2), by=REGISTRAR)
    assert states(ledger.record(world).fold())["A1"] == "published"
    with ledger.cursor() as cursor:
        found = q.objections(cursor, "omc", "N1")
        assert [(o["objection_id"], o["state"]) for o in found] == [
            ("O1", "dismissed"), ("O2", "dismissed")
        ]  # fmt: skip
        assert q.objections(cursor, "omc", "N1", state="open") == []


def an_upheld_objection() -> World:
    """The row of candidate 1 is wrong; candidate 2 objects without cause."""
    world = published_results(FAILED, PASSED)
    world.do(object_to(1), by=candidate(1))
    world.do(settle("upheld"), by=REGISTRAR)
    return world


def test_a_row_with_an_upheld_objection_is_withheld_for_good(ledger: ProjectedLedger) -> None:
    world = an_upheld_objection()
    world.do(object_to(1, objection_id="O9"), by=candidate(1))
    world.do(settle("dismissed", 9), by=REGISTRAR)
    assert states(ledger.record(world).fold()) == {"A1": "withheld", "A2": "published"}


def test_a_corrected_result_supersedes_the_old_row_in_a_notice_of_its_own(
    ledger: ProjectedLedger,
) -> None:
    """Source: source-document 5.1."""
    world = an_upheld_objection()
    world.do(correct(Subject.THEORY, "61", objection_id="O1"), by=EXAMINER)
    ledger.record(world).fold()
    old = ledger.rows("score_board_rows", "position DESC", application_id="A1", notice_id="N1")[0]
    assert (old["superseded"], old["corrected"], old["theory"]) == (True, False, "59.5")
    world.do(verify("61", "100"), by=VERIFIER)
    world.do(publish("N2"), at=CLOSED_AT)
    world.do(close(), at=CLOSED_AT + timedelta(minutes=1))
    ledger.record(world).fold()
    assert states(ledger) == {"A1": "withheld", "A2": "final"}
    with ledger.cursor() as cursor:
        (row,) = q.rows(cursor, "omc", "N2")
        kinds = [(n["notice_id"], n["kind"]) for n in q.notices(cursor, "omc")]
        history = q.results_of_application(cursor, "omc", "A1")
    assert (row["theory"], row["passed"], row["corrected"]) == ("61", True, True)
    assert (row["superseded"], row["state"]) == (False, "published")
    assert kinds == [("N2", "supplementary"), ("N1", "main")]
    assert [(r["notice_id"], r["state"], r["superseded"]) for r in history] == [
        ("N1", "published", False),
        ("N1", "under_objection", False),
        ("N1", "withheld", False),
        ("N1", "withheld", True),
        ("N2", "published", False),
    ]


def test_a_provisional_end_is_replaced(ledger: ProjectedLedger) -> None:
    """Source: source-document 5.1."""
    world = published_results()
    world.append(
        e.PublicNoticeExtended(
            notice_id="N1",
            ends_on=date(2026, 10, 20),
            ends_on_is_provisional=False,
            calendar_edition="CN 2027",
        )
    )
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        first = q.notice(cursor, "omc", "N1", as_of=ledger.row("score_board_people")["position"])
        assert first is None, "it was not there yet"
        found = q.notice(cursor, "omc", "N1")
    assert found is not None
    assert (found["ends_on"], found["calendar_edition"]) == (date(2026, 10, 20), "CN 2027")
    assert len(ledger.rows("score_board_notices")) == 2, "the earlier announcement remains"


def test_the_board_can_be_read_as_of_a_position_or_a_time(ledger: ProjectedLedger) -> None:
    world = published_results(PASSED)
    before = ledger.record(world).fold().journal.head()
    world.do(close(), at=CLOSED_AT)
    ledger.record(world).fold()
    assert states(ledger) == {"A1": "final"}
    assert states(ledger, as_of=before.position) == {"A1": "published"}
    assert states(ledger, as_of=before.recorded_at) == {"A1": "published"}
    assert states(ledger, as_of=before.position - 1) == {}
    with ledger.cursor() as cursor:
        assert q.notice(cursor, "omc", "N1", as_of=before.recorded_at)["status"] == "open"
        assert q.totals(cursor, "omc", "N1", as_of=before.position)["final"] == 0
        assert q.notices(cursor, "omc", status="closed", as_of=before.position) == []
        with pytest.raises(ValueError, match="time zone"):
            q.rows(cursor, "omc", "N1", as_of=datetime(2026, 1, 1))


def test_a_corrected_name_changes_every_page_at_once(ledger: ProjectedLedger) -> None:
    world = published_results()
    world.do(correct_person(name="欧阳娜娜"), by=REGISTRAR)
    assert board(ledger.record(world).fold())["rows"][0]["masked_name"] == "欧***"


def test_an_erased_person_is_gone_from_every_page(ledger: ProjectedLedger) -> None:
    world = final_results()
    world.append(destroyed())
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        (row,) = q.rows(cursor, "omc", "N1")
    assert (row["masked_name"], row["masked_number"]) == (ERASED, ERASED)
    assert row["theory"] == "72", "the result stays"


def test_pages_are_contiguous(ledger: ProjectedLedger) -> None:
    ledger.record(published_results(*[PASSED] * 5)).fold()
    tickets: list[str] = []
    with ledger.cursor() as cursor:
        while page := q.rows(cursor, "omc", "N1", after=tickets[-1] if tickets else None, limit=2):
            tickets += [row["ticket_number"] for row in page]
        (notice,) = q.notices(cursor, "omc", limit=1)
        after = (notice["published_on"], notice["notice_id"])
        assert q.notices(cursor, "omc", after=after) == []
        assert q.notices(cursor, "omc", status="closed") == []
        assert len(q.notices(cursor, "omc", session_id="S1")) == 1
    assert tickets == [f"S1-01-{n:03d}" for n in range(1, 6)]


def test_queries_of_unknown_ids_return_nothing(ledger: ProjectedLedger) -> None:
    with ledger.cursor() as cursor:
        assert q.public_board(cursor, "omc", "N1", OPENED_ON) is None
        assert q.totals(cursor, "omc", "N1")["rows"] == 0

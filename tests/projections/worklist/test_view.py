"""What the worklist lists as due, from when on, and how it ends.

Covers: projections/worklist/tables.py, projections/worklist/queries.py
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from domain.actors import service_actor
from domain.documents.materials import MaterialKind
from domain.editions.edition import make_edition
from domain.events import DocumentSubmitted, Stage
from domain.values.sealed_fields import DataClass
from projections.rebuild.compare import Difference
from projections.rebuild.rebuild import check
from projections.worklist import queries
from projections.worklist.queries import ErasedFile, WorkItem
from projections.worklist.view import CONTINUE_ERASURE, EXTEND_NOTICE, VIEW
from tests.projections.grammar import ProjectedLedger
from tests.support.actors import AGENCY, OPERATOR, candidate
from tests.support.commands import adopt_edition, copy_of, erase, give, repeat_erasure, withdraw
from tests.support.editions import calendar_2027
from tests.support.journeys import (
    an_application_in_review,
    an_application_with_documents,
    an_open_ledger,
)
from tests.support.ledgers import SECRETS
from tests.support.provisional_notices import CLOSES_AT, closed, extended, opened
from tests.support.world import World

FIRST = ErasedFile(0, 0)
BEFORE = CLOSES_AT - timedelta(seconds=1)


def due(ledger: ProjectedLedger, now: datetime = CLOSES_AT, **given: object) -> list[WorkItem]:
    with ledger.cursor() as cursor:
        return queries.due(cursor, EXTEND_NOTICE, [ledger.name], now, **given)


def backlog(ledger: ProjectedLedger, now: datetime, overdue_before: datetime) -> list[dict]:
    with ledger.cursor() as cursor:
        return queries.backlog(cursor, [ledger.name], now, overdue_before)


def test_a_provisional_end_is_due_when_it_comes_and_not_before(ledger: ProjectedLedger) -> None:
    position = ledger.write(opened("N1"))
    ledger.fold()
    assert due(ledger, BEFORE) == []
    assert due(ledger) == [WorkItem("omc", "N1", 1, CLOSES_AT, position)]


def test_an_end_that_is_certain_needs_nothing(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1", ends_on_is_provisional=False))
    ledger.fold()
    assert due(ledger) == []


def test_who_corrected_the_end_makes_no_difference(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1"), opened("N2"), opened("N3"))
    ledger.write(extended("N1", by_the_service=True), extended("N2", by_the_service=False))
    ledger.fold()
    assert [item.item_id for item in due(ledger)] == ["N3"]


def test_a_closed_notice_needs_nothing(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1"), closed("N1"))
    ledger.fold()
    assert due(ledger) == []


def test_an_end_that_is_still_provisional_is_due_once_more_under_another_attempt(
    ledger: ProjectedLedger,
) -> None:
    ledger.write(opened("N1"))
    ledger.fold()
    later = {"ends_on": date(2026, 3, 10), "ends_on_is_provisional": True}
    ledger.write(extended("N1", by_the_service=True, **later))
    ledger.fold()
    assert due(ledger) == []
    [item] = due(ledger, CLOSES_AT + timedelta(days=4))
    assert (item.attempt, item.due_at) == (2, CLOSES_AT + timedelta(days=4))


# --- a calendar is adopted --------------------------------------------------------------------

JUNE = {"published_on": date(2027, 6, 1), "ends_on": date(2027, 6, 8)}
"""A notice of days that the calendar of 2027 knows and the packaged one does not."""
JUNE_CLOSES_AT = datetime(2027, 6, 8, 16, tzinfo=UTC)
LATER = JUNE_CLOSES_AT + timedelta(days=90_000)


def adopt(ledger: ProjectedLedger, valid_from: date = date(2026, 1, 1)) -> datetime:
    """Two persons adopt a calendar of 2027. Returns: when that was recorded."""
    world = an_open_ledger()
    adopt_edition(world, calendar_2027(valid_from=valid_from))
    return ledger.record(world).journal.head().recorded_at


def test_a_calendar_that_knows_the_days_makes_the_correction_due(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1", **JUNE), opened("N2", published_on=date(2028, 6, 1)))
    ledger.fold()
    adopted_at = adopt(ledger)
    ledger.fold()
    moments = {item.item_id: item.due_at for item in due(ledger, LATER)}
    assert moments == {"N1": min(adopted_at, JUNE_CLOSES_AT), "N2": CLOSES_AT}


def test_a_calendar_that_holds_later_makes_it_due_on_its_first_day(
    ledger: ProjectedLedger,
) -> None:
    adopted_at = adopt(ledger, date(2027, 6, 5))
    ledger.write(opened("N1", **JUNE))
    ledger.fold()
    [item] = due(ledger, LATER)
    first_day = datetime(2027, 6, 4, 16, tzinfo=UTC)
    assert item.due_at == min(max(adopted_at, first_day), JUNE_CLOSES_AT)


def copied(ledger: ProjectedLedger, *, own: bool) -> None:
    """A calendar of 2027 is copied; own: an edition of the ledger has its name."""
    world = an_open_ledger()
    if own:
        adopt_edition(world, calendar_2027(valid_from=date(2027, 12, 1)))
    copy = copy_of(calendar_2027(valid_from=date(2026, 1, 1)))
    world.do(copy, by=service_actor("copy_edition"))
    ledger.record(world)


def test_a_calendar_that_was_copied_makes_the_correction_due(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1", **JUNE))
    copied(ledger, own=False)
    ledger.fold()
    [item] = due(ledger, LATER)
    assert item.due_at <= ledger.journal.head().recorded_at
    [copy] = ledger.rows("worklist_copied")
    assert copy["sha256"] == make_edition(**dict(calendar_2027(valid_from=date(2026, 1, 1)))).sha256
    [done] = [row for row in ledger.rows("worklist_done") if row["work"] == "copy_edition"]
    assert done["items"] == 1


def test_a_copy_that_does_not_hold_makes_nothing_due(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1", **JUNE))
    copied(ledger, own=True)
    ledger.fold()
    assert len(ledger.rows("worklist_copied")) == 1
    assert {row["valid_from"] for row in ledger.rows("worklist_calendars")} == {date(2027, 12, 1)}


def test_another_calendar_leaves_alone_what_is_certain_or_closed(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1", **JUNE), opened("N2", **JUNE))
    ledger.write(extended("N1", by_the_service=False), closed("N2"))
    adopt(ledger)
    ledger.fold()
    assert due(ledger, LATER) == []


def test_editions_of_other_rules_make_nothing_due(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1", **JUNE))
    ledger.record(an_open_ledger()).fold()  # with its fees
    [item] = due(ledger, LATER)
    assert item.due_at == JUNE_CLOSES_AT


def test_a_rebuilt_worklist_equals_the_live_one(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.write(opened("N1", **JUNE), opened("N2"), opened("N3", **JUNE), opened("N4"))
    copied(ledger, own=False)
    ledger.write(extended("N1", by_the_service=True), closed("N3"))
    ledger.write(extended("N2", by_the_service=True, ends_on_is_provisional=True))
    ledger.fold(batch=1)
    found: list[Difference] = []
    assert check(dsn, SECRETS, [VIEW], processes=1, on_difference=found.append) == 0, found
    assert [(item.item_id, item.attempt) for item in due(ledger, LATER)] == [("N4", 1), ("N2", 2)]


# --- files ------------------------------------------------------------------------------------


def test_the_files_of_destroyed_keys_are_named_in_order_of_the_erasures(
    ledger: ProjectedLedger,
) -> None:
    world = an_application_with_documents()
    ledger.record(world).fold()

    def erased(after: ErasedFile = FIRST) -> list[ErasedFile]:
        with ledger.cursor() as cursor:
            return queries.erased_files(cursor, ledger.name, after)

    assert erased() == []
    world.do(withdraw(1), by=candidate(1))
    erase(world, 1)
    ledger.record(world).fold()
    documents = [
        position
        for position, entry in enumerate(world.entries, 1)
        if isinstance(entry.fact, DocumentSubmitted) and entry.fact.kind is MaterialKind.PHOTO
    ]
    assert [file.named_at for file in erased()] == documents
    assert {file.erased_at for file in erased()} == {len(world.entries)}
    assert erased(after=erased()[0]) == []


def test_the_files_of_all_persons_in_a_batch_are_read_with_one_query(
    ledger: ProjectedLedger,
) -> None:
    world = an_open_ledger()
    ledger.record(world).fold()
    for n in (1, 2, 3):
        an_application_with_documents(n, world)
    queries_of_files = [
        query for query in ledger.queries_of(world, VIEW) if "worklist_files" in query
    ]
    assert len(queries_of_files) == 1


# --- erasures ---------------------------------------------------------------------------------


def rejected(world: World) -> None:
    world.do(give(Stage.INITIAL, "reject"), by=AGENCY)


def withdrawn(world: World) -> None:
    world.do(withdraw(1), by=AGENCY)


@pytest.mark.parametrize("ends", [rejected, withdrawn])
def test_the_end_of_an_application_that_was_open_when_an_erasure_was_repeated_makes_it_due(
    ledger: ProjectedLedger, ends: Callable[[World], None]
) -> None:
    """That it was over is among what the restored ledger had lost."""
    world = an_application_in_review()
    world.do(repeat_erasure(1, DataClass.CONTACT), by=OPERATOR)
    ledger.record(world).fold()
    assert due_erasures(ledger) == []
    ends(world)
    ledger.record(world).fold()
    assert due_erasures(ledger) == ["P1"]


def due_erasures(ledger: ProjectedLedger) -> list[str]:
    now = ledger.journal.head().recorded_at
    with ledger.cursor() as cursor:
        found = queries.due(cursor, CONTINUE_ERASURE, [ledger.name], now)
    return [item.item_id for item in found]


# --- what is asked ----------------------------------------------------------------------------


def test_the_longest_due_comes_first_and_what_is_left_out_makes_room(
    ledger: ProjectedLedger,
) -> None:
    for number, day in enumerate((6, 4, 5), 1):
        ledger.write(opened(f"N{number}", ends_on=date(2026, 3, day)))
    ledger.fold()
    assert [item.item_id for item in due(ledger)] == ["N2", "N3", "N1"]
    first = due(ledger, limit=1)
    assert [item.item_id for item in first] == ["N2"]
    rest = due(ledger, limit=1, without=[item.key for item in first])
    assert [item.item_id for item in rest] == ["N3"]


def test_an_item_that_is_due_for_another_reason_is_not_left_out(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1"))
    ledger.fold()
    elder = ("omc", "N1", CLOSES_AT - timedelta(days=1))
    assert [item.item_id for item in due(ledger, without=[elder])] == ["N1"]


def test_every_ledger_is_asked_at_once_and_each_gets_its_share(
    open_ledger: Callable[..., ProjectedLedger],
) -> None:
    one, two = open_ledger("omc"), open_ledger("other")
    one.write(*(opened(f"N{number}") for number in range(1, 6)))
    two.write(opened("N1"))
    one.fold()
    two.fold()
    with one.cursor() as cursor:
        found = queries.due(cursor, EXTEND_NOTICE, ["omc", "other"], CLOSES_AT, limit=2)
    assert [(item.ledger, item.item_id) for item in found] == [
        *[("omc", "N1"), ("omc", "N2"), ("other", "N1")]
    ]
    assert due(two) == [found[-1]]


def test_the_backlog_counts_what_is_due_and_what_is_overdue(ledger: ProjectedLedger) -> None:
    for number, day in enumerate((4, 5, 6, 9), 1):
        ledger.write(opened(f"N{number}", ends_on=date(2026, 3, day)))
    ledger.fold()
    [row] = backlog(ledger, CLOSES_AT, CLOSES_AT - timedelta(days=1))
    assert (row["work"], row["due"], row["overdue"]) == (EXTEND_NOTICE, 3, 2)
    assert row["oldest_due_at"] == CLOSES_AT - timedelta(days=2)
    assert row["last_done_at"] is None


def test_the_backlog_says_when_the_service_last_did_something(ledger: ProjectedLedger) -> None:
    ledger.write(opened("N1"), opened("N2"))
    ledger.write(extended("N1", by_the_service=True))
    ledger.write(extended("N2", by_the_service=False))
    ledger.fold()
    [row] = backlog(ledger, CLOSES_AT, CLOSES_AT)
    assert (row["due"], row["overdue"], row["oldest_due_at"]) == (0, 0, None)
    assert row["last_done_at"] <= datetime.now(UTC)
    assert ledger.row("worklist_done")["items"] == 1

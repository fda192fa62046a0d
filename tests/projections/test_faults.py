"""What a view cannot fold pauses that view alone; what breaks in between leaves nothing behind."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg2
import pytest

from domain import events as e
from domain.store.embedded.server import SUPERUSER
from domain.store.journal.records import NewEvent
from projections.catalogue import VIEWS
from projections.certificate_registry import view as certificate_registry
from projections.engine import ledger_projector as follower
from projections.engine.rows import RowBuffer
from projections.engine.view import Entry, Handles
from projections.refund_ledger import view as refund_ledger
from projections.score_board import view as score_board
from tests.projections.engine.test_runner import running
from tests.projections.grammar import Book
from tests.support.journeys import a_paid_application, an_open_book
from tests.support.postgres import Database
from tests.support.waiting import wait_until
from tests.support.world import START

ACTOR = {"subject": "li", "role": "finance", "organisation": "omc", "on_behalf_of": None}


def draft(topic: str, stream: str = "odd", version: int = 1, **data: Any) -> NewEvent:
    """An event as somebody else's program might have written it."""
    number = uuid5(NAMESPACE_URL, f"{stream}/{version}/{topic}")
    return NewEvent(
        stream=stream,
        version=version,
        topic=topic,
        event_id=number,
        occurred_at=START + timedelta(days=1),
        actor=ACTOR,
        command_id=number,
        correlation_id=number,
        causation_id=None,
        data=data,
    )


POISON = draft("refund_approved.v1", application_id="A1", refund_no="NEVER-ORDERED")
"""A refund approved that was never ordered: makes no sense to the refund ledger alone."""


def paused(book: Book) -> dict[str, tuple[int, str, str]]:
    """View -> (position, topic, reason) of what is paused."""
    sql = "SELECT view, position, topic, reason FROM views.pauses WHERE ledger = %s"
    return {view: tuple(rest) for view, *rest in book.execute(sql, (book.ledger,))}


def test_an_event_that_makes_no_sense_pauses_its_view_at_that_very_event(book: Book) -> None:
    world = a_paid_application()
    book.told(world)
    poisoned = book.write(POISON)
    a_paid_application(2, world)
    book.told(world)
    book.fold()
    head = book.journal.head().position
    assert book.position("refund_ledger") == poisoned - 1
    assert book.position("score_board") == book.position("certificate_registry") == head
    position, topic, reason = paused(book)["refund_ledger"]
    assert (position, topic) == (poisoned, "refund_approved.v1")
    assert "refunds has no row A1/NEVER-ORDERED" in reason
    assert len(book.rows("refund_lines")) == 2, "the events before it are all folded"
    assert set(paused(book)) == {"refund_ledger"}


def test_an_unknown_topic_stops_every_view_of_the_ledger(book: Book) -> None:
    book.told(an_open_book())
    position = book.write(draft("moon_landed.v1", anything="at all"))
    book.fold()
    for view in VIEWS:
        assert book.position(view.name) == position - 1
        assert paused(book)[view.name][2] == f"unknown topic moon_landed.v1 at position {position}"


def test_a_pause_shows_in_the_states_and_the_others_go_on(book: Book, dsn: str) -> None:
    world = a_paid_application()
    book.told(world)
    poisoned = book.write(POISON)
    with running(dsn) as watched:
        assert watched.wait_for("omc", "score_board", poisoned, timeout_seconds=10)
        wait_until(lambda: paused(book))
        states = {state.view: state for state in watched.view_states()}
        assert states["refund_ledger"].state == "paused"
        assert states["refund_ledger"].failing_position == poisoned
        assert states["refund_ledger"].failing_topic == "refund_approved.v1"
        assert states["refund_ledger"].lag == 1
        assert states["score_board"].state == "following"
        a_paid_application(2, world)
        book.told(world)
        head = book.journal.head().position
        assert watched.wait_for("omc", "score_board", head, timeout_seconds=10)
        assert not watched.wait_for("omc", "refund_ledger", head, timeout_seconds=0.1)


def test_a_paused_view_goes_on_once_its_fault_is_mended(open_book: Any, dsn: str) -> None:
    mended: list[bool] = []

    def faulty(rows: RowBuffer, entry: Entry) -> None:
        if not mended:
            raise ValueError("not yet")
        refund_ledger.VIEW.handles[entry.topic].fold(rows, entry)

    folds = dict(refund_ledger.VIEW.handles)
    folds[e.FeePaid.TOPIC] = Handles(faulty)
    views = (score_board.VIEW, replace(refund_ledger.VIEW, handles=folds))
    book = open_book(views=views)
    book.told(a_paid_application())
    with running(dsn, views=views, retry_seconds=0.2) as watched:
        wait_until(lambda: paused(book))
        mended.append(True)
        head = book.journal.head().position
        assert watched.wait_for("omc", "refund_ledger", head, timeout_seconds=10)
        wait_until(lambda: not paused(book))
        assert len(book.rows("refund_lines")) == 2


def test_a_pause_survives_the_program_and_is_tried_again_at_its_start(book: Book) -> None:
    book.told(a_paid_application())
    poisoned = book.write(POISON)
    book.fold()
    before = book.execute("SELECT since FROM views.pauses")
    book.fold()
    assert book.execute("SELECT since FROM views.pauses") == before, "it is the same pause"
    assert paused(book)["refund_ledger"][0] == poisoned


def test_a_reason_never_shows_what_stood_in_the_event(book: Book) -> None:
    """A database error quotes the row; the row may hold somebody's name."""
    name = "欧阳娜娜"
    try:
        book.execute("INSERT INTO views.pauses VALUES ('omc', %s, 1, 't', NULL)", (name,))
    except psycopg2.Error as error:
        assert name in str(error)
        assert name not in follower.told(error)
        assert "null value" in follower.told(error)


def test_nothing_remains_of_a_batch_that_is_broken_before_its_commit(
    open_book: Any, database: Database
) -> None:
    """Rows and positions of two views are written; then the server drops the connection."""
    broken: list[int] = []

    def pulls_the_plug(rows: RowBuffer, entry: Entry) -> None:
        if not broken:
            broken.append(book.connection.info.backend_pid)
            sql = "SELECT pg_terminate_backend(%s, 5000)"
            database.execute(sql, broken[0], user=SUPERUSER)

    last = certificate_registry.VIEW
    folds = dict(last.handles) | {e.ApplicationOpened.TOPIC: Handles(pulls_the_plug)}
    views = (score_board.VIEW, refund_ledger.VIEW, replace(last, handles=folds))
    book = open_book(views=views)
    book.told(a_paid_application())
    before = book.contents()
    with pytest.raises(psycopg2.OperationalError):
        book.fold()
    assert broken
    again = open_book(views=views)
    assert again.contents() == before
    assert [again.position(view.name) for view in views] == [0, 0, 0]
    again.fold()
    assert len(again.rows("refund_lines")) == 2
    assert [r["entry_no"] for r in again.rows("postings", line=1)] == [1]


def test_a_view_that_fails_while_writing_leaves_no_rows_of_the_failed_event(
    open_book: Any,
) -> None:
    def breaks_a_constraint(rows: RowBuffer, entry: Entry) -> None:
        refund_ledger.VIEW.handles[entry.topic].fold(rows, entry)
        if entry.data["payment_id"] == "PAY2":
            line = rows.need(refund_ledger.LINES, "A2", "PAY2", "study_material")
            rows.put(refund_ledger.LINES, {**line, "state": None})

    folds = dict(refund_ledger.VIEW.handles)
    folds[e.FeePaid.TOPIC] = Handles(breaks_a_constraint)
    book = open_book(views=(replace(refund_ledger.VIEW, handles=folds),))
    world = a_paid_application()
    for n in (2, 3):
        a_paid_application(n, world)
    book.told(world).fold()
    assert [row["payment_id"] for row in book.rows("refund_lines")] == ["PAY1", "PAY1"]
    assert len(book.rows("postings")) == 4
    assert "null value" in paused(book)["refund_ledger"][2]


def test_a_zero_character_in_a_text_does_not_stop_a_view(book: Book) -> None:
    """JSON may hold it and a column may not."""
    world = a_paid_application()
    book.told(world)
    book.write(
        draft("refund_entitled.v1", version=1, application_id="A1", clause="2.4(1)",
              lines=[{"payment_id": "PAY1", "component": "study_material", "amount_fen": 1}]),
        draft("refund_ordered.v1", version=2, application_id="A1", refund_no="RPAY1-1",
              payment_id="PAY1", component="study_material", amount_fen=1, provider="wechat",
              provider_transaction_id="4\x00\t\\.\n2", clause="2.4(1)"),
        draft("refund_declined.v1", version=3, application_id="A1", refund_no="RPAY1-1",
              reason="a\x00b\n\\.\n'\"\\\r\t{}"),
    )  # fmt: skip
    book.fold(batch=book.journal.head().position - 1)
    assert paused(book) == {}
    assert book.row("refunds")["reason"] == "a\N{REPLACEMENT CHARACTER}b\n\\.\n'\"\\\r\t{}"


def test_every_fact_is_handled_or_ignored_by_every_view_and_never_both() -> None:
    for view in VIEWS:
        assert set(view.handles) | view.ignores == set(e.CATALOGUE), view.name
        assert not set(view.handles) & view.ignores, view.name


def test_no_two_views_share_a_name_or_a_table() -> None:
    tables = [table.name for view in VIEWS for table in view.tables]
    assert len(set(tables)) == len(tables)
    assert {view.name for view in VIEWS} == {
        "score_board", "refund_ledger", "certificate_registry"
    }  # fmt: skip
    assert certificate_registry.VIEW in VIEWS

"""An event that a view cannot fold pauses that view alone; a broken batch leaves nothing behind.

Covers: projections/engine/ledger_projector.py, projections/engine/failures.py
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg2
import pytest

from domain import events as e
from domain.store.embedded.server import SUPERUSER
from domain.store.journal.records import NewEvent
from domain.values.sealed_fields import parse_placed
from projections.catalogue import VIEWS
from projections.certificate_registry import view as certificate_registry
from projections.engine import failures
from projections.engine.rows import RowBuffer
from projections.engine.view import Entry, Handles
from projections.refund_ledger import view as refund_ledger
from projections.score_board import view as score_board
from tests.projections.engine.test_runner import running
from tests.projections.grammar import ProjectedLedger
from tests.support.journeys import a_paid_application, an_open_ledger
from tests.support.postgres import Database
from tests.support.waiting import wait_until
from tests.support.world import START

ACTOR = {"subject": "li", "role": "finance", "organisation": "omc"} | dict.fromkeys(
    ("on_behalf_of", "authority")
)


def draft(topic: str, stream: str = "odd", version: int = 1, **data: Any) -> NewEvent:
    """An event as another program might have written it."""
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
"""The approval of a refund that was never ordered: only the refund ledger cannot fold it."""


def paused(ledger: ProjectedLedger) -> dict[str, tuple[int, str, str]]:
    """View -> (position, topic, reason) of what is paused."""
    sql = "SELECT view, position, topic, reason FROM views.pauses WHERE ledger = %s"
    return {view: tuple(rest) for view, *rest in ledger.execute(sql, (ledger.name,))}


def test_an_event_that_does_not_fit_pauses_its_view_at_that_event(ledger: ProjectedLedger) -> None:
    world = a_paid_application()
    ledger.record(world)
    poisoned = ledger.write(POISON)
    a_paid_application(2, world)
    ledger.record(world)
    ledger.fold()
    head = ledger.journal.head().position
    assert ledger.position("refund_ledger") == poisoned - 1
    assert ledger.position("score_board") == ledger.position("certificate_registry") == head
    position, topic, reason = paused(ledger)["refund_ledger"]
    assert (position, topic) == (poisoned, "refund_approved.v1")
    assert "refunds has no row A1/NEVER-ORDERED" in reason
    assert len(ledger.rows("refund_lines")) == 2, "the events before it are all folded"
    assert set(paused(ledger)) == {"refund_ledger"}


def test_an_unknown_topic_stops_every_view_of_the_ledger(ledger: ProjectedLedger) -> None:
    ledger.record(an_open_ledger())
    position = ledger.write(draft("moon_landed.v1", anything="at all"))
    ledger.fold()
    for view in VIEWS:
        assert ledger.position(view.name) == position - 1
        assert (
            paused(ledger)[view.name][2] == f"unknown topic moon_landed.v1 at position {position}"
        )


def test_a_pause_shows_in_the_states_while_other_views_advance(
    ledger: ProjectedLedger, dsn: str
) -> None:
    world = a_paid_application()
    ledger.record(world)
    poisoned = ledger.write(POISON)
    with running(dsn) as watched:
        assert watched.wait_until("omc", "score_board", poisoned, timeout_seconds=10)
        wait_until(lambda: paused(ledger))
        states = {state.view: state for state in watched.view_states()}
        assert states["refund_ledger"].state == "paused"
        assert states["refund_ledger"].failing_position == poisoned
        assert states["refund_ledger"].failing_topic == "refund_approved.v1"
        assert states["refund_ledger"].lag == 1
        assert states["score_board"].state == "following"
        a_paid_application(2, world)
        ledger.record(world)
        head = ledger.journal.head().position
        assert watched.wait_until("omc", "score_board", head, timeout_seconds=10)
        assert not watched.wait_until("omc", "refund_ledger", head, timeout_seconds=0.1)


def test_a_paused_view_resumes_once_its_fault_is_fixed(open_ledger: Any, dsn: str) -> None:
    fixed: list[bool] = []

    def faulty(rows: RowBuffer, entry: Entry) -> None:
        if not fixed:
            raise ValueError("not yet")
        refund_ledger.VIEW.handles[entry.topic].fold(rows, entry)

    folds = dict(refund_ledger.VIEW.handles)
    folds[e.FeePaid.TOPIC] = Handles(faulty)
    views = (score_board.VIEW, replace(refund_ledger.VIEW, handles=folds))
    ledger = open_ledger(views=views)
    ledger.record(a_paid_application())
    with running(dsn, views=views, retry_seconds=0.2) as watched:
        wait_until(lambda: paused(ledger))
        fixed.append(True)
        head = ledger.journal.head().position
        assert watched.wait_until("omc", "refund_ledger", head, timeout_seconds=10)
        wait_until(lambda: not paused(ledger))
        assert len(ledger.rows("refund_lines")) == 2


def test_a_pause_survives_a_restart_and_is_retried_then(ledger: ProjectedLedger) -> None:
    ledger.record(a_paid_application())
    poisoned = ledger.write(POISON)
    ledger.fold()
    before = ledger.execute("SELECT since FROM views.pauses")
    ledger.fold()
    assert ledger.execute("SELECT since FROM views.pauses") == before, "it is the same pause"
    assert paused(ledger)["refund_ledger"][0] == poisoned


def test_a_reason_contains_no_data_of_the_event(ledger: ProjectedLedger) -> None:
    """A database error quotes the row; the row may hold somebody's name."""
    name = "欧阳娜娜"
    try:
        ledger.execute("INSERT INTO views.pauses VALUES ('omc', %s, 1, 't', NULL)", (name,))
    except psycopg2.Error as error:
        assert name in str(error)
        assert name not in failures.safe_message(error)
        assert "null value" in failures.safe_message(error)


def test_nothing_remains_of_a_batch_that_is_broken_before_its_commit(
    open_ledger: Any, database: Database
) -> None:
    """Rows and positions of two views are written; then the server drops the connection."""
    broken: list[int] = []

    def kills_the_connection(rows: RowBuffer, entry: Entry) -> None:
        if not broken:
            broken.append(ledger.connection.info.backend_pid)
            sql = "SELECT pg_terminate_backend(%s, 5000)"
            database.execute(sql, broken[0], user=SUPERUSER)

    last = certificate_registry.VIEW
    folds = dict(last.handles) | {e.ApplicationOpened.TOPIC: Handles(kills_the_connection)}
    views = (score_board.VIEW, refund_ledger.VIEW, replace(last, handles=folds))
    ledger = open_ledger(views=views)
    ledger.record(a_paid_application())
    before = ledger.contents()
    with pytest.raises(psycopg2.OperationalError):
        ledger.fold()
    assert broken
    again = open_ledger(views=views)
    assert again.contents() == before
    assert [again.position(view.name) for view in views] == [0, 0, 0]
    again.fold()
    assert len(again.rows("refund_lines")) == 2
    assert [r["entry_no"] for r in again.rows("postings", line=1)] == [1]


def test_a_view_that_fails_while_writing_leaves_no_rows_of_the_failed_event(
    open_ledger: Any,
) -> None:
    def breaks_a_constraint(rows: RowBuffer, entry: Entry) -> None:
        refund_ledger.VIEW.handles[entry.topic].fold(rows, entry)
        if entry.data["payment_id"] == "PAY2":
            line = rows.require(refund_ledger.LINES, "A2", "PAY2", "study_material")
            rows.upsert(refund_ledger.LINES, {**line, "state": None})

    folds = dict(refund_ledger.VIEW.handles)
    folds[e.FeePaid.TOPIC] = Handles(breaks_a_constraint)
    ledger = open_ledger(views=(replace(refund_ledger.VIEW, handles=folds),))
    world = a_paid_application()
    for n in (2, 3):
        a_paid_application(n, world)
    ledger.record(world).fold()
    assert [row["payment_id"] for row in ledger.rows("refund_lines")] == ["PAY1", "PAY1"]
    assert len(ledger.rows("postings")) == 4
    assert "null value" in paused(ledger)["refund_ledger"][2]


def test_a_zero_character_in_a_text_does_not_stop_a_view(ledger: ProjectedLedger) -> None:
    """JSON may hold it and a column may not."""
    world = a_paid_application()
    ledger.record(world)
    ledger.write(
        draft("refund_entitled.v1", version=1, application_id="A1", clause="2.4(1)",
              lines=[{"payment_id": "PAY1", "component": "study_material", "amount_fen": 1}]),
        draft("refund_ordered.v1", version=2, application_id="A1", refund_no="RPAY1-1",
              payment_id="PAY1", component="study_material", amount_fen=1, provider="wechat",
              provider_transaction_id="4\x00\t\\.\n2", clause="2.4(1)",
              channel_id="main"),
        draft("refund_declined.v1", version=3, application_id="A1", refund_no="RPAY1-1",
              reason={"key": "person/P1/remarks/1", "sealed": "a\x00b\n\\.\n'\"\\\r\t{}"}),
    )  # fmt: skip
    ledger.fold(batch=ledger.journal.head().position - 1)
    assert paused(ledger) == {}
    refund = ledger.row("refunds")
    assert refund["provider_transaction_id"] == "4\N{REPLACEMENT CHARACTER}\t\\.\n2"
    placed = parse_placed(refund["reason"])
    assert placed is not None
    assert placed[3]["sealed"] == "a\x00b\n\\.\n'\"\\\r\t{}"

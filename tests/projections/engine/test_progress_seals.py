"""A view whose stored progress was moved skips no event: it pauses, and says so.

Covers: projections/engine/progress_seals.py, projections/engine/ledger_projector.py,
projections/engine/health.py
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from domain.store.errors import ViewWrong
from domain.store.postgres.connection import connect
from projections.catalogue import VIEWS
from projections.engine.catch_up import Stalled, catch_up
from projections.engine.health import ViewState, view_states
from projections.engine.progress_seals import StoredProgress, check_progress, progress_seal
from projections.rebuild import rebuild
from projections.rebuild.rebuild import replace
from tests.projections.engine.test_runner import Watched, running, wait_for_all
from tests.projections.grammar import ProjectedLedger
from tests.support import tampering
from tests.support.journeys import a_paid_application, an_open_ledger
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

KEYS = (b"k" * 32,)
LEAF, OTHER_LEAF = b"l" * 32, b"m" * 32
SEAL = progress_seal(KEYS, "omc", "board", 3, 7, LEAF)
VIEW = "refund_ledger"


def right(**changed: Any) -> tuple[Any, ...]:
    """The arguments of `check_progress`, right unless changed."""
    made = {"keys": KEYS, "ledger": "omc", "view": "board", "generation": 3}
    given = {**made, "position": 7, "leaf": LEAF, "seal": SEAL, "in_journal": LEAF, **changed}
    stored = StoredProgress(*(given[each] for each in ("position", "leaf", "seal", "in_journal")))
    return given["keys"], given["ledger"], given["view"], given["generation"], stored


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"keys": (b"n" * 32, *KEYS)},
        {"position": 0, "leaf": None, "seal": None, "in_journal": None},
    ],
)
def test_progress_as_it_was_stored_is_right(changed: dict[str, Any]) -> None:
    check_progress(*right(**changed))
    with pytest.raises(ViewWrong):
        check_progress(*right(**changed | {"position": 8}))


@pytest.mark.parametrize(
    "changed",
    [
        {"ledger": "other"},
        {"view": "refunds"},
        {"generation": 4},
        {"position": 8},
        {"leaf": OTHER_LEAF, "in_journal": OTHER_LEAF},
        {"in_journal": OTHER_LEAF},
        {"in_journal": None},
        {"leaf": None},
        {"seal": None},
        {"seal": b"s" * 32},
        {"keys": (b"n" * 32,)},
    ],
)
def test_any_other_progress_is_wrong(changed: dict[str, Any]) -> None:
    with pytest.raises(ViewWrong):
        check_progress(*right(**changed))


# --- in a database --------------------------------------------------------------------------------


def move(database: Database, where: str, position: str) -> None:
    """Move progress as a superuser, with the leaf hash that belongs there."""
    with tampering.superuser(database) as cursor:
        cursor.execute(
            f"UPDATE certledger.tracking t SET position = {position}, leaf_hash = j.leaf_hash "
            f"FROM certledger.journal j WHERE {where} AND j.ledger = t.ledger "
            f"AND j.position = {position}"
        )


def states(watched: Watched) -> dict[str, ViewState]:
    with closing(connect(watched.dsn)) as connection, connection.cursor() as cursor:
        found = view_states(cursor, VIEWS, SECRETS.sealer.row_keys())
    return {state.view: state for state in found}


def test_a_view_that_was_moved_while_the_runner_runs_pauses_until_it_is_rebuilt(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    world = an_open_ledger()
    ledger.record(world)
    before = ledger.journal.head().position
    with running(dsn, retry_seconds=0.2) as watched:
        wait_for_all(watched, ledger, before)
        a_paid_application(1, world)
        move(database, f"view = '{VIEW}'", "2")  # there is no event yet to move it to
        ledger.record(world)
        wait_until(lambda: states(watched)[VIEW].is_wrong)
        assert states(watched)[VIEW].state == "paused"
        head = ledger.journal.head().position
        others = [view.name for view in VIEWS if view.name != VIEW]
        wait_until(lambda: all(states(watched)[name].position == head for name in others))
        assert ledger.rows("refund_lines") == []
        replace(dsn, SECRETS, [view for view in VIEWS if view.name == VIEW], processes=1)
        wait_until(lambda: states(watched)[VIEW].state == "following")
        assert len(ledger.rows("refund_lines")) == 2
        a_paid_application(2, world)
        ledger.record(world)
        wait_until(lambda: len(ledger.rows("refund_lines")) == 4)


def test_a_view_that_was_moved_ahead_at_rest_skips_no_event(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    world = an_open_ledger()
    ledger.record(world).fold()
    a_paid_application(1, world)
    ledger.record(world)
    head = ledger.journal.head().position
    move(database, f"view = '{VIEW}'", str(head))
    with running(dsn) as watched:
        wait_until(lambda: states(watched)[VIEW].is_wrong)
        wait_until(lambda: states(watched)["score_board"].position == head)
        a_paid_application(2, world)
        ledger.record(world)
        wait_until(lambda: states(watched)["score_board"].lag == 0)
        assert ledger.rows("refund_lines") == [], "nothing of what follows, either"
    with pytest.raises(Stalled, match="view_wrong"):
        catch_up(dsn, SECRETS, "omc", VIEWS, 30)


def test_the_progress_of_one_view_is_not_that_of_another(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    ledger.record(an_open_ledger()).fold()
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.tracking t SET seal = o.seal FROM certledger.tracking o "
            f"WHERE t.view = '{VIEW}' AND o.view = 'score_board'"
        )
    with running(dsn) as watched:
        wait_until(lambda: states(watched)[VIEW].is_wrong)
        assert not states(watched)["score_board"].is_wrong


def test_new_tables_whose_progress_was_moved_are_not_taken(
    ledger: ProjectedLedger, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the filling of the tables and their swap."""
    world = an_open_ledger()
    ledger.record(world).fold()

    def moved(*given: Any) -> None:
        stored(*given)
        a_paid_application(1, world)
        ledger.record(world)
        move(database, f"view LIKE '{VIEW}@%'", str(ledger.journal.head().position))
        a_paid_application(2, world)
        ledger.record(world)

    stored = rebuild._store_positions
    monkeypatch.setattr(rebuild, "_store_positions", moved)
    with pytest.raises(ViewWrong):
        replace(dsn, SECRETS, [view for view in VIEWS if view.name == VIEW], processes=1)
    ledger.fold()
    assert len(ledger.rows("refund_lines")) == 4

"""No view folds what has no right seal; each pauses there, and says so, while the others wait.

Covers: projections/engine/journal_reader.py, projections/engine/ledger_projector.py,
projections/engine/row_seals.py
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

from domain.store.errors import SealBroken
from domain.store.postgres.connection import Cursor
from projections.catalogue import VIEWS
from projections.rebuild.rebuild import check, replace
from tests.projections.engine.test_runner import Watched, running, wait_for_all
from tests.projections.grammar import ProjectedLedger
from tests.support import tampering
from tests.support.journeys import a_paid_application, an_open_ledger, issued_certificates
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

Tamper = Callable[[Cursor], Any]

AT_REST: dict[str, Tamper] = {
    "altered": lambda c: tampering.alter(c, 5, organisation_name="x"),
    "swapped": lambda c: tampering.swap(c, 5, 6),
    "deleted": lambda c: tampering.delete(c, 5),
    "topic of an ignored event": lambda c: c.execute(
        "UPDATE certledger.journal SET topic = 'report_frozen.v1' WHERE position = 5"
    ),
    "sealed by a key with a longer name": lambda c: c.execute(
        "ALTER TABLE certledger.journal DROP CONSTRAINT journal_seal_key_check; "
        "UPDATE certledger.journal SET seal_key = seal_key || '0123' WHERE position = 5"
    ),
    "sealed by an unknown key": lambda c: c.execute(
        "UPDATE certledger.journal SET seal_key = '00000000' WHERE position = 5"
    ),
}
by_superuser = pytest.mark.parametrize("tamper", AT_REST.values(), ids=AT_REST.keys())


def paused_views(watched: Watched) -> list[tuple[str, int, int | None]]:
    return [
        (state.view, state.position, state.failing_position)
        for state in watched.view_states()
        if state.state == "paused" and state.is_seal_missing
    ]


def all_paused(after: int) -> list[tuple[str, int, int]]:
    return sorted((view.name, after, after + 1) for view in VIEWS)


@by_superuser
def test_every_view_pauses_before_an_event_that_was_tampered_with(
    ledger: ProjectedLedger,
    dsn: str,
    database: Database,
    tamper: Tamper,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger.record(issued_certificates())
    with tampering.superuser(database) as cursor:
        tamper(cursor)
    with running(dsn) as watched:
        wait_until(lambda: paused_views(watched) == all_paused(4))
        assert ledger.rows("certificates") == []
        reasons = {state.reason for state in watched.view_states()}
        assert len(reasons) == 1
        reason = reasons.pop()
    assert reason.startswith("seal_missing: The event at position 5 of ledger omc")
    assert f"view worklist of ledger omc is paused at position 5: {reason}" in caplog.messages


def test_a_forged_reinstatement_is_not_folded_while_the_runner_runs(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    """With the application role alone, head and all."""
    ledger.record(issued_certificates())
    head = ledger.journal.head().position
    with running(dsn) as watched:
        wait_for_all(watched, ledger, head)
        with tampering.application_role(database) as cursor:
            cursor.execute("SELECT max(version) FROM certledger.journal WHERE stream = %s",
                           ("application-A1",))  # fmt: skip
            version = cursor.fetchone()[0]  # type: ignore[index]
            tampering.insert(
                cursor,
                "application-A1",
                version + 1,
                "certificate_revoked.v1",
                application_id="A1",
                kind="national",
                reason_class="holder_request",
                reason="forged",
            )
            tampering.move_head(cursor)
            cursor.execute("NOTIFY certledger, 'omc'")
        began = time.monotonic()
        wait_until(lambda: paused_views(watched) == all_paused(head))
        assert time.monotonic() - began < 2
        standings = {row["standing"] for row in ledger.rows("certificates")}
        assert standings == {"valid"}


def test_a_view_goes_on_when_the_event_is_right_again(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    world = an_open_ledger()
    ledger.record(world)
    a_paid_application(1, world)
    ledger.record(world)
    head = ledger.journal.head().position
    before = database.execute("SELECT seal FROM certledger.journal WHERE position = 4")[0][0]
    with tampering.superuser(database) as cursor:
        cursor.execute("UPDATE certledger.journal SET seal = sha256('x') WHERE position = 4")
    with running(dsn, retry_seconds=0.2) as watched:
        wait_until(lambda: paused_views(watched) == all_paused(3))
        with tampering.superuser(database) as cursor:
            cursor.execute("UPDATE certledger.journal SET seal = %s WHERE position = 4", (before,))
        wait_for_all(watched, ledger, head)
        assert paused_views(watched) == []


def test_an_event_altered_after_it_was_folded_changes_no_row(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    world = issued_certificates()
    ledger.record(world)
    with running(dsn) as watched:
        wait_for_all(watched, ledger, ledger.journal.head().position)
        rows = ledger.rows("certificates")
        with tampering.superuser(database) as cursor:
            tampering.alter(cursor, 5, organisation_name="x")
        a_paid_application(2, world)
        ledger.record(world)
        wait_for_all(watched, ledger, ledger.journal.head().position)
        assert ledger.rows("certificates") == rows


@by_superuser
@pytest.mark.parametrize("rebuild", [check, replace])
def test_no_rebuild_folds_an_event_that_was_tampered_with(
    ledger: ProjectedLedger, dsn: str, database: Database, tamper: Tamper, rebuild: Any
) -> None:
    ledger.record(issued_certificates()).fold()
    rows = ledger.rows("certificates")
    with tampering.superuser(database) as cursor:
        tamper(cursor)
    with pytest.raises(SealBroken, match="position 5"):
        rebuild(dsn, SECRETS, processes=1)
    assert ledger.rows("certificates") == rows

"""catch_up brings views to the head once, alongside a running service or a paused view."""

import pytest

from projections.catalogue import VIEWS
from projections.engine.catch_up import Stalled, catch_up
from tests.projections.engine.test_runner import running
from tests.projections.grammar import ProjectedLedger
from tests.projections.test_faults import POISON
from tests.support.journeys import a_paid_application, reported_certificates
from tests.support.ledgers import SECRETS


def test_views_are_at_the_head_when_it_returns(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(reported_certificates())
    catch_up(dsn, SECRETS, "omc", VIEWS, 10)
    head = ledger.journal.head().position
    assert [ledger.position(view.name) for view in VIEWS] == [head] * len(VIEWS)


def test_no_entry_is_folded_twice_alongside_a_running_service(
    ledger: ProjectedLedger, dsn: str
) -> None:
    world = a_paid_application()
    with running(dsn):
        for number in range(2, 8):
            a_paid_application(number, world)
            ledger.record(world)
            catch_up(dsn, SECRETS, "omc", VIEWS, 10)
            assert len(ledger.rows("refund_lines")) == 2 * number


def test_a_paused_view_is_reported_with_its_position(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.record(a_paid_application())
    poisoned = ledger.write(POISON)
    with pytest.raises(Stalled, match=f"refund_ledger is paused at position {poisoned}"):
        catch_up(dsn, SECRETS, "omc", VIEWS, 10)

"""Views brought up to date once, in the foreground: beside a service, or when one stands still."""

import pytest

from projections.catalogue import VIEWS
from projections.engine.catch_up import Stalled, bring_up
from tests.projections.engine.test_runner import running
from tests.projections.grammar import Book
from tests.projections.test_faults import POISON
from tests.support.journeys import a_paid_application, reported_certificates
from tests.support.ledgers import SECRETS


def test_views_are_at_the_head_when_it_returns(book: Book, dsn: str) -> None:
    book.told(reported_certificates())
    bring_up(dsn, SECRETS, "omc", VIEWS, 10)
    head = book.journal.head().position
    assert [book.position(view.name) for view in VIEWS] == [head] * 3


def test_it_and_a_service_fold_no_entry_twice(book: Book, dsn: str) -> None:
    world = a_paid_application()
    with running(dsn):
        for number in range(2, 8):
            a_paid_application(number, world)
            book.told(world)
            bring_up(dsn, SECRETS, "omc", VIEWS, 10)
            assert len(book.rows("refund_lines")) == 2 * number


def test_a_view_that_cannot_go_on_is_named_with_its_position(book: Book, dsn: str) -> None:
    book.told(a_paid_application())
    poisoned = book.write(POISON)
    with pytest.raises(Stalled, match=f"refund_ledger is paused at position {poisoned}"):
        bring_up(dsn, SECRETS, "omc", VIEWS, 10)

"""What is known of wrong views is known by who found it.

Covers: projections/engine/wrong_views.py
"""

from __future__ import annotations

import pytest

from domain.store.errors import ViewWrong
from projections.engine.wrong_views import EVERY_LEDGER, WrongViews


def test_a_view_is_wrong_in_the_ledger_where_it_was_found_wrong() -> None:
    wrong = WrongViews()
    wrong.check("board", "omc")
    wrong.set("audit", [("board", "omc")])
    for view, ledger in (("board", "other"), ("refunds", "omc")):
        wrong.check(view, ledger)
    with pytest.raises(ViewWrong):
        wrong.check("board", "omc")


def test_what_one_finder_no_longer_finds_is_wrong_while_another_does() -> None:
    wrong = WrongViews()
    wrong.set("audit", [("board", "omc")])
    wrong.set("progress", [("board", "omc"), ("board", "b")])
    wrong.set("audit", [])
    assert wrong.all == {("board", "omc"), ("board", "b")}
    wrong.set("progress", [])
    wrong.check("board", "omc")


def test_that_there_is_no_row_is_not_said_while_one_may_be_missing() -> None:
    wrong = WrongViews()
    wrong.check_absence("board")
    wrong.set("audit", [("board", "omc")])
    wrong.check_absence("refunds")
    with pytest.raises(ViewWrong):
        wrong.check_absence("board")


def test_a_view_may_be_wrong_in_every_ledger() -> None:
    wrong = WrongViews()
    wrong.set("audit", [("board", EVERY_LEDGER)])
    assert wrong.concerns("board", "omc")
    assert not wrong.concerns("refunds", "omc")

"""Positions of views only grow, until a journal loses a part of its history."""

from __future__ import annotations

from projections.engine.progress import Positions


def test_a_position_that_was_reached_stays_reached():
    positions = Positions()
    positions.advance([("omc", "score_board", 9)])
    positions.advance([("omc", "score_board", 7)])
    assert positions.when_reached("omc", "score_board", 9).result(0) == 9


def test_after_a_loss_a_reader_waits_for_the_new_events():
    positions = Positions()
    positions.advance([("omc", "score_board", 9), ("other", "score_board", 5)])
    positions.forget("omc")
    waiting = positions.when_reached("omc", "score_board", 8)
    positions.advance([("omc", "score_board", 7)])
    assert not waiting.done()
    positions.advance([("omc", "score_board", 8)])
    assert waiting.result(0) == 8
    assert positions.when_reached("other", "score_board", 5).done()

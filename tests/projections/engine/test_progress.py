"""Positions of views only grow, until a journal loses a part of its history."""

from __future__ import annotations

import pytest

from projections.catalogue import VIEWS
from projections.engine.progress import Positions, ProgressTracker, from_payload, to_payload
from projections.engine.vaults import row_keys_of
from tests.projections.grammar import ProjectedLedger
from tests.support import tampering
from tests.support.journeys import an_open_ledger
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.waiting import wait_until

KEYS = (b"k" * 32, b"r" * 32)


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


def test_an_announced_position_is_read_with_its_seal():
    payload = to_payload(KEYS, "omc", [("score_board", 9), ("refund_ledger", 9)])
    expected = [("omc", "score_board", 9), ("omc", "refund_ledger", 9)]
    assert from_payload(KEYS, payload) == expected
    assert from_payload((), payload) == expected, "nothing is checked without a key"
    assert from_payload((), to_payload((), "omc", [("score_board", 9)])) == expected[:1]


@pytest.mark.parametrize(
    "forged",
    [
        "",
        " ",
        "omc score_board=9",
        "- omc score_board=9",
        f"{'0' * 64} omc score_board=9",
        "x omc score_board=9",
        to_payload(KEYS, "omc", [("score_board", 8)]).replace("=8", "=9"),
        to_payload(KEYS, "zju", [("score_board", 9)]).replace("zju", "omc"),
        to_payload(KEYS[1:], "omc", [("score_board", 9)]),
        to_payload(KEYS, "omc", [("score_board", 9)]) + " refund_ledger=9",
    ],
)
def test_a_position_without_a_right_seal_is_not_believed(forged: str):
    """Neither one under a retired key: that may be of a history that is lost."""
    assert from_payload(KEYS, forged) == []


@pytest.mark.parametrize("progress", ["score_board=²", f"a={'9' * 5000}", "a", "a=", "=", ""])
def test_no_payload_stops_the_listener(progress: str):
    """Also where the seal is not checked."""
    assert from_payload((), f"- omc {progress}") == []


def test_a_position_that_was_moved_ahead_for_a_moment_is_not_believed(
    ledger: ProjectedLedger, dsn: str, database: Database
) -> None:
    """Positions never go back, so that one glance would be enough."""
    ledger.record(an_open_ledger()).fold()
    head = ledger.journal.head().position
    keys = row_keys_of(SECRETS)
    with tampering.superuser(database) as cursor:
        cursor.execute(
            "UPDATE certledger.tracking SET position = position + 1 WHERE view = 'score_board'"
        )
    with ProgressTracker(dsn, VIEWS, keys, poll_seconds=0.1) as progress:
        assert progress.wait_until("omc", "refund_ledger", head), "it has read what is stored"
        ahead = progress.when_reached("omc", "score_board", head)
        with tampering.superuser(database) as cursor:
            cursor.execute("UPDATE certledger.tracking SET position = %s", (head,))
        wait_until(ahead.done)
        assert ahead.result() == head

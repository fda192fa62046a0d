"""A head continues what was seen before, or the history is reported as lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.store.journal.last_seen import LastSeen
from domain.store.journal.records import Head

NOW = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


def head(position: int, leaf: bytes = b"a") -> Head:
    return Head(position, NOW, leaf * 32 if position else None)


def compare(
    before: Head, after: Head, leaf: bytes | None = b"a" * 32, *, reconnected: bool = True
) -> tuple[bool, list[str]]:
    """Whether a head continues another one, and what was reported; leaf: now at its position."""
    seen, reported = LastSeen(), []
    seen.lost = reported.append
    seen.advance(before)
    same = seen.compare(seen.head, after, lambda _: leaf, reconnected=reconnected)
    assert seen.head == after
    return same, reported


def test_a_head_that_grew_from_the_event_last_seen_continues_it():
    assert compare(head(5), head(5)) == (True, [])
    assert compare(head(5), head(9, b"b")) == (True, [])
    assert compare(head(0), head(9, b"b"), None) == (True, [])


@pytest.mark.parametrize(
    ("after", "leaf"),
    [(head(4), b"a" * 32), (head(5, b"b"), b"b" * 32), (head(9), b"b" * 32), (head(9), None)],
    ids=["shorter", "another event", "grown from another event", "a gap"],
)
def test_a_head_that_does_not_continue_it_is_reported_once(after: Head, leaf: bytes | None):
    same, reported = compare(head(5), after, leaf)
    assert not same
    assert len(reported) == 1


def test_on_the_same_connection_the_event_last_seen_is_not_read_again():
    def never(_: int) -> bytes:
        raise AssertionError

    seen = LastSeen()
    seen.advance(head(5))
    assert seen.compare(seen.head, head(9, b"b"), never, reconnected=False)


def test_an_older_head_that_was_committed_late_does_not_go_back():
    seen = LastSeen()
    seen.advance(head(9))
    seen.advance(head(5))
    assert seen.head == head(9)

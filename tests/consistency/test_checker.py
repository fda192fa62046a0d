"""The checker finds every kind of violation, and none in a correct history.

Covers: tests/consistency/checker.py, tests/consistency/store_spec.py,
tests/consistency/journal_invariants.py
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.consistency.checker import check
from tests.consistency.handwritten_histories import MORNING, History, made
from tests.consistency.history import NotDone, Operation, Refused, Replayed, Shown, Wrote
from tests.consistency.store_spec import Ask, StoreRead, StoreSpec, plain

NUMBER = ("number", "1")


def ask(mark: str, *streams: str, **more: Any) -> Ask:
    """An append of the next events of these streams."""
    return Ask(mark, tuple((stream, None) for stream in streams or ("a",)), **more)


def a_correct_history() -> History:
    """Two clients, sequential and concurrent, with every kind of answer."""
    history = History()
    history.wrote(ask("x1", "a", key="k1"), 0, 1)
    history.wrote(ask("y1", "a", "b", claims=(NUMBER,)), 0.5, 3, "y")
    history.replayed(ask("x2", "a", key="k1"), 2, 3)
    stale = {"stream": "a", "expected": 1, "actual": 2}
    history.answered(Ask("x3", (("a", 1),)), Refused("stale_stream", stale), 4, 5)
    history.wrote(ask("y2", "b", releases=(NUMBER,)), 4, 6, "y")
    history.unknown(ask("x4", "c", key="k4"), 6, 7)
    history.append(ask("x5", "c", key="k5"))
    history.unknown(ask("x5", "c", key="k5"), 8, None)
    history.answered(ask("x6", "c"), NotDone("overloaded"), 8, 9)
    history.saw("head", None, 4, 7, 9)
    history.saw("head", None, 5, 7, 9)
    history.wrote(ask("y3", "p", person="p1"), 10, 11, "y")
    history.wrote(ask("y4", "p", person="p1", erase=True), 12, 13, "y")
    history.answered(
        ask("x7", "p", person="p1"), Refused("person_erased", {"person": "p1"}), 14, 15
    )
    history.saw("page", (0, 2), tuple(map(plain, history.events[:2])), 16, 17)
    history.saw("stream", "b", tuple(plain(e) for e in history.events if e.stream == "b"), 16, 17)
    return history


def test_a_correct_history_has_no_violations() -> None:
    assert a_correct_history().kinds() == set()


# --- appends --------------------------------------------------------------------------------------


def test_a_lost_acknowledged_append_is_found() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 1)
    history.wrote(ask("x2"), 2, 3)
    history.events.pop()
    assert history.kinds() == {"lost append"}


def test_a_duplicate_append_is_found() -> None:
    history = History()
    history.wrote(ask("x1", "a"), 0, 1)
    history.wrote(ask("x2", "b"), 2, 3)
    history.events.append(made(3, "a", 2, history.events[0].data, event_id="another"))
    assert history.kinds() == {"duplicate append"}


def test_an_append_duplicated_in_a_row_is_found() -> None:
    history = History()
    history.wrote(ask("x1", "a"), 0, 1)
    history.events.append(made(2, "a", 2, history.events[0].data, event_id="another"))
    assert "decided wrongly" in history.kinds()


@pytest.mark.parametrize("missing", [1, 2])
def test_a_torn_append_is_found(missing: int) -> None:
    history = History()
    whole = ask("x1", "a", "b", "c")
    history.append(whole)
    history.unknown(whole, 0, 1)
    del history.events[-missing:]
    assert history.kinds() == {"decided wrongly"}


def test_a_command_row_with_a_wrong_span_is_found() -> None:
    history = History()
    history.wrote(ask("x1", "a", "b", key="k"), 0, 1)
    history.commands[0] = replace(history.commands[0], last_position=1)
    assert history.kinds() == {"command row differs"}


def test_an_answer_that_differs_by_a_byte_is_found() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 1)
    history.change(1, occurred_at=history.events[0].parsed["occurred_at"], correlation_id="changed")
    assert history.kinds() == {"wrong answer"}


@pytest.mark.parametrize(
    "answer",
    [
        Refused("stale_stream", {"stream": "a", "expected": 0, "actual": 1}),
        NotDone("journal_unavailable"),
    ],
)
def test_a_recorded_refused_append_is_found(answer: Refused | NotDone) -> None:
    history = History()
    history.append(ask("x1"))
    history.answered(ask("x1"), answer, 0, 1)
    assert history.kinds() >= {"refused, but recorded"}


def test_an_event_without_a_request_is_found() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 1)
    history.append(ask("z1", "z"))
    assert history.kinds() >= {"event from nobody"}


def test_an_unknown_append_may_be_recorded_or_not() -> None:
    history = History()
    history.unknown(ask("x1", "a"), 0, 1)
    assert history.kinds() == set()
    history.append(ask("x1", "a"))
    assert history.kinds() == set()


# --- decisions ------------------------------------------------------------------------------------


def test_a_version_given_twice_is_found() -> None:
    history = History()
    history.wrote(Ask("x1", (("a", 0),)), 0, 1)
    history.answered(Ask("x2", (("a", 0),)), history.operations[0].answer, 0, 1, "y")
    assert history.kinds() == {"lost append"}
    history.events.append(made(2, "a", 1, history.events[0].data | {"mark": "x2"}))
    assert history.kinds() == {"versions not dense"}


def test_an_execution_on_a_phantom_state_is_found() -> None:
    history = History()
    history.wrote(ask("x1", "a"), 0, 1)
    history.append(ask("x2", "a"))
    history.unknown(ask("x2", "a"), 2, 3)
    phantom = history.events[1].data["seen"] | {"streams": [[1, "thrown away"]]}
    history.change(2, data=history.events[1].data | {"seen": phantom})
    assert history.kinds() == {"decided wrongly"}


def test_a_refusal_for_a_state_that_never_existed_is_found() -> None:
    history = History()
    history.wrote(ask("x1", "a"), 0, 1)
    stale = {"stream": "a", "expected": 1, "actual": 2}
    history.answered(Ask("x2", (("a", 1),)), Refused("stale_stream", stale), 2, 3)
    assert history.kinds() == {"answer that was never right"}


def test_a_refusal_for_a_past_state_is_found() -> None:
    history = History()
    history.wrote(ask("x1", claims=(NUMBER,)), 0, 1)
    history.wrote(ask("x2", releases=(NUMBER,)), 2, 3)
    taken = {"kind": "number", "key": "1", "position": 1}
    history.answered(ask("y1", claims=(NUMBER,)), Refused("claim_taken", taken), 2, 3, "y")
    assert history.kinds() == set(), "while it is released, both are right"
    history.answered(ask("y2", claims=(NUMBER,)), Refused("claim_taken", taken), 4, 5, "y")
    assert history.kinds() == {"stale answer"}


def test_a_claim_taken_twice_is_found() -> None:
    history = History()
    history.wrote(ask("x1", claims=(NUMBER,)), 0, 1)
    history.wrote(ask("x2"), 2, 3)
    history.operations[1] = replace(history.operations[1], asked=ask("x2", claims=(NUMBER,)))
    assert history.kinds() >= {"decided wrongly"}


def test_a_field_sealed_after_erasure_is_found() -> None:
    history = History()
    history.wrote(ask("x1", person="p1"), 0, 1)
    history.wrote(ask("x2", person="p1", erase=True), 2, 3)
    history.append(ask("x3"))
    history.unknown(ask("x3", person="p1"), 4, 5)
    assert history.kinds() >= {"decided wrongly"}


def test_a_field_sealed_with_a_discarded_key_is_found() -> None:
    history = History()
    history.wrote(ask("x1", person="p1"), 0, 1)
    history.append(ask("x2", person="p1"))
    history.unknown(ask("x2", person="p1"), 2, 3)
    history.change(2, data=history.events[1].data | {"sealed_with": "another key"})
    assert history.kinds() >= {"decided wrongly"}


# --- idempotency ----------------------------------------------------------------------------------


def test_a_replay_with_another_receipt_is_found() -> None:
    history = History()
    history.wrote(ask("x1", key="k"), 0, 1)
    again = history.replayed(ask("x2", key="k"), 2, 3)
    other = Replayed(b"another", again.answer.known)
    history.operations[1] = replace(again, answer=other)
    assert history.kinds() == {"answer that was never right"}


def test_a_retrying_writer_may_replay_its_own_write() -> None:
    history = History()
    history.append(ask("x1", key="k"))
    once = history.replayed(ask("x1", key="k"), 0, 1)
    assert history.kinds() == set()
    history.operations[0] = replace(once, answer=Replayed(b"another", once.answer.known))
    assert history.kinds() == {"wrong answer"}


def test_a_replay_before_the_write_is_found() -> None:
    history = History()
    history.append(ask("x1", key="k"))
    history.replayed(ask("y1", key="k"), 0, 1)
    history.unknown(ask("x1", key="k"), 2, 3)
    assert history.kinds() == {"answer from the future"}


def test_a_key_accepted_twice_is_found() -> None:
    history = History()
    history.wrote(ask("x1", key="k"), 0, 1)
    history.wrote(ask("x2", "b"), 2, 3)
    history.operations[1] = replace(history.operations[1], asked=ask("x2", "b", key="k"))
    assert history.kinds() >= {"decided wrongly"}


def test_a_request_under_a_used_key_has_only_that_refusal() -> None:
    history = History()
    history.wrote(ask("x1", key="k"), 0, 1)
    other = replace(ask("x2", key="k"), request=b"another")
    history.answered(other, Refused("idempotency_key_reused"), 2, 3)
    assert history.kinds() == set()
    stale = {"stream": "a", "expected": 0, "actual": 1}
    history.answered(
        Ask("x3", (("a", 0),), key="k", request=b"another"), Refused("stale_stream", stale), 4, 5
    )
    assert history.kinds() == {"answer that was never right"}


# --- real-time order ------------------------------------------------------------------------------


def test_reordered_commands_are_found() -> None:
    history = History()
    history.wrote(ask("x1", "a"), 2, 3)
    history.wrote(ask("y1", "b"), 0, 1, "y")
    assert history.kinds() == {"order inverted"}


def test_an_unknown_append_may_take_effect_late_but_not_early() -> None:
    history = History()
    late, other = ask("x1", "a"), ask("y1", "b")
    history.wrote(other, 2, 3, "y")
    history.append(late)
    history.unknown(late, 0, 1)
    assert history.kinds() == set(), "its caller gave up long before"
    history.operations.pop()
    history.append(ask("y2", "c"))
    history.wrote(ask("z1", "d"), 4, 5, "z")
    history.unknown(late, 0, 1)
    history.unknown(ask("y2", "c"), 6, 7)
    assert history.kinds() == {"order inverted"}


def test_a_read_without_an_acknowledged_append_is_stale() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 1)
    history.wrote(ask("x2"), 2, 3)
    history.saw("head", None, 1, 4, 5)
    assert history.kinds() == {"stale read"}


def test_a_read_of_a_later_append_is_from_the_future() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 1)
    history.saw("head", None, 2, 2, 3)
    history.wrote(ask("x2"), 4, 5)
    assert history.kinds() == {"read from the future"}


def test_reads_that_go_backwards_are_found() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 9)
    history.saw("head", None, 1, 1, 2)
    history.saw("head", None, 0, 3, 4)
    assert history.kinds() == {"stale read"}


def test_a_read_of_a_state_that_never_existed_is_found() -> None:
    history = History()
    history.wrote(ask("x1", "a", "b"), 0, 1)
    history.saw("head", None, 1, 0, 2)
    assert history.kinds() == {"read that was never right"}, "half an append is never seen"


# --- views ----------------------------------------------------------------------------------------


class SpecWithView(StoreSpec):
    """A view that shows its position."""

    def shows(self, operation: Operation, position: int) -> bool:
        return bool(operation.answer.what == position)


def view_kinds(shown: int, min_position: int, ended: float = 9) -> set[str]:
    """Kinds found if a view shows another position than requested."""
    history = History()
    for n in range(3):
        history.wrote(ask(f"x{n}"), 2 * n, 2 * n + 1)
    history.answered(StoreRead("view"), Shown(shown, min_position), 1, ended)
    return {one.kind for one in check(history.operations, history.stored(), SpecWithView())}


def test_a_view_may_lag_but_not_behind_the_requested_position() -> None:
    assert view_kinds(shown=1, min_position=0) == set()
    assert view_kinds(shown=2, min_position=2) == set()
    assert view_kinds(shown=1, min_position=2) == {"stale read"}


def test_a_view_of_a_later_append_is_from_the_future() -> None:
    assert view_kinds(shown=2, min_position=0, ended=2.5) == set()
    assert view_kinds(shown=2, min_position=0, ended=1.5) == {"read from the future"}


def test_a_view_of_a_state_that_never_existed_is_found() -> None:
    assert view_kinds(shown=7, min_position=0) == {"read that was never right"}


# --- the tables -----------------------------------------------------------------------------------


def test_positions_with_a_gap_are_found() -> None:
    history = History()
    for n in range(3):
        history.wrote(ask(f"x{n}", f"s{n}"), 2 * n, 2 * n + 1)
    del history.events[1]
    assert history.kinds() == {"positions not dense"}


def test_times_that_run_backwards_are_found() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 1)
    history.wrote(ask("x2"), 2, 3)
    before = MORNING - timedelta(hours=1)
    history.change(2, recorded_at=before.isoformat(timespec="microseconds").replace("+00:00", "Z"))
    assert history.kinds() == {"recorded_at runs backwards"}


def test_a_wrong_head_row_is_found() -> None:
    history = a_correct_history()
    assert history.kinds(position=3) == {"head differs"}
    assert history.kinds(recorded_at=MORNING) == {"head differs"}


def test_a_repeated_event_id_is_found() -> None:
    history = History()
    history.wrote(ask("x1", "a"), 0, 1)
    history.wrote(ask("x2", "b"), 2, 3)
    history.change(2, event_id=history.events[0].event_id)
    assert history.kinds() == {"event twice"}


def test_a_row_that_differs_from_its_envelope_is_found() -> None:
    history = History()
    history.wrote(ask("x1"), 0, 1)
    history.events[0] = replace(history.events[0], topic="another.v1")
    assert history.kinds() == {"envelope differs from its row"}
    history.events[0] = replace(history.events[0], leaf_hash=b"another")
    assert history.kinds() == {"leaf hash differs", "envelope differs from its row"}


def test_claims_keys_and_commands_that_differ_from_the_appends_are_found() -> None:
    history = a_correct_history()
    assert history.kinds(claims=set()) == {"claims differ"}
    assert history.kinds(keys={}) == {"keys differ"}
    assert history.kinds(keys={"p1": b"still there"}) == {"keys differ"}
    assert history.kinds(commands=history.commands[1:]) == {"command row differs"}
    twice = [*history.commands, history.commands[0]]
    assert history.kinds(commands=twice) == {"accepted twice"}


def test_a_receipt_acknowledged_twice_as_new_is_found() -> None:
    history = History()
    first = history.wrote(ask("x1", key="k"), 0, 1)
    assert isinstance(first.answer, Wrote)
    history.answered(first.asked, first.answer, 2, 3)
    assert history.kinds() == {"accepted twice"}

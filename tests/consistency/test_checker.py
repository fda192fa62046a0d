"""The checker finds each thing that must not be, and nothing where nothing is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.consistency.checker import check
from tests.consistency.handwritten_histories import MORNING, Past, made
from tests.consistency.history import NotDone, Operation, Refused, Replayed, Shown, Wrote
from tests.consistency.store_spec import Ask, Look, StoreSpec, plain

NUMBER = ("number", "1")


def ask(mark: str, *streams: str, **more: Any) -> Ask:
    """An append of the next events of these streams."""
    return Ask(mark, tuple((stream, None) for stream in streams or ("a",)), **more)


def a_good_past() -> Past:
    """Two clients, one after the other and at the same time, and everything they may be told."""
    past = Past()
    past.wrote(ask("x1", "a", key="k1"), 0, 1)
    past.wrote(ask("y1", "a", "b", claims=(NUMBER,)), 0.5, 3, "y")
    past.replayed(ask("x2", "a", key="k1"), 2, 3)
    stale = {"stream": "a", "expected": 1, "actual": 2}
    past.told(Ask("x3", (("a", 1),)), Refused("stale_stream", stale), 4, 5)
    past.wrote(ask("y2", "b", releases=(NUMBER,)), 4, 6, "y")
    past.unknown(ask("x4", "c", key="k4"), 6, 7)
    past.append(ask("x5", "c", key="k5"))
    past.unknown(ask("x5", "c", key="k5"), 8, None)
    past.told(ask("x6", "c"), NotDone("overloaded"), 8, 9)
    past.saw("head", None, 4, 7, 9)
    past.saw("head", None, 5, 7, 9)
    past.wrote(ask("y3", "p", person="p1"), 10, 11, "y")
    past.wrote(ask("y4", "p", person="p1", erase=True), 12, 13, "y")
    past.told(ask("x7", "p", person="p1"), Refused("person_erased", {"person": "p1"}), 14, 15)
    past.saw("page", (0, 2), tuple(map(plain, past.events[:2])), 16, 17)
    past.saw("stream", "b", tuple(plain(e) for e in past.events if e.stream == "b"), 16, 17)
    return past


def test_nothing_is_found_in_a_good_history() -> None:
    assert a_good_past().kinds() == set()


# --- appends --------------------------------------------------------------------------------------


def test_an_append_that_was_acknowledged_and_is_not_there_is_lost() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 1)
    past.wrote(ask("x2"), 2, 3)
    past.events.pop()
    assert past.kinds() == {"lost append"}


def test_an_append_that_stands_there_twice_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a"), 0, 1)
    past.wrote(ask("x2", "b"), 2, 3)
    past.events.append(made(3, "a", 2, past.events[0].data, event_id="another"))
    assert past.kinds() == {"duplicate append"}


def test_an_append_that_stands_there_twice_in_a_row_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a"), 0, 1)
    past.events.append(made(2, "a", 2, past.events[0].data, event_id="another"))
    assert "decided wrongly" in past.kinds()


@pytest.mark.parametrize("missing", [1, 2])
def test_an_append_of_which_half_is_there_is_found(missing: int) -> None:
    past = Past()
    whole = ask("x1", "a", "b", "c")
    past.append(whole)
    past.unknown(whole, 0, 1)
    del past.events[-missing:]
    assert past.kinds() == {"decided wrongly"}


def test_a_row_of_commands_that_spans_more_than_its_events_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a", "b", key="k"), 0, 1)
    past.commands[0] = replace(past.commands[0], last_position=1)
    assert past.kinds() == {"command row differs"}


def test_what_was_told_must_be_what_stands_there_to_the_byte() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 1)
    past.change(1, occurred_at=past.events[0].parsed["occurred_at"], correlation_id="changed")
    assert past.kinds() == {"told otherwise"}


@pytest.mark.parametrize(
    "answer",
    [
        Refused("stale_stream", {"stream": "a", "expected": 0, "actual": 1}),
        NotDone("journal_unavailable"),
    ],
)
def test_what_was_refused_must_not_be_there(answer: Refused | NotDone) -> None:
    past = Past()
    past.append(ask("x1"))
    past.told(ask("x1"), answer, 0, 1)
    assert past.kinds() >= {"refused, but recorded"}


def test_an_event_nobody_asked_for_is_found() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 1)
    past.append(ask("z1", "z"))
    assert past.kinds() >= {"event from nobody"}


def test_what_nobody_knows_of_may_be_there_or_not() -> None:
    past = Past()
    past.unknown(ask("x1", "a"), 0, 1)
    assert past.kinds() == set()
    past.append(ask("x1", "a"))
    assert past.kinds() == set()


# --- decisions ------------------------------------------------------------------------------------


def test_a_version_that_was_given_to_two_is_found() -> None:
    past = Past()
    past.wrote(Ask("x1", (("a", 0),)), 0, 1)
    past.told(Ask("x2", (("a", 0),)), past.operations[0].answer, 0, 1, "y")
    assert past.kinds() == {"lost append"}
    past.events.append(made(2, "a", 1, past.events[0].data | {"mark": "x2"}))
    assert past.kinds() == {"versions not dense"}


def test_a_decision_on_a_state_that_never_was_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a"), 0, 1)
    past.append(ask("x2", "a"))
    past.unknown(ask("x2", "a"), 2, 3)
    phantom = past.events[1].data["seen"] | {"streams": [[1, "thrown away"]]}
    past.change(2, data=past.events[1].data | {"seen": phantom})
    assert past.kinds() == {"decided wrongly"}


def test_a_refusal_for_what_never_was_there_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a"), 0, 1)
    stale = {"stream": "a", "expected": 1, "actual": 2}
    past.told(Ask("x2", (("a", 1),)), Refused("stale_stream", stale), 2, 3)
    assert past.kinds() == {"answer that was never right"}


def test_a_refusal_for_what_was_over_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", claims=(NUMBER,)), 0, 1)
    past.wrote(ask("x2", releases=(NUMBER,)), 2, 3)
    taken = {"kind": "number", "key": "1", "position": 1}
    past.told(ask("y1", claims=(NUMBER,)), Refused("claim_taken", taken), 2, 3, "y")
    assert past.kinds() == set(), "while it is released, both are right"
    past.told(ask("y2", claims=(NUMBER,)), Refused("claim_taken", taken), 4, 5, "y")
    assert past.kinds() == {"stale answer"}


def test_a_claim_that_two_hold_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", claims=(NUMBER,)), 0, 1)
    past.wrote(ask("x2"), 2, 3)
    past.operations[1] = replace(past.operations[1], asked=ask("x2", claims=(NUMBER,)))
    assert past.kinds() >= {"decided wrongly"}


def test_something_sealed_for_a_person_who_was_erased_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", person="p1"), 0, 1)
    past.wrote(ask("x2", person="p1", erase=True), 2, 3)
    past.append(ask("x3"))
    past.unknown(ask("x3", person="p1"), 4, 5)
    assert past.kinds() >= {"decided wrongly"}


def test_something_sealed_with_a_key_that_was_thrown_away_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", person="p1"), 0, 1)
    past.append(ask("x2", person="p1"))
    past.unknown(ask("x2", person="p1"), 2, 3)
    past.change(2, data=past.events[1].data | {"sealed_with": "another key"})
    assert past.kinds() >= {"decided wrongly"}


# --- idempotency ----------------------------------------------------------------------------------


def test_a_replay_with_another_receipt_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", key="k"), 0, 1)
    again = past.replayed(ask("x2", key="k"), 2, 3)
    other = Replayed(b"another", again.answer.known)
    past.operations[1] = replace(again, answer=other)
    assert past.kinds() == {"answer that was never right"}


def test_a_writer_may_find_what_it_wrote_itself_before_it_lost_its_connection() -> None:
    past = Past()
    past.append(ask("x1", key="k"))
    once = past.replayed(ask("x1", key="k"), 0, 1)
    assert past.kinds() == set()
    past.operations[0] = replace(once, answer=Replayed(b"another", once.answer.known))
    assert past.kinds() == {"told otherwise"}


def test_a_replay_of_what_was_not_there_yet_is_found() -> None:
    past = Past()
    past.append(ask("x1", key="k"))
    past.replayed(ask("y1", key="k"), 0, 1)
    past.unknown(ask("x1", key="k"), 2, 3)
    assert past.kinds() == {"answer from the future"}


def test_a_key_that_two_were_accepted_under_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", key="k"), 0, 1)
    past.wrote(ask("x2", "b"), 2, 3)
    past.operations[1] = replace(past.operations[1], asked=ask("x2", "b", key="k"))
    assert past.kinds() >= {"decided wrongly"}


def test_a_request_under_a_used_key_is_refused_as_that_and_nothing_else() -> None:
    past = Past()
    past.wrote(ask("x1", key="k"), 0, 1)
    other = replace(ask("x2", key="k"), request=b"another")
    past.told(other, Refused("idempotency_key_reused"), 2, 3)
    assert past.kinds() == set()
    stale = {"stream": "a", "expected": 0, "actual": 1}
    past.told(
        Ask("x3", (("a", 0),), key="k", request=b"another"), Refused("stale_stream", stale), 4, 5
    )
    assert past.kinds() == {"answer that was never right"}


# --- the order of things --------------------------------------------------------------------------


def test_two_commands_one_after_the_other_that_stand_the_other_way_round_are_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a"), 2, 3)
    past.wrote(ask("y1", "b"), 0, 1, "y")
    assert past.kinds() == {"order inverted"}


def test_what_nobody_knows_of_may_come_late_but_never_early() -> None:
    past = Past()
    late, other = ask("x1", "a"), ask("y1", "b")
    past.wrote(other, 2, 3, "y")
    past.append(late)
    past.unknown(late, 0, 1)
    assert past.kinds() == set(), "its caller had given up long before"
    past.operations.pop()
    past.append(ask("y2", "c"))
    past.wrote(ask("z1", "d"), 4, 5, "z")
    past.unknown(late, 0, 1)
    past.unknown(ask("y2", "c"), 6, 7)
    assert past.kinds() == {"order inverted"}


def test_a_read_that_misses_what_was_acknowledged_is_stale() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 1)
    past.wrote(ask("x2"), 2, 3)
    past.saw("head", None, 1, 4, 5)
    assert past.kinds() == {"stale read"}


def test_a_read_that_knows_what_is_asked_for_only_later_is_from_the_future() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 1)
    past.saw("head", None, 2, 2, 3)
    past.wrote(ask("x2"), 4, 5)
    assert past.kinds() == {"read from the future"}


def test_reads_that_go_backwards_are_found() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 9)
    past.saw("head", None, 1, 1, 2)
    past.saw("head", None, 0, 3, 4)
    assert past.kinds() == {"stale read"}


def test_a_read_of_what_never_was_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a", "b"), 0, 1)
    past.saw("head", None, 1, 0, 2)
    assert past.kinds() == {"read that was never right"}, "half an append is never seen"


# --- views ----------------------------------------------------------------------------------------


class SpecWithView(StoreSpec):
    """A view that shows how far it is."""

    def shows(self, operation: Operation, position: int) -> bool:
        return bool(operation.answer.what == position)


def view_kinds(shown: int, min_position: int, ended: float = 9) -> set[str]:
    """What is found if a view that was asked for a position shows another."""
    past = Past()
    for n in range(3):
        past.wrote(ask(f"x{n}"), 2 * n, 2 * n + 1)
    past.told(Look("view"), Shown(shown, min_position), 1, ended)
    return {one.kind for one in check(past.operations, past.stored(), SpecWithView())}


def test_a_view_may_be_behind_but_not_behind_what_was_asked_for() -> None:
    assert view_kinds(shown=1, min_position=0) == set()
    assert view_kinds(shown=2, min_position=2) == set()
    assert view_kinds(shown=1, min_position=2) == {"stale read"}


def test_a_view_never_shows_what_is_asked_for_only_later() -> None:
    assert view_kinds(shown=2, min_position=0, ended=2.5) == set()
    assert view_kinds(shown=2, min_position=0, ended=1.5) == {"read from the future"}


def test_a_view_never_shows_a_state_between_two() -> None:
    assert view_kinds(shown=7, min_position=0) == {"read that was never right"}


# --- the tables -----------------------------------------------------------------------------------


def test_positions_with_a_gap_are_found() -> None:
    past = Past()
    for n in range(3):
        past.wrote(ask(f"x{n}", f"s{n}"), 2 * n, 2 * n + 1)
    del past.events[1]
    assert past.kinds() == {"positions not dense"}


def test_times_that_run_backwards_are_found() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 1)
    past.wrote(ask("x2"), 2, 3)
    before = MORNING - timedelta(hours=1)
    past.change(2, recorded_at=before.isoformat(timespec="microseconds").replace("+00:00", "Z"))
    assert past.kinds() == {"recorded_at runs backwards"}


def test_a_head_that_says_otherwise_is_found() -> None:
    past = a_good_past()
    assert past.kinds(position=3) == {"head differs"}
    assert past.kinds(recorded_at=MORNING) == {"head differs"}


def test_an_event_id_that_comes_twice_is_found() -> None:
    past = Past()
    past.wrote(ask("x1", "a"), 0, 1)
    past.wrote(ask("x2", "b"), 2, 3)
    past.change(2, event_id=past.events[0].event_id)
    assert past.kinds() == {"event twice"}


def test_a_row_that_differs_from_its_envelope_is_found() -> None:
    past = Past()
    past.wrote(ask("x1"), 0, 1)
    past.events[0] = replace(past.events[0], topic="another.v1")
    assert past.kinds() == {"envelope differs from its row"}
    past.events[0] = replace(past.events[0], leaf_hash=b"another")
    assert past.kinds() == {"leaf hash differs", "envelope differs from its row"}


def test_claims_keys_and_commands_that_differ_from_the_appends_are_found() -> None:
    past = a_good_past()
    assert past.kinds(claims=set()) == {"claims differ"}
    assert past.kinds(keys={}) == {"keys differ"}
    assert past.kinds(keys={"p1": b"still there"}) == {"keys differ"}
    assert past.kinds(commands=past.commands[1:]) == {"command row differs"}
    twice = [*past.commands, past.commands[0]]
    assert past.kinds(commands=twice) == {"accepted twice"}


def test_a_receipt_is_told_once_only_as_new() -> None:
    past = Past()
    first = past.wrote(ask("x1", key="k"), 0, 1)
    assert isinstance(first.answer, Wrote)
    past.told(first.asked, first.answer, 2, 3)
    assert past.kinds() == {"accepted twice"}

"""A guard stops a ledger once and for good, and the first batch waits for its check."""

from __future__ import annotations

import threading

import pytest

from domain.service.guards import WriteGuard
from domain.store.errors import LogNotContinued, Unavailable


def test_a_guard_lets_commands_pass_until_it_is_stopped():
    guard = WriteGuard("omc")
    guard.check_before_batch()
    guard.stop("log_not_continued", "the end is gone")
    for check in (guard.check, guard.check_before_batch):
        with pytest.raises(LogNotContinued):
            check()


def test_the_first_reason_of_a_stop_counts_and_is_reported_once():
    guard, heard = WriteGuard("omc"), []
    guard.on_stop(heard.append)
    guard.stop("log_not_continued", "first")
    guard.stop("log_not_continued", "second")
    assert [stop.detail for stop in heard] == ["first"]
    guard.on_stop(heard.append)
    assert [stop.detail for stop in heard] == ["first", "first"]


def test_commands_go_on_after_a_stop_where_that_is_wanted():
    guard = WriteGuard("omc", write_unsigned=True)
    guard.stop("log_not_continued", "the end is gone")
    guard.check()
    assert guard.stopped is not None


def test_the_first_batch_waits_for_the_required_check_and_no_later_one_does():
    guard, made = WriteGuard("omc"), []
    guard.require(lambda: made.append(1))
    guard.check()  # when a command is queued nobody waits
    assert made == []
    guard.check_before_batch()
    guard.check_before_batch()
    assert made == [1]


def test_a_check_that_stops_the_ledger_refuses_the_first_batch():
    guard = WriteGuard("omc")
    guard.require(lambda: guard.stop("log_not_continued", "the end is gone"))
    with pytest.raises(LogNotContinued):
        guard.check_before_batch()


def test_a_check_that_could_not_be_made_is_made_again():
    guard, answers = WriteGuard("omc"), [OSError("no disk"), None]

    def check() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    guard.require(check)
    with pytest.raises(Unavailable):
        guard.check_before_batch()
    guard.check_before_batch()
    assert answers == []


def test_of_two_threads_one_makes_the_check_and_the_other_waits():
    guard, made, begun = WriteGuard("omc"), [], threading.Barrier(2)

    def work() -> None:
        begun.wait()
        guard.check_before_batch()

    guard.require(lambda: made.append(1))
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]

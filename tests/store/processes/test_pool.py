"""Work is shared with other processes, and nothing of it is lost when one of them dies."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from domain.store.processes.child import Child
from domain.store.processes.pool import shared
from tests.store.worker_tasks import Squared, dying, failing, refusing, squared, squaring

HERE = os.getpid()


def children() -> set[int]:
    """Processes that this one has started and not yet buried."""
    pids = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in pids for pid in path.read_text().split()}


@pytest.fixture(autouse=True)
def _nobody_stays() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def numbers_until(enough: Callable[[], bool]) -> Iterator[int]:
    """0, 1, 2 … until there is what a test waits for, and a few more."""
    deadline = time.monotonic() + 60
    number = 0
    while not enough() and time.monotonic() < deadline:
        yield number
        number += 1
    yield from range(number, number + 100)


def test_results_come_in_order_whoever_made_them() -> None:
    results: list[Squared] = []

    def both() -> bool:
        return len({pid for _, pid in results}) == 2

    for result in shared(squared, numbers_until(both), squaring, processes=2):
        results.append(result)
    assert [square for square, _ in results] == [n * n for n in range(len(results))]
    assert HERE in {pid for _, pid in results}
    assert both()


def test_one_process_does_everything_itself() -> None:
    results = list(shared(squared, range(5), squaring, processes=1))
    assert results == [(n * n, HERE) for n in range(5)]
    assert list(shared(squared, [], squaring, processes=2)) == []


def test_what_a_killed_helper_was_doing_is_done_here(tmp_path: Path) -> None:
    told = tmp_path / "last"
    numbers = numbers_until(told.exists)
    results = list(shared(squared, numbers, partial(dying, told), processes=2))
    assert [square for square, _ in results] == [n * n for n in range(len(results))]
    assert len([pid for _, pid in results if pid != HERE]) == 20
    assert {pid for _, pid in results[int(told.read_text()) :]} == {HERE}


def test_helpers_that_cannot_begin_leave_all_to_the_caller() -> None:
    make = partial(failing, "nothing to work with")
    results = list(shared(squared, range(1000), make, processes=3))
    assert results == [(n * n, HERE) for n in range(1000)]


def test_what_fails_here_fails_for_the_caller_and_ends_the_helpers() -> None:
    with pytest.raises(LookupError):
        list(shared(refusing, range(300), squaring, processes=2))


def test_a_caller_that_has_enough_ends_the_helpers() -> None:
    before = children()
    results = shared(squared, iter(range(10**9)), squaring, processes=2)
    assert next(results)[0] == 0
    assert len(children() - before) == 1
    results.close()
    assert children() == before


def test_a_process_is_not_told_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTLEDGER_MASTER_KEY", "nobody else's")
    child = Child(Connection.poll, None)
    told = Path(f"/proc/{child.process.pid}/environ").read_bytes()
    child.end()
    assert b"PATH=" in told
    assert b"CERTLEDGER_" not in told

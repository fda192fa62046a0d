"""Tasks are shared among child processes, and none is lost when a child exits.

Covers: domain/store/processes/child.py
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from domain.store.processes.child import Child
from domain.store.processes.pool import WorkerDied, WorkerPool, map_ordered
from tests.store.worker_tasks import (
    Squared,
    dying,
    failing,
    refusing,
    refusing_children,
    squared,
    squaring,
)

HERE = os.getpid()


def children() -> set[int]:
    """Child processes that were started and not yet waited for."""
    pids = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in pids for pid in path.read_text().split()}


@pytest.fixture(autouse=True)
def _no_child_remains() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def numbers_until(is_enough: Callable[[], bool]) -> Iterator[int]:
    """0, 1, 2 … until a condition holds, then a hundred more."""
    deadline = time.monotonic() + 60
    number = 0
    while not is_enough() and time.monotonic() < deadline:
        yield number
        number += 1
    yield from range(number, number + 100)


def test_results_are_in_task_order_whichever_process_made_them() -> None:
    results: list[Squared] = []

    def both() -> bool:
        return len({pid for _, pid in results}) == 2

    for result in map_ordered(squared, numbers_until(both), squaring, processes=2):
        results.append(result)
    assert [square for square, _ in results] == [n * n for n in range(len(results))]
    assert HERE in {pid for _, pid in results}
    assert both()


def test_a_single_process_runs_every_task_itself() -> None:
    results = list(map_ordered(squared, range(5), squaring, processes=1))
    assert results == [(n * n, HERE) for n in range(5)]
    assert list(map_ordered(squared, [], squaring, processes=2)) == []


def test_the_caller_runs_the_tasks_of_a_killed_child(tmp_path: Path) -> None:
    last = tmp_path / "last"
    numbers = numbers_until(last.exists)
    results = list(map_ordered(squared, numbers, partial(dying, last), processes=2))
    assert [square for square, _ in results] == [n * n for n in range(len(results))]
    assert len([pid for _, pid in results if pid != HERE]) == 20
    assert {pid for _, pid in results[int(last.read_text()) :]} == {HERE}


def test_the_caller_runs_everything_when_children_fail_to_start() -> None:
    make = partial(failing, "nothing to work with")
    results = list(map_ordered(squared, range(1000), make, processes=3))
    assert results == [(n * n, HERE) for n in range(1000)]


def test_an_error_in_the_caller_is_raised_and_kills_the_children() -> None:
    with pytest.raises(LookupError):
        list(map_ordered(refusing, range(300), squaring, processes=2))


def test_closing_the_results_kills_the_children() -> None:
    before = children()
    results = map_ordered(squared, iter(range(10**9)), squaring, processes=2)
    assert next(results)[0] == 0
    assert len(children() - before) == 1
    results.close()
    assert children() == before


def test_the_caller_runs_a_task_that_failed_in_a_child() -> None:
    results = list(map_ordered(squared, range(300), partial(refusing_children, HERE), processes=2))
    assert results == [(n * n, HERE) for n in range(300)]


def test_a_pool_runs_every_task_once_and_only_in_children() -> None:
    with WorkerPool(squaring, 2) as pool:
        results = list(pool.map_unordered(range(50)))
        assert list(pool.map_unordered([])) == []
        assert sorted(square for square, _ in pool.map_unordered(range(3))) == [0, 1, 4]
    assert sorted(square for square, _ in results) == [n * n for n in range(50)]
    assert HERE not in {pid for _, pid in results}


def test_a_pool_raises_what_a_task_raised_with_the_traceback_of_the_child() -> None:
    with pytest.raises(LookupError) as raised, WorkerPool(partial(refusing_children, 0), 2) as pool:
        list(pool.map_unordered([7]))
    assert raised.value.args == (7,)
    assert "in refusing" in raised.value.__notes__[0]


def test_a_pool_reports_a_child_that_exits(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied), WorkerPool(partial(dying, tmp_path / "last"), 1) as pool:
        list(pool.map_unordered(range(30)))


def test_a_child_does_not_inherit_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTLEDGER_MASTER_KEY", "nobody else's")
    child = Child(Connection.poll, None)
    inherited = Path(f"/proc/{child.process.pid}/environ").read_bytes()
    child.kill()
    assert b"PATH=" in inherited
    assert b"CERTLEDGER_" not in inherited

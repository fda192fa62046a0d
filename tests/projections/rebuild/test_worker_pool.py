"""The processes of a rebuild: results, errors and exits all reach the caller."""

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from domain.store.errors import WrongKey
from projections.engine.view import UnhandledTopic
from projections.rebuild.worker_pool import WorkerFailed, workers
from tests.projections.engine.test_runner import backends
from tests.support.postgres import Database
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

NAME = "certledger rebuild"


def doubled(connection: Any, number: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 2 * %s", (number,))
        doubled: int = cursor.fetchone()[0]
    return doubled


def refused(connection: Any, task: str) -> None:
    if task == "topic":
        raise UnhandledTopic("moon_landed.v1", 7)
    raise WrongKey(reason="it is too short")


def exits(connection: Any, task: None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def asleep(connection: Any, task: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(600)")


@pytest.mark.parametrize("processes", [1, 3])
def test_every_task_is_done_once(dsn: str, processes: int) -> None:
    with workers(dsn, processes) as run:
        assert sorted(run(doubled, range(20))) == list(range(0, 40, 2))


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_the_work_is_raised_in_the_caller(
    dsn: str, database: Database, processes: int
) -> None:
    with pytest.raises(UnhandledTopic) as raised, workers(dsn, processes) as run:
        list(run(refused, ["topic"]))
    assert (raised.value.topic, raised.value.position) == ("moon_landed.v1", 7)
    with pytest.raises(Exception, match="it is too short"), workers(dsn, processes) as run:
        list(run(refused, ["key"]))
    wait_until(lambda: not backends(database, NAME))


def test_a_killed_process_is_reported(dsn: str, database: Database) -> None:
    with pytest.raises(WorkerFailed), workers(dsn, 2) as run:
        list(run(exits, [None]))
    wait_until(lambda: not backends(database, NAME))


def test_running_work_is_interrupted_when_the_caller_fails(dsn: str, database: Database) -> None:
    with pytest.raises(ZeroDivisionError), workers(dsn, 2) as run:
        run(asleep, [None])
        wait_until(lambda: backends(database, NAME), 30)
        raise ZeroDivisionError
    wait_until(lambda: not backends(database, NAME))


def test_processes_exit_when_their_parent_is_killed(dsn: str, database: Database) -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from projections.rebuild.worker_pool import workers\n"
        "from tests.projections.rebuild.test_worker_pool import asleep\n"
        f"with workers({dsn!r}, 2) as run: list(run(asleep, [None, None]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: len(backends(database, NAME)) == 2, 30)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not backends(database, NAME))

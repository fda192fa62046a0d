"""The embedded PostgreSQL: who starts it, who stops it, and what survives which death.

Covers: domain/store/embedded/server.py, domain/store/embedded/cluster.py,
domain/store/embedded/process.py
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from domain.store.embedded.server import OWNER, CannotStart, EmbeddedPostgres
from tests.support.postgres import query
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def another_process(server_dir: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a process that holds the server of server_dir; its first line is its DSN."""
    started: list[subprocess.Popen] = []
    program = textwrap.dedent(
        """
        import sys, time
        from domain.store.embedded.server import EmbeddedPostgres
        print(EmbeddedPostgres(sys.argv[1]).start(), flush=True)
        time.sleep(float(sys.argv[2]))
        """
    )

    def start(hold_s: float = 60, **arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(server_dir), str(hold_s)],
            stdout=subprocess.PIPE,
            text=True,
            **{"cwd": REPOSITORY, **arguments},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    EmbeddedPostgres(server_dir).start()  # whatever a killed one left running ends here
    EmbeddedPostgres(server_dir).stop()


def first_line(process: subprocess.Popen) -> str:
    line = process.stdout.readline().strip()
    assert line, f"ended with {process.wait()}"
    return line


# --- start, attach, stop -----------------------------------------------------------------------


def test_a_server_starts_answers_and_stops(server_dir: Path) -> None:
    server = EmbeddedPostgres(server_dir)
    dsn = server.start()
    assert query(dsn, "SELECT current_user, current_database()") == [(OWNER, OWNER)]
    pid = server.pid()
    assert pid is not None
    server.stop()
    assert server.pid() is None
    assert not Path(f"/proc/{pid}").exists()
    assert not (server.cluster_dir / "postmaster.pid").exists()


def test_committed_data_survives_stop_and_start(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        query(server.dsn(), "CREATE TABLE durable AS SELECT 1 AS n")
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT n FROM durable") == [(1,)]


def test_a_second_user_attaches_and_the_last_to_stop_shuts_the_server_down(
    server_dir: Path,
) -> None:
    service, command = EmbeddedPostgres(server_dir), EmbeddedPostgres(server_dir)
    service.start()
    pid = service.pid()
    assert command.start() == service.dsn()
    assert command.pid() == pid
    command.stop()
    assert service.pid() == pid
    assert query(service.dsn(), "SELECT 1") == [(1,)]
    command.start()
    service.stop()
    assert query(command.dsn(), "SELECT 1") == [(1,)]
    command.stop()
    assert command.pid() is None


def test_a_repeated_stop_is_harmless_and_start_works_again(server_dir: Path) -> None:
    server = EmbeddedPostgres(server_dir)
    server.start()
    assert server.start() == server.dsn()
    server.stop()
    server.stop()
    server.start()
    assert query(server.dsn(), "SELECT 1") == [(1,)]
    server.stop()


def test_the_dsn_of_a_server_that_is_not_started_is_refused(server_dir: Path) -> None:
    with pytest.raises(CannotStart, match="not started"):
        EmbeddedPostgres(server_dir).dsn()


def test_two_processes_starting_at_once_share_one_server(
    server_dir: Path, another_process: Callable[..., subprocess.Popen]
) -> None:
    starters = [another_process() for _ in range(4)]
    assert len({first_line(starter) for starter in starters}) == 1
    postmasters = [
        line
        for line in (server_dir / "postgres.log").read_text().splitlines()
        if "ready to accept connections" in line
    ]
    assert len(postmasters) == 1


# --- deaths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_owner_shuts_the_server_down(
    server_dir: Path, another_process: Callable[..., subprocess.Popen], order: signal.Signals
) -> None:
    def accept() -> None:
        signal.signal(order, signal.SIG_DFL)  # a signal that the caller ignores is inherited

    owner = another_process(stderr=subprocess.DEVNULL, preexec_fn=accept)
    first_line(owner)
    owner.send_signal(order)
    assert owner.wait(30) != 0
    assert EmbeddedPostgres(server_dir).pid() is None
    assert "database system is shut down" in (server_dir / "postgres.log").read_text()


def test_ctrl_c_in_the_terminal_reaches_the_owner_and_not_its_server(
    server_dir: Path, another_process: Callable[..., subprocess.Popen]
) -> None:
    owner = another_process(start_new_session=True)
    first_line(owner)
    server_pid = EmbeddedPostgres(server_dir).pid()
    assert os.getsid(server_pid) != os.getsid(owner.pid)


def test_after_sigkill_of_the_owner_the_next_start_attaches(
    server_dir: Path, another_process: Callable[..., subprocess.Popen]
) -> None:
    owner = another_process()
    dsn = first_line(owner)
    query(dsn, "CREATE TABLE durable AS SELECT 1 AS n")
    owner.kill()
    owner.wait()
    server = EmbeddedPostgres(server_dir)
    left_running = server.pid()
    assert left_running is not None
    server.start()
    assert server.pid() == left_running
    assert query(server.dsn(), "SELECT n FROM durable") == [(1,)]
    server.stop()
    assert server.pid() is None


def test_after_sigkill_of_owner_and_server_the_next_start_recovers(
    server_dir: Path, another_process: Callable[..., subprocess.Popen]
) -> None:
    owner = another_process()
    query(first_line(owner), "CREATE TABLE durable AS SELECT 1 AS n")
    owner.kill()
    owner.wait()
    os.kill(EmbeddedPostgres(server_dir).pid(), signal.SIGKILL)
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT n FROM durable") == [(1,)]


def test_a_killed_server_is_started_again_by_its_user(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        connection = psycopg2.connect(server.dsn())
        query(server.dsn(), "CREATE TABLE durable AS SELECT 1 AS n")
        killed = server.pid()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: server.pid() is None)
        server.start()
        assert server.pid() != killed
        assert query(server.dsn(), "SELECT n FROM durable") == [(1,)]
        connection.close()


def test_a_stale_lock_with_a_reused_process_id_does_not_block_a_start(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        lock = (server.cluster_dir / "postmaster.pid").read_text()
    stranger = subprocess.Popen(
        ["sleep", "60"],
        # PostgreSQL takes a process of its own account for a server of its own.
        **({"user": server.cluster_dir.stat().st_uid} if os.geteuid() == 0 else {}),
    )
    try:
        changed = re.sub(r"\A\d+", str(stranger.pid), lock)
        (server.cluster_dir / "postmaster.pid").write_text(changed)
        (server_dir / "socket").mkdir(mode=0o700)
        (server_dir / "socket" / ".s.PGSQL.5432.lock").write_text(changed)
        assert server.pid() is None
        with server:
            assert query(server.dsn(), "SELECT 1") == [(1,)]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_interrupted_first_start_leaves_nothing_to_repair(server_dir: Path) -> None:
    unfinished = server_dir / "postgres.new-abc"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]
    assert not unfinished.exists()


def test_a_data_directory_removed_under_the_server_does_not_keep_it_alive(
    server_dir: Path,
) -> None:
    server = EmbeddedPostgres(server_dir)
    server.start()
    pid = server.pid()
    shutil.rmtree(server_dir)
    server.stop()
    assert not Path(f"/proc/{pid}").exists()
    server_dir.mkdir()


def test_a_forked_child_stops_nothing(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert query(server.dsn(), "SELECT 1") == [(1,)]

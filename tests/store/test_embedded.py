"""The embedded PostgreSQL: who starts it, who stops it, and what survives which death."""

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from domain.store.embedded import (
    OWNER,
    SUPERUSER,
    CannotStart,
    EmbeddedPostgres,
    NotOurData,
    WrongMajorVersion,
    bin_dir,
)
from tests.support.postgres import Database

REPOSITORY = Path(__file__).parents[2]

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")


def query(dsn: str, sql: str) -> list[tuple]:
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def another_process(server_dir: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a process that holds the server of server_dir; its first line is its DSN."""
    started: list[subprocess.Popen] = []
    program = textwrap.dedent(
        """
        import sys, time
        from domain.store.embedded import EmbeddedPostgres
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


@contextmanager
def somebody_else(server: EmbeddedPostgres) -> Iterator[str]:
    """Starts the server as the user `nobody`, in a fork; yields its DSN, or the error it met.

    A fork, because that user may not reach the Python this runs on.
    """
    nobody = pwd.getpwnam("nobody")
    told, tell = os.pipe()
    wait, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        try:
            message = server.start()
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        os.write(tell, message.encode())
        os.close(tell)
        os.read(wait, 1)
        server.stop()
        os._exit(0)
    os.close(tell)
    os.close(wait)
    try:
        with open(told, encoding="utf-8") as messages:
            yield messages.read()
    finally:
        os.close(release)
        assert os.waitpid(child, 0)[1] == 0


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


def test_what_was_committed_is_there_after_stop_and_start(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        query(server.dsn(), "CREATE TABLE kept AS SELECT 1 AS n")
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT n FROM kept") == [(1,)]


def test_a_second_user_attaches_and_the_last_one_out_stops_the_server(server_dir: Path) -> None:
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


def test_stop_is_said_twice_without_harm_and_start_again_works(server_dir: Path) -> None:
    server = EmbeddedPostgres(server_dir)
    server.start()
    assert server.start() == server.dsn()
    server.stop()
    server.stop()
    server.start()
    assert query(server.dsn(), "SELECT 1") == [(1,)]
    server.stop()


def test_an_address_is_asked_for_too_early(server_dir: Path) -> None:
    with pytest.raises(CannotStart, match="not started"):
        EmbeddedPostgres(server_dir).dsn()


def test_two_processes_starting_at_once_end_with_one_server(
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
    owner = another_process(stderr=subprocess.DEVNULL)
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
    query(dsn, "CREATE TABLE kept AS SELECT 1 AS n")
    owner.kill()
    owner.wait()
    server = EmbeddedPostgres(server_dir)
    left_running = server.pid()
    assert left_running is not None
    server.start()
    assert server.pid() == left_running
    assert query(server.dsn(), "SELECT n FROM kept") == [(1,)]
    server.stop()
    assert server.pid() is None


def test_after_sigkill_of_owner_and_server_the_next_start_recovers(
    server_dir: Path, another_process: Callable[..., subprocess.Popen]
) -> None:
    owner = another_process()
    query(first_line(owner), "CREATE TABLE kept AS SELECT 1 AS n")
    owner.kill()
    owner.wait()
    os.kill(EmbeddedPostgres(server_dir).pid(), signal.SIGKILL)
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT n FROM kept") == [(1,)]


def test_a_server_killed_under_its_owner_is_started_again(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        connection = psycopg2.connect(server.dsn())
        query(server.dsn(), "CREATE TABLE kept AS SELECT 1 AS n")
        killed = server.pid()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: server.pid() is None)
        server.start()
        assert server.pid() != killed
        assert query(server.dsn(), "SELECT n FROM kept") == [(1,)]
        connection.close()


def test_a_stale_lock_whose_number_somebody_else_has_is_no_obstacle(server_dir: Path) -> None:
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
        socket_lock = server.cluster_dir / ".s.PGSQL.5432.lock"
        socket_lock.write_text(changed)
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


# --- refusals ----------------------------------------------------------------------------------


def test_a_cluster_of_another_major_version_is_refused(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        pass
    (server.cluster_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(WrongMajorVersion, match="made by PostgreSQL 17, this is 18"):
        server.start()


def test_a_directory_with_something_else_in_it_is_refused(server_dir: Path) -> None:
    (server_dir / "postgres").mkdir()
    (server_dir / "postgres" / "notes.txt").write_text("mine")
    with pytest.raises(NotOurData, match="holds no PostgreSQL cluster"):
        EmbeddedPostgres(server_dir).start()
    assert (server_dir / "postgres" / "notes.txt").read_text() == "mine"


def test_a_bare_cluster_is_refused(server_dir: Path) -> None:
    (server_dir / "PG_VERSION").write_text("18\n")
    with pytest.raises(NotOurData, match="is itself a PostgreSQL cluster"):
        EmbeddedPostgres(server_dir).start()


def test_a_file_in_the_way_is_named(server_dir: Path) -> None:
    (server_dir / "data").write_text("")
    with pytest.raises(CannotStart, match=r"/data: File exists"):
        EmbeddedPostgres(server_dir / "data").start()


def test_a_server_that_will_not_start_says_why(server_dir: Path) -> None:
    server = EmbeddedPostgres(server_dir, settings={"shared_buffers": "lots"})
    with pytest.raises(CannotStart, match='invalid value for parameter "shared_buffers"'):
        server.start()
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]


@AS_ROOT
def test_somebody_elses_data_directory_is_refused_by_name(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir):
        pass
    with somebody_else(EmbeddedPostgres(server_dir)) as told:
        assert re.fullmatch(r"NotOurData: .* belongs to \w+; run as \w+ or as root", told)


# --- rights ------------------------------------------------------------------------------------


@AS_ROOT
def test_an_ordinary_user_needs_no_root(server_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(server_dir, nobody.pw_uid, nobody.pw_gid)
    with somebody_else(EmbeddedPostgres(server_dir)) as dsn:
        assert query(dsn, "SELECT 1") == [(1,)]
        assert (server_dir / "postgres").stat().st_uid == nobody.pw_uid
        # Root beside it, or after it, works as that user and takes nothing over.
        beside = EmbeddedPostgres(server_dir)
        assert beside.start() == dsn
    assert query(beside.dsn(), "SELECT 1") == [(1,)]
    beside.stop()
    with EmbeddedPostgres(server_dir):
        assert (server_dir / "postgres").stat().st_uid == nobody.pw_uid


@AS_ROOT
def test_root_opens_the_way_and_nothing_else(server_dir: Path) -> None:
    closed = server_dir / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data") as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]
        assert stat.S_IMODE(closed.stat().st_mode) == 0o701
        assert stat.S_IMODE((closed / "data").stat().st_mode) == 0o710
        assert stat.S_IMODE(server.cluster_dir.stat().st_mode) == 0o700
        assert server.cluster_dir.stat().st_uid != 0


@AS_ROOT
def test_a_cluster_root_copied_back_is_handed_over(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        pass
    shutil.copytree(server.cluster_dir, server_dir / "copy")
    shutil.rmtree(server.cluster_dir)
    (server_dir / "copy").rename(server.cluster_dir)
    server.cluster_dir.chmod(0o755)
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]


# --- what the server is like -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("max_connections", "100"),
        ("shared_buffers", "256MB"),
        ("max_wal_size", "2GB"),
        ("wal_level", "replica"),
        ("TimeZone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
def test_setting(postgres: EmbeddedPostgres, name: str, value: str) -> None:
    assert query(postgres.dsn(), f"SHOW {name}") == [(value,)]


def test_durability_is_not_switched_off_in_the_configuration_file(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        pass
    with open(server.cluster_dir / "postgresql.conf", "a") as conf:
        conf.write("fsync = off\nmax_connections = 50\n")
    with server:
        assert query(server.dsn(), "SHOW fsync") == [("on",)]
        assert query(server.dsn(), "SHOW max_connections") == [("50",)]


def test_text_sorts_by_code_point_and_chinese_letters_are_letters(database: Database) -> None:
    words = "SELECT w FROM (VALUES ('b'), ('B'), ('证'), ('a'), ('书')) v (w) ORDER BY w"
    assert database.execute(words) == [("B",), ("a",), ("b",), ("书",), ("证",)]
    assert database.execute(r"SELECT '证书' ~ '^\w+$', lower('É')") == [(True, "é")]


def test_the_owner_is_no_superuser(database: Database) -> None:
    rights = "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    assert database.execute(rights) == [(False, True)]
    assert database.execute(rights, user=SUPERUSER) == [(True, True)]


def test_a_failed_statement_leaves_no_data_in_the_server_log(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        query(server.dsn(), "CREATE TABLE people (document_number text UNIQUE)")
        insert = "INSERT INTO people VALUES ('11010519491231002X')"
        query(server.dsn(), insert)
        with pytest.raises(psycopg2.errors.UniqueViolation):
            query(server.dsn(), insert)
    written = (server_dir / "postgres.log").read_text()
    assert "duplicate key" in written
    assert "11010519491231002X" not in written


def test_a_long_path_gets_its_socket_elsewhere(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir / ("long" * 30)) as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]
        elsewhere = server.socket_dir
        assert elsewhere is not None
        assert elsewhere.parent == Path("/tmp")
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
        with EmbeddedPostgres(server.data_dir) as beside:
            assert beside.dsn() == server.dsn()
    assert not elsewhere.exists()


def test_a_directory_with_an_odd_name(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir / "a b,'c' \"d\" $e 数据?&%20") as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]
        with EmbeddedPostgres(server.data_dir) as beside:
            assert beside.dsn() == server.dsn()


@pytest.mark.parametrize(
    "program", ["initdb", "postgres", "psql", "pgbench", "pg_basebackup", "pg_rewind"]
)
def test_the_programs_are_at_hand(program: str) -> None:
    told = subprocess.run([bin_dir() / program, "--version"], capture_output=True, text=True)
    assert "(PostgreSQL) 18" in told.stdout


def test_every_version_at_hand_is_the_one_it_says(database_on_each: Database) -> None:
    version = database_on_each.execute("SHOW server_version_num")[0][0]
    assert int(version) // 10_000 == database_on_each.server.major_version

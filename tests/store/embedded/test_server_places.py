"""The embedded PostgreSQL: where it may live, as whom it runs, and what it is like inside.

Covers: domain/store/embedded/server.py, domain/store/embedded/os_account.py
"""

import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from domain.store.embedded.server import (
    SUPERUSER,
    CannotStart,
    EmbeddedPostgres,
    NotOurData,
    WrongMajorVersion,
    bin_dir,
)
from tests.support.postgres import Database, query
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")


@contextmanager
def as_another_account(server: EmbeddedPostgres) -> Iterator[str]:
    """Starts the server as the user `nobody`, in a fork; yields its DSN, or the error it met.

    A fork, because that user may not reach the Python this runs on.
    """
    nobody = pwd.getpwnam("nobody")
    reader, writer = os.pipe()
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
        os.write(writer, message.encode())
        os.close(writer)
        os.read(wait, 1)
        server.stop()
        os._exit(0)
    os.close(writer)
    os.close(wait)
    try:
        with open(reader, encoding="utf-8") as messages:
            yield messages.read()
    finally:
        os.close(release)
        assert os.waitpid(child, 0)[1] == 0


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


def test_a_file_in_place_of_the_directory_is_named(server_dir: Path) -> None:
    (server_dir / "data").write_text("")
    with pytest.raises(CannotStart, match=r"/data: File exists"):
        EmbeddedPostgres(server_dir / "data").start()


def test_the_reason_of_a_failed_start_is_reported(server_dir: Path) -> None:
    server = EmbeddedPostgres(server_dir, settings={"shared_buffers": "lots"})
    with pytest.raises(CannotStart, match='invalid value for parameter "shared_buffers"'):
        server.start()
    with EmbeddedPostgres(server_dir) as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]


@AS_ROOT
def test_another_account_s_data_directory_is_refused_by_name(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir):
        pass
    with as_another_account(EmbeddedPostgres(server_dir)) as message:
        assert re.fullmatch(r"NotOurData: .* belongs to \w+; run as \w+ or as root", message)


# --- rights ------------------------------------------------------------------------------------


@AS_ROOT
def test_an_ordinary_user_needs_no_root(server_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(server_dir, nobody.pw_uid, nobody.pw_gid)
    with as_another_account(EmbeddedPostgres(server_dir)) as dsn:
        assert query(dsn, "SELECT 1") == [(1,)]
        assert (server_dir / "postgres").stat().st_uid == nobody.pw_uid
        # Root at the same time, or afterwards, works as that user and takes nothing over.
        second = EmbeddedPostgres(server_dir)
        assert second.start() == dsn
    assert query(second.dsn(), "SELECT 1") == [(1,)]
    second.stop()
    with EmbeddedPostgres(server_dir):
        assert (server_dir / "postgres").stat().st_uid == nobody.pw_uid


@AS_ROOT
def test_root_grants_search_permission_and_nothing_else(server_dir: Path) -> None:
    closed = server_dir / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data") as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]
        assert stat.S_IMODE(closed.stat().st_mode) == 0o701
        assert stat.S_IMODE((closed / "data").stat().st_mode) == 0o710
        assert stat.S_IMODE(server.cluster_dir.stat().st_mode) == 0o700
        assert server.cluster_dir.stat().st_uid != 0


@AS_ROOT
def test_a_cluster_restored_by_root_is_given_to_the_account(server_dir: Path) -> None:
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
def test_the_server_runs_with_the_setting(
    postgres: EmbeddedPostgres, name: str, value: str
) -> None:
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


def test_a_long_path_gets_its_socket_in_tmp(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir / ("long" * 30)) as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]
        directory = server.socket_dir
        assert directory is not None
        assert directory.parent == Path("/tmp")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        with EmbeddedPostgres(server.data_dir) as second:
            assert second.dsn() == server.dsn()
    assert not directory.exists()


def test_a_directory_name_with_special_characters_works(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir / "a b,'c' \"d\" $e 数据?&%20") as server:
        assert query(server.dsn(), "SELECT 1") == [(1,)]
        with EmbeddedPostgres(server.data_dir) as second:
            assert second.dsn() == server.dsn()


@pytest.mark.parametrize(
    "program", ["initdb", "postgres", "psql", "pgbench", "pg_basebackup", "pg_rewind"]
)
def test_the_programs_of_the_wheel_are_found(program: str) -> None:
    version = subprocess.run([bin_dir() / program, "--version"], capture_output=True, text=True)
    assert "(PostgreSQL) 18" in version.stdout


def test_every_installed_version_is_the_one_it_claims(database_on_each: Database) -> None:
    version = database_on_each.execute("SHOW server_version_num")[0][0]
    assert int(version) // 10_000 == database_on_each.server.major_version


def test_a_base_backup_becomes_a_standby(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir / "primary") as primary:
        command = [bin_dir() / "pg_basebackup", "-R", "-D", server_dir / "standby" / "postgres"]
        (server_dir / "standby").mkdir()
        copied = subprocess.run(
            [*command, "-c", "fast", "-d", primary.dsn(SUPERUSER, "postgres")],
            capture_output=True,
            text=True,
        )
        assert (copied.returncode, copied.stderr) == (0, "")
        with EmbeddedPostgres(server_dir / "standby") as standby:
            query(primary.dsn(), "CREATE TABLE replicated AS SELECT 1 AS n")
            written = query(primary.dsn(), "SELECT pg_current_wal_lsn()")[0][0]
            caught_up = "SELECT pg_last_wal_replay_lsn() >= %s"
            wait_until(lambda: query(standby.dsn(), caught_up, written) == [(True,)])
            assert query(standby.dsn(), "SELECT n FROM replicated") == [(1,)]

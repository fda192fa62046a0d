"""A primary server and its standby, for tests of failover."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from domain.store.embedded.server import OWNER, PORT, SUPERUSER, EmbeddedPostgres
from tests.support.postgres import query


class Pair:
    """Two servers; `dsn` finds the one of them that takes writes."""

    def __init__(self, primary: EmbeddedPostgres, standby_dir: Path) -> None:
        self.primary = primary
        self.standby = EmbeddedPostgres(standby_dir, settings=self._follow())
        self._copy(standby_dir)
        self.standby.start()
        hosts = ",".join(str(server.socket_dir) for server in (primary, self.standby))
        self.dsn = (
            f"postgresql://{OWNER}@/{OWNER}?host={quote(hosts, safe=',')}&port={PORT},{PORT}"
            "&target_session_attrs=read-write"
        )

    def _follow(self) -> dict[str, str]:
        conninfo = f"host={self.primary.socket_dir} port={PORT} user={SUPERUSER}"
        return {"primary_conninfo": conninfo, "hot_standby": "on"}

    def _copy(self, standby_dir: Path) -> None:
        standby_dir.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(
            [
                self.primary.binaries / "pg_basebackup",
                f"--dbname={self.primary.dsn(SUPERUSER, 'postgres')}",
                f"--pgdata={standby_dir / 'postgres'}",
                *("--wal-method=stream", "--checkpoint=fast"),
            ],
            check=True,
            capture_output=True,
        )
        (standby_dir / "postgres" / "standby.signal").touch(mode=0o600)

    def wait_for_standby(self) -> None:
        """Wait until the standby has replayed everything the primary has written."""
        [(written,)] = self.ask("SELECT pg_current_wal_lsn()::text")
        deadline = time.monotonic() + 20
        sql = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        while not query(self.standby.dsn(SUPERUSER, "postgres"), sql, written)[0][0]:
            assert time.monotonic() < deadline, "the standby does not catch up"
            time.sleep(0.05)

    def ask(self, sql: str) -> list[tuple]:
        """Run a statement on the primary as its superuser."""
        return query(self.primary.dsn(SUPERUSER, "postgres"), sql)

    def make_synchronous(self) -> None:
        """Have every COMMIT wait for the standby from now on."""
        self.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.ask("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while self.ask("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
            assert time.monotonic() < deadline, "the standby is not synchronous"
            time.sleep(0.05)

    def fail_over(self) -> None:
        """Kill the primary, and make the standby the server that takes writes."""
        pid = self.primary.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.standby.start()
        query(self.standby.dsn(SUPERUSER, "postgres"), "SELECT pg_promote()")


@contextmanager
def primary_and_standby(primary_dir: Path, standby_dir: Path) -> Iterator[Pair]:
    """A running pair of servers."""
    with EmbeddedPostgres(primary_dir) as primary:
        pair = Pair(primary, standby_dir)
        try:
            yield pair
        finally:
            pair.standby.stop()

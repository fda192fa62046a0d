"""Creates the cluster of an embedded server, and checks one before it is started."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.store.embedded.os_account import OsAccount, chown

SUPERUSER = "postgres"

_INITIAL = {
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "wal_level": "replica",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements and keys in the server log would copy personal data there.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %d ",
}
"""Written once into a new cluster's postgresql.conf; an operator may change it there."""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used."""


class WrongMajorVersion(EmbeddedPostgresError):
    """The cluster was created by another major version of PostgreSQL."""


class NotOurData(EmbeddedPostgresError):
    """The data directory contains something else, or belongs to another account."""


class CannotStart(EmbeddedPostgresError):
    """The server does not start or does not answer."""


def create(
    cluster_dir: Path, binaries: Path, locale_arguments: Sequence[str], run_as: OsAccount | None
) -> None:
    """Create a cluster. The caller holds the start lock: unfinished clusters are removed.

    Raises: NotOurData if the directory contains something else; CannotStart with initdb's reason.
    """
    if cluster_dir.exists() and any(cluster_dir.iterdir()):
        raise NotOurData(f"{cluster_dir} exists but holds no PostgreSQL cluster")
    # Created next to its place and then renamed, so that no partial cluster is ever used.
    for left_over in cluster_dir.parent.glob(f"{cluster_dir.name}.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{cluster_dir.name}.new-", dir=cluster_dir.parent))
    try:
        if run_as:
            os.chown(fresh, run_as.uid, run_as.gid)
        command = [
            *(str(binaries / "initdb"), "--pgdata", str(fresh)),
            *("--username", SUPERUSER, "--encoding", "UTF8", *locale_arguments),
            *("--auth-local", "trust", "--auth-host", "reject", "--no-instructions"),
        ]
        made = subprocess.run(command, capture_output=True, **child_arguments(fresh, run_as))
        if made.returncode != 0:
            raise CannotStart(f"initdb: {reason(made.stderr.decode(errors='replace'))}")
        with open(fresh / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("\n# certledger: written when the cluster was made, yours to change\n")
            conf.writelines(f"{name} = '{value}'\n" for name, value in _INITIAL.items())
            conf.flush()
            os.fsync(conf.fileno())
        fresh.rename(cluster_dir)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check(cluster_dir: Path, major_version: int, run_as: OsAccount | None) -> None:
    """Refuse another version's cluster, and repair the permissions of a restored one.

    Raises: WrongMajorVersion.
    """
    version = (cluster_dir / "PG_VERSION").read_text().strip()
    if version != str(major_version):
        raise WrongMajorVersion(
            f"{cluster_dir} was made by PostgreSQL {version}, this is {major_version}: "
            f"dump it with {version} and load it here, or use pg_upgrade"
        )
    if run_as:
        chown(cluster_dir, run_as)
    if cluster_dir.stat().st_mode & 0o077:
        cluster_dir.chmod(0o700)


def child_arguments(cwd: Path, run_as: OsAccount | None) -> dict[str, Any]:
    """Popen arguments of a server program; it inherits no PG* or locale settings of the caller."""
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    arguments: dict[str, Any] = {"env": environment, "cwd": cwd, "umask": 0o077}
    return arguments | (run_as.popen_arguments() if run_as else {})


def reason(output: str) -> str:
    """The line of a PostgreSQL program's output with the reason of its failure."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if any(w in line for w in ("FATAL:", "PANIC:", "error:"))]
    return (errors or lines[-1:] or ["exited without a message"])[0]

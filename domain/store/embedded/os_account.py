"""Runs the server as an ordinary account when root starts it, because it refuses to run as root.

Root picks or creates an account, and grants it search permission on the directories of root that
lead to the data directory and to the programs, nothing more. The cluster itself is accessible to
that account only. For an ordinary user none of this is needed.
"""

import contextlib
import logging
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACCOUNT = "certledger"
"""The account created for the server if the machine has none."""

log = logging.getLogger(__name__)


class NoAccount(Exception):
    """Root finds no ordinary account to run PostgreSQL as, or cannot grant it access."""


@dataclass(frozen=True)
class OsAccount:
    """An account of the operating system."""

    name: str
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can(self, *command: str) -> bool:
        """Whether this command succeeds when the account runs it."""
        result = subprocess.run(
            command,
            cwd="/",
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self.popen_arguments(),
        )
        return result.returncode == 0


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def account_for(cluster_dir: Path) -> OsAccount:
    """The owner of the cluster; else our own account, created if possible; else `postgres`."""
    if cluster_dir.exists():
        found = cluster_dir.stat()
        if found.st_uid != 0:
            return OsAccount(name_of(found.st_uid), found.st_uid, found.st_gid)
    account = _account(ACCOUNT)
    if account is None and (useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")):
        words = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        words += ["--shell", "/usr/sbin/nologin", ACCOUNT]
        # If two processes run this at once, one fails, and both find the account afterwards.
        made = subprocess.run([useradd, *words], capture_output=True, check=False)
        account = _account(ACCOUNT)
        if account and made.returncode == 0:
            log.warning("created the system user %s to run PostgreSQL as", ACCOUNT)
    account = account or _account("postgres")
    if account is None:
        raise NoAccount(
            f"PostgreSQL refuses to run as root: run as another user, or create the user {ACCOUNT}"
        )
    return account


def _account(name: str) -> OsAccount | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return OsAccount(name, entry.pw_uid, entry.pw_gid) if entry.pw_uid else None


def grant_access(account: OsAccount, data_dir: Path, binaries: Path) -> None:
    """Make sure that the account can enter the data directory and run the programs.

    Raises: NoAccount if that would need permissions on a directory that is not root's.
    """
    status = data_dir.stat()
    if status.st_uid == 0 and not status.st_mode & 0o077:
        os.chown(data_dir, -1, account.gid)
        data_dir.chmod(0o710)
    if not account.can("/bin/sh", "-c", 'cd "$0"', str(data_dir)):
        _make_searchable(data_dir, account)
    if not account.can(str(binaries / "postgres"), "--version"):
        _make_searchable(binaries, account)
        package = binaries.parent.parent
        for tree in (binaries.parent, package.with_name(f"{package.name}.libs")):
            _make_readable(tree)
        if not account.can(str(binaries / "postgres"), "--version"):
            raise NoAccount(f"{account.name} cannot run {binaries / 'postgres'}")


def _make_searchable(path: Path, account: OsAccount) -> None:
    for directory in reversed((path, *path.parents)):
        if account.can("/bin/sh", "-c", 'cd "$0"', str(directory)):
            continue
        status = directory.stat()
        if status.st_uid != 0:
            raise NoAccount(
                f"{account.name} cannot reach {path} through {directory}, which belongs to "
                f"{name_of(status.st_uid)}: run as that user, or choose another place"
            )
        directory.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
        log.warning(
            "added search permission for others on %s, so that %s can pass", directory, account.name
        )


def _make_readable(tree: Path) -> None:
    """Make the programs readable for all, as an installation with an ordinary umask does."""
    for parent, _, names in os.walk(tree):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and mode & stat.S_IXUSR):
                path.chmod(stat.S_IMODE(mode) | 0o055)
            elif stat.S_ISREG(mode):
                path.chmod(stat.S_IMODE(mode) | 0o044)


def chown(tree: Path, account: OsAccount) -> None:
    """Give the account a cluster that belongs to root, as one restored from a backup does.

    Only then: in a directory of the account, the account could plant links to files of root.
    """
    if tree.stat().st_uid != 0:
        return
    for parent, directories, names in os.walk(tree):
        for path in (parent, *(os.path.join(parent, name) for name in (*directories, *names))):
            if os.lstat(path).st_uid == 0:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)


def private_directory(path: Path, account: OsAccount | None) -> None:
    """Create a directory that only the account (None: ourselves) may enter; refuse another's."""
    uid = account.uid if account else os.geteuid()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if account and stat.S_ISDIR(status.st_mode) and status.st_uid == 0:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
        raise NoAccount(f"{path} is not a private directory of {name_of(uid)}; remove it")

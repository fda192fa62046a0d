"""What root has to arrange for a server that refuses to run as root.

Root gives the work to an ordinary account of this machine and opens the way to the data directory
and to the programs for it: search permission only, and only on directories of root. The cluster
itself stays closed to everybody but that account. An ordinary user needs nothing of this.
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
"""The account made for the server where root has none yet."""

log = logging.getLogger(__name__)


class NoAccount(Exception):
    """Root finds no ordinary account to run PostgreSQL as, or cannot let it in."""


@dataclass(frozen=True)
class Account:
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


def account_for(cluster_dir: Path) -> Account:
    """Who owns the cluster already; else our own account, made if need be; else `postgres`."""
    if cluster_dir.exists():
        found = cluster_dir.stat()
        if found.st_uid != 0:
            return Account(name_of(found.st_uid), found.st_uid, found.st_gid)
    account = _account(ACCOUNT)
    if account is None and (useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")):
        words = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        words += ["--shell", "/usr/sbin/nologin", ACCOUNT]
        # Two at once: one of them fails, and both find the account afterwards.
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


def _account(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid) if entry.pw_uid else None


def let_in(account: Account, data_dir: Path, binaries: Path) -> None:
    """Makes sure the account reaches the data directory and can run the programs.

    Raises: NoAccount where that would take rights on somebody else's directory.
    """
    status = data_dir.stat()
    if status.st_uid == 0 and not status.st_mode & 0o077:
        os.chown(data_dir, -1, account.gid)
        data_dir.chmod(0o710)
    if not account.can("/bin/sh", "-c", 'cd "$0"', str(data_dir)):
        _open_way(data_dir, account)
    if not account.can(str(binaries / "postgres"), "--version"):
        _open_way(binaries, account)
        package = binaries.parent.parent
        for tree in (binaries.parent, package.with_name(f"{package.name}.libs")):
            _open_tree(tree)
        if not account.can(str(binaries / "postgres"), "--version"):
            raise NoAccount(f"{account.name} cannot run {binaries / 'postgres'}")


def _open_way(path: Path, account: Account) -> None:
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
        log.warning("opened %s for passing through, so that %s gets in", directory, account.name)


def _open_tree(tree: Path) -> None:
    """Lets everybody read the programs, as an installation with an ordinary umask does."""
    for parent, _, names in os.walk(tree):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and mode & stat.S_IXUSR):
                path.chmod(stat.S_IMODE(mode) | 0o055)
            elif stat.S_ISREG(mode):
                path.chmod(stat.S_IMODE(mode) | 0o044)


def hand_over(tree: Path, account: Account) -> None:
    """Gives the account a cluster that belongs to root, as copying a backup back makes it.

    Only then: what lies in a directory of the account is the account's own doing, and root gives
    nothing away there.
    """
    if tree.stat().st_uid != 0:
        return
    for parent, directories, names in os.walk(tree):
        for path in (parent, *(os.path.join(parent, name) for name in (*directories, *names))):
            if os.lstat(path).st_uid == 0:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)


def private_directory(path: Path, account: Account | None) -> None:
    """Makes a directory only the account (else: we ourselves) may enter; refuses anybody else's."""
    uid = account.uid if account else os.geteuid()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if account and stat.S_ISDIR(status.st_mode) and status.st_uid == 0:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
        raise NoAccount(f"{path} is not a private directory of {name_of(uid)}; remove it")

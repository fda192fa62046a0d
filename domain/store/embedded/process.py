"""What the operating system tells about the server of a cluster: is it there, where, and its end.

PostgreSQL keeps `postmaster.pid` in its cluster. After a power cut or a killed container that file
names a process that is gone, or one that has nothing to do with PostgreSQL: small numbers come
round quickly there. PostgreSQL itself settles the first case and refuses to start in the second.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

log = logging.getLogger(__name__)

_PROC = Path("/proc")


def _lock_lines(cluster_dir: Path) -> list[str]:
    try:
        return (cluster_dir / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _locked_by(cluster_dir: Path) -> int | None:
    lines = _lock_lines(cluster_dir)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def postmaster_pid(cluster_dir: Path) -> int | None:
    """The server's process id, None if the cluster has no server."""
    pid = _locked_by(cluster_dir)
    return pid if pid is not None and _works_in(pid, cluster_dir) else None


def ready_socket_dir(cluster_dir: Path) -> Path | None:
    """Where the server listens; None until it has written down that it answers."""
    lines = _lock_lines(cluster_dir)
    return Path(lines[4]) if len(lines) > 7 and lines[7].strip() in ("ready", "standby") else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _works_in(pid: int, directory: Path) -> bool:
    """Whether a live process has this working directory, as every PostgreSQL process has."""
    if not _alive(pid):
        return False
    if not (_PROC / "self").exists():
        return True
    try:
        return os.path.samefile(_PROC / str(pid) / "cwd", directory)
    except FileNotFoundError:  # gone, or dead and not yet collected
        return False
    except PermissionError:  # somebody else's: our servers run as us, or we are root
        return False


def answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(socket_path)) == 0


def clear_dead_server(cluster_dir: Path, socket_path: Path, wait_s: float = 10) -> None:
    """Makes the cluster of a server that died ready for the next one.

    Waits for that server's other processes, which end by themselves and would keep the next one
    out. Removes its lock files if somebody else has its process number now; if the number is free
    they stay, because PostgreSQL then knows what to do, and checks more.
    """
    pid = _locked_by(cluster_dir)
    if pid is None or not (_PROC / "self").exists():
        return
    deadline = time.monotonic() + wait_s
    while any(_works_in(int(path.name), cluster_dir) for path in _PROC.glob("[0-9]*")):
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    if _alive(pid):
        log.warning("%s: removing the lock of a server that is gone", cluster_dir)
        socket_path.with_name(f"{socket_path.name}.lock").unlink(missing_ok=True)
        (cluster_dir / "postmaster.pid").unlink(missing_ok=True)


def shut_down(pid: int | None, reap: Callable[[float], None], timeout_s: float) -> None:
    """Fast shutdown: sessions end, a checkpoint is written, the process goes. Waits for it.

    A server that is still there after timeout_s is made to stop at once; it recovers at its next
    start. reap: collects the process if it is our child, waiting at most so many seconds.
    """
    for order, wait_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 10.0)):
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, order)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            reap(0.02)
            if not _alive(pid) or _is_zombie(pid):
                return
            time.sleep(0.01)
        log.warning("PostgreSQL (%d) did not end within %g s", pid, wait_s)


def _is_zombie(pid: int) -> bool:
    """Dead, and left for its parent to collect."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def exit_on_termination() -> None:
    """Turns a signal that would kill this process on the spot into an orderly exit."""

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second one kills
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, leave)

"""The server process of a cluster: finds it, waits for its socket, shuts it down.

PostgreSQL keeps `postmaster.pid` in its cluster. After a power cut or a killed container that file
names a process that has gone, or an unrelated one: containers reuse small process ids quickly.
PostgreSQL itself handles the first case and refuses to start in the second.
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
    """The server's process id, None if no server runs on the cluster."""
    pid = _locked_by(cluster_dir)
    return pid if pid is not None and _works_in(pid, cluster_dir) else None


def ready_socket_dir(cluster_dir: Path) -> Path | None:
    """Where the server listens; None until its lock file says that it accepts connections."""
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
    except FileNotFoundError:  # exited, or a zombie
        return False
    except PermissionError:  # another account's: our servers run as us, or we are root
        return False


def answers(socket_path: Path) -> bool:
    """Whether a process accepts connections on a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(socket_path)) == 0


def clear_dead_server(cluster_dir: Path, socket_path: Path, wait_s: float = 10) -> None:
    """Prepare the cluster of a server that was killed for the next one.

    Waits for that server's other processes, which exit by themselves and would block the next one.
    Removes its lock files if another process has its process id now; if the id is free they stay,
    because PostgreSQL then handles them itself, with more checks.
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
        log.warning("%s: removing the lock of a server that has gone", cluster_dir)
        socket_path.with_name(f"{socket_path.name}.lock").unlink(missing_ok=True)
        (cluster_dir / "postmaster.pid").unlink(missing_ok=True)


def shut_down(pid: int | None, reap: Callable[[float], None], timeout_s: float) -> None:
    """Fast shutdown: end sessions, write a checkpoint, exit. Waits for the exit.

    After timeout_s the server gets an immediate shutdown and recovers at its next start.
    reap: reaps the process if it is our child, waiting at most so many seconds.
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
        log.warning("PostgreSQL (%d) did not exit within %g s", pid, wait_s)


def _is_zombie(pid: int) -> bool:
    """Whether it has exited and waits to be reaped by its parent."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def exit_on_termination() -> None:
    """Turn a signal that would kill this process at once into an orderly exit."""

    def exit_orderly(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second one kills
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, exit_orderly)

"""The keys that sign the logs: one Ed25519 key for each ledger, named by the log's origin.

A key is stored in `<data>/keys/log_<ledger>`: 32 bytes in base64, readable by their owner only.
With the embedded database a key is made when it is first needed; with an external database the
operator makes it, on the machine that signs. A key is never overwritten: for everybody who stores
checkpoints of a log, the log with another key is another log.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import stat
from pathlib import Path

from api.settings import Settings
from domain.errors import LedgerError

SEED_BYTES = 32


class NoLogKey(LedgerError):
    """Ledger {ledger} has no log key yet: `certledger keys --make` makes one."""

    code = "no_log_key"


class LogKeyExists(LedgerError):
    """There is a log key already, and it is never overwritten: {path}"""

    code = "log_key_exists"


class LogKeyUnusable(LedgerError):
    """The log key {path} can't be used: {reason}"""

    code = "log_key_unusable"


def log_key_path(settings: Settings, ledger: str) -> Path:
    """The file of a ledger's log key."""
    return settings.data_dir.expanduser().absolute() / "keys" / f"log_{ledger}"


def make_log_key(settings: Settings, ledger: str) -> Path:
    """Make a new key. Returns: its file. Raises: LogKeyExists, OSError."""
    path = log_key_path(settings, ledger)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}.{os.getpid()}"
    with open(draft, "w", opener=lambda p, flags: os.open(p, flags | os.O_CLOEXEC, 0o600)) as file:
        file.write(base64.b64encode(os.urandom(SEED_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link instead of a rename: of two concurrent calls one fails.
        os.link(draft, path)
    except FileExistsError:
        raise LogKeyExists(path=path) from None
    finally:
        draft.unlink()
    return path


def log_seed(settings: Settings, ledger: str) -> bytes:
    """The 32 private bytes of a ledger's log key; made if missing, with the embedded database.

    Raises: NoLogKey, LogKeyUnusable.
    """
    path = log_key_path(settings, ledger)
    if not path.exists():
        if not settings.embedded:
            raise NoLogKey(ledger=ledger)
        with contextlib.suppress(LogKeyExists):  # another process has made it
            make_log_key(settings, ledger)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise LogKeyUnusable(path=path, reason=f"it is open to others ({mode:04o}); chmod it 0600")
    try:
        seed = base64.b64decode(path.read_text().strip(), validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != SEED_BYTES:
        raise LogKeyUnusable(path=path, reason=f"it is no base64 of {SEED_BYTES} bytes")
    return seed

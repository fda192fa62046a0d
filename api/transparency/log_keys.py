"""The keys that sign the logs: one Ed25519 key for each ledger, named by the log's origin.

A key is stored in `<data>/keys/log_<ledger>`: 32 bytes in base64, readable by their owner only.
After a recovery the ledger has another log, `<origin>/2`, with its own key in `log_<ledger>@2`.
Next to a key, in `log_<ledger>@signed`, is the newest head that it signed.
With the embedded database a key is made when it is first needed; with an external database the
operator makes it, on the machine that signs, before the ledger is opened. A key is never
overwritten: for everybody who stores checkpoints of a log, the log with another key is another log.
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
from domain.store.durable_files import private
from domain.store.tlog.heads import NewestHeadFile

SEED_BYTES = 32

NEWEST_HEAD = "@signed"
"""Ends the name of the file next to a log key that holds the newest head it signed."""


class NoLogKey(LedgerError):
    """Ledger {ledger} has no log key yet: `certledger keys --make --ledger {ledger}` makes one."""

    code = "no_log_key"


class LogKeyExists(LedgerError):
    """There is a log key already, and it is never overwritten: {path}"""

    code = "log_key_exists"


class LogKeyUnusable(LedgerError):
    """The log key {path} can't be used: {reason}"""

    code = "log_key_unusable"


def log_key_path(settings: Settings, ledger: str, number: int = 1) -> Path:
    """The file of a ledger's log key. number: 1, and one more after each recovery."""
    # No name of a ledger holds an @.
    name = f"log_{ledger}" if number == 1 else f"log_{ledger}@{number}"
    return settings.data_dir.expanduser().absolute() / "keys" / name


def newest_head_file(settings: Settings, ledger: str, number: int = 1) -> NewestHeadFile:
    """Where the newest head is kept that the log key of a ledger has signed: next to the key."""
    path = log_key_path(settings, ledger, number)
    return NewestHeadFile(path.with_name(f"{path.name}{NEWEST_HEAD}"))


def make_log_key(settings: Settings, ledger: str, number: int = 1) -> Path:
    """Make a new key. Returns: its file. Raises: LogKeyExists, OSError."""
    path = log_key_path(settings, ledger, number)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}.{os.getpid()}"
    with open(draft, "w", opener=private) as file:
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


def log_seed(settings: Settings, ledger: str, number: int = 1) -> bytes:
    """The 32 private bytes of a ledger's log key; made if missing, with the embedded database.

    The key of a log that continues another one is made by the recovery only.
    Raises: NoLogKey, LogKeyUnusable.
    """
    path = log_key_path(settings, ledger, number)
    if not path.exists():
        if not settings.embedded or number > 1:
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

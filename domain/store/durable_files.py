"""What every file needs that must not be lost or read by others: a private mode, a durable name."""

import os
from pathlib import Path


def private(path: str, flags: int) -> int:
    """An opener for `open`: only the owner may read what it makes."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def sync_directory(path: Path) -> None:
    """Force the names in a directory to the disk. Raises: OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Content-addressed store for attachments: a blob's name is the SHA-256 of its bytes.

What comes here is sealed already (`domain.store.privacy.sealed_files`). The journal holds the hash,
this store the bytes; reading detects a blob that was altered. Works on any fsspec URL; a local
folder is the default.
"""

import hashlib
import os
import re
import stat
import uuid
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from domain.store.errors import BlobDamaged, UnknownBlob

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The store. As thread-safe as its file system."""

    def __init__(self, url: str | Path, **options: object) -> None:
        """url: a folder, or anything fsspec knows, such as s3://bucket/prefix.

        options: for the file system, such as credentials.
        """
        self._files, self._root = fsspec.core.url_to_fs(str(url), **options)
        self._root = self._root.rstrip("/")

    def put(self, content: bytes) -> str:
        """Store bytes; the same bytes are stored once. Returns: their SHA-256, 64 hex digits.

        A reader never reads half a blob: it appears under its name only when it is complete.
        """
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if self._is_whole(name, path):
            return name
        folder = path.rpartition("/")[0]
        self._files.makedirs(folder, exist_ok=True)
        if not isinstance(self._files, LocalFileSystem):
            # Object stores publish a new object atomically.
            self._files.pipe_file(path, content)
            return name
        unfinished = f"{folder}/.{uuid.uuid4().hex}"
        try:
            self._files.pipe_file(unfinished, content)
            _flush(unfinished)
            Path(unfinished).replace(path)
            _flush(folder)
        finally:
            Path(unfinished).unlink(missing_ok=True)
        return name

    def get(self, sha256: str) -> bytes:
        """The bytes of that hash. Raises: UnknownBlob, BlobDamaged, ValueError for no hash."""
        try:
            content = self._read(self._path(sha256))
        except FileNotFoundError:
            raise UnknownBlob(sha256=sha256) from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BlobDamaged(sha256=sha256)
        return content

    def delete(self, sha256: str) -> None:
        """Remove a blob, if it is there. Raises: ValueError for no hash."""
        path = self._path(sha256)
        try:
            self._files.rm_file(path)
        except FileNotFoundError:
            return
        if isinstance(self._files, LocalFileSystem):
            _flush(path.rpartition("/")[0])

    def _is_whole(self, name: str, path: str) -> bool:
        """False also for a damaged blob, so that storing the same bytes again repairs it."""
        try:
            return hashlib.sha256(self._read(path)).hexdigest() == name
        except FileNotFoundError:
            return False

    def _read(self, path: str) -> bytes:
        """The bytes at a path; none of what is no regular file, which could be read for ever.

        Raises: FileNotFoundError.
        """
        if not isinstance(self._files, LocalFileSystem):
            content: bytes = self._files.cat_file(path)
            return content
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError:
            return b""  # a symbolic link, a socket, a device without a driver
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return b""
        with open(handle, "rb") as file:
            return file.read()

    def _path(self, sha256: str) -> str:
        # The name comes from a client: nothing but a hash may become a path.
        if not _NAME.fullmatch(sha256):
            raise ValueError("a blob is named by 64 lower-case hex digits")
        return f"{self._root}/{sha256[:2]}/{sha256}"


def _flush(path: str) -> None:
    """Force a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

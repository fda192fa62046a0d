"""Attachments, kept by what they are: the SHA-256 of their bytes is their only name.

The journal holds the hash, this store the bytes; a blob that was altered no longer has its name,
and reading it says so. Any fsspec URL will do; a local folder is the default.
"""

import hashlib
import os
import re
import uuid
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from domain.store.errors import BlobDamaged, UnknownBlob

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A content-addressed store. Thread-safe as far as its file system is."""

    def __init__(self, url: str | Path, **options: object) -> None:
        """url: a folder, or anything fsspec knows, such as s3://bucket/prefix.

        options: for the file system, such as credentials.
        """
        self._files, self._root = fsspec.core.url_to_fs(str(url), **options)
        self._root = self._root.rstrip("/")

    def put(self, content: bytes) -> str:
        """Keep bytes; the same bytes are kept once. Returns: their SHA-256, 64 hex digits.

        A reader never sees half a blob: it appears under its name only when it is whole.
        """
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if self._is_whole(name, path):
            return name
        folder = path.rpartition("/")[0]
        self._files.makedirs(folder, exist_ok=True)
        if not isinstance(self._files, LocalFileSystem):
            # Object stores show a new object whole or not at all.
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
            content: bytes = self._files.cat_file(self._path(sha256))
        except FileNotFoundError:
            raise UnknownBlob(sha256=sha256) from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BlobDamaged(sha256=sha256)
        return content

    def has(self, sha256: str) -> bool:
        """Whether there is a blob of that name; its bytes are checked when they are read."""
        return bool(self._files.exists(self._path(sha256)))

    def _is_whole(self, name: str, path: str) -> bool:
        """A damaged blob is written again, so that keeping the same file anew repairs it."""
        try:
            return hashlib.sha256(self._files.cat_file(path)).hexdigest() == name
        except FileNotFoundError:
            return False

    def _path(self, sha256: str) -> str:
        # The name comes from outside: nothing but a hash may become a path.
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

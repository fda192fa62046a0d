"""Attachments are kept by their hash, whole or not at all, and never believed."""

import hashlib
import os
from pathlib import Path

import fsspec
import pytest

from domain.store.blobs import Blobs
from domain.store.errors import BlobDamaged, UnknownBlob

SCAN = b"\x89PNG a scan"
NAME = hashlib.sha256(SCAN).hexdigest()


@pytest.fixture(params=["folder", "file-url", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return Blobs(tmp_path / "blobs")
    if request.param == "file-url":
        return Blobs(f"file://{tmp_path}/blobs/")
    memory = fsspec.filesystem("memory")
    if memory.exists("/blobs"):
        memory.rm("/blobs", recursive=True)
    return Blobs("memory://blobs")


@pytest.mark.parametrize("content", [b"", SCAN, bytes(range(256)) * 5000])
def test_stored_bytes_are_found_under_their_hash(blobs: Blobs, content: bytes) -> None:
    name = blobs.put(content)
    assert name == hashlib.sha256(content).hexdigest()
    assert blobs.get(name) == content
    assert blobs.put(content) == name


def test_a_hash_that_was_not_stored_is_unknown(blobs: Blobs) -> None:
    with pytest.raises(UnknownBlob):
        blobs.get(NAME)


@pytest.mark.parametrize(
    "name", ["", "../secret", NAME.upper(), NAME + "0", f"../{NAME}", NAME[:-1]]
)
def test_only_a_hash_is_a_name(blobs: Blobs, name: str) -> None:
    with pytest.raises(ValueError):
        blobs.get(name)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_regular_file_is_damaged_and_is_never_waited_for(
    tmp_path: Path, kind: str
) -> None:
    """A named pipe without a writer would block its reader, and the audit, for ever."""
    blobs = Blobs(tmp_path)
    blobs.put(SCAN)
    file = tmp_path / NAME[:2] / NAME
    file.rename(tmp_path / "moved")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "moved")
    with pytest.raises(BlobDamaged):
        blobs.get(NAME)


def test_a_damaged_blob_is_refused_and_repaired_by_the_next_put(
    tmp_path: Path,
) -> None:
    blobs = Blobs(tmp_path)
    blobs.put(SCAN)
    (tmp_path / NAME[:2] / NAME).write_bytes(b"something else")
    with pytest.raises(BlobDamaged):
        blobs.get(NAME)
    assert blobs.put(SCAN) == NAME
    assert blobs.get(NAME) == SCAN


def test_a_failed_put_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(tmp_path)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError):
        blobs.put(SCAN)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(UnknownBlob):
        blobs.get(NAME)

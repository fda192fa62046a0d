"""A file with a secret is its owner's alone from its first byte on, and its name lasts."""

import os
from pathlib import Path

import pytest

from domain.store.durable_files import private, sync_directory


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_private_file_is_never_open_to_others(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with open(tmp_path / "key", "w", opener=private) as file:
            assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
            assert not os.get_inheritable(file.fileno())
    finally:
        os.umask(before)


def test_only_a_directory_that_is_there_makes_its_names_durable(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")

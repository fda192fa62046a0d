"""The files of epochs: in every directory, and gone when nothing needs them.

Covers: domain/store/privacy/epoch_keys.py
"""

import json
import os
import shutil
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from domain.store.errors import WrongEpochKey, WrongKey
from domain.store.postgres.connection import connect
from domain.store.privacy.bucket_keys import BucketKeys, StoredBuckets
from domain.store.privacy.epoch_keys import EpochKeys, MasterKeys
from domain.store.privacy.key_renewal import KeyRenewal, check_epochs, count_overdue
from tests.store.facts import MASTER_KEYS
from tests.store.wrapped_keys import Safe, epoch_key, files_of
from tests.support.keys import SEALER, journal_of
from tests.support.postgres import Database, fresh_database

DAY = timedelta(days=1)

# --- files ---------------------------------------------------------------------------------------


def test_a_missing_key_of_an_epoch_is_named_at_the_start(
    safe: Safe, directories: tuple[Path, Path], tmp_path: Path
) -> None:
    safe.seal("p1")
    check_epochs(safe.journal.dsn, safe.keys)
    for directory in directories:
        directory.rename(tmp_path / f"moved-{directory.name}")
    with pytest.raises(WrongEpochKey, match=r"^wrong_key:epoch: the key of epoch 1 is not in"):
        check_epochs(safe.journal.dsn, safe.keys)
    moved = EpochKeys(MASTER_KEYS, (tmp_path / "moved-one",))
    check_epochs(safe.journal.dsn, moved)
    other_master = EpochKeys(MasterKeys("2026", {"2026": b"x" * 32}), (tmp_path / "moved-one",))
    with pytest.raises(WrongEpochKey, match=r"^wrong_key:epoch: epoch_1_[0-9a-f]{8} does not open"):
        check_epochs(safe.journal.dsn, other_master)


def test_a_database_of_before_the_end_of_an_epoch_is_refused(
    safe: Safe, database: Database
) -> None:
    sealed = safe.seal("p1")
    safe.journal.close()
    backup = files_of(safe.keys)
    with fresh_database(database.server, f"TEMPLATE {database.name}") as restored:
        safe.finish(safe.end())
        check_epochs(database.dsn, safe.keys)
        with pytest.raises(WrongEpochKey, match="a copy from before that key was destroyed"):
            check_epochs(restored.dsn, safe.keys)
        [directory, _] = safe.keys.directories
        for name, content in backup.items():  # as the message says
            path = directory / name
            path.write_bytes(content)
            path.chmod(0o600)
        check_epochs(restored.dsn, safe.keys)
        with closing(journal_of(restored.dsn)) as journal:
            old = Safe(journal, safe.keys, safe.now, safe.renewal)
            assert old.vault().open("a", 1, "/name", sealed) == "p1"


def test_a_standby_that_lacks_the_last_seconds_takes_over_at_the_end_of_an_epoch(
    safe: Safe, database: Database
) -> None:
    """Else everybody's keys would be under an epoch whose key is destroyed."""
    sealed = safe.seal("p1")
    safe.journal.close()
    with fresh_database(database.server, f"TEMPLATE {database.name}") as standby:
        end = safe.end()
        for seconds in (0, 30):
            assert not safe.round(end + timedelta(seconds=seconds))
        check_epochs(standby.dsn, safe.keys)
        with closing(journal_of(standby.dsn)) as journal:
            promoted = Safe(journal, safe.keys, end, safe.renewal)
            assert promoted.vault().open("a", 1, "/name", sealed) == "p1"
        safe.finish(end)
        with pytest.raises(WrongEpochKey):
            check_epochs(standby.dsn, safe.keys)


def test_a_file_that_one_directory_lacks_is_copied_from_the_other(
    safe: Safe, directories: tuple[Path, Path]
) -> None:
    _, two = directories
    sealed = safe.seal("p1")
    [name] = {path.name for path in safe.keys.files()}
    (two / name).unlink()
    assert safe.vault().open("a", 1, "/name", sealed) == "p1"
    safe.round()
    assert (two / name).exists()


@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("content", [b"", b'{"master_key_id": "2026"}', None])
def test_a_file_that_is_damaged_in_one_directory_is_replaced_from_the_other(
    safe: Safe, directories: tuple[Path, Path], damaged: int, content: bytes | None
) -> None:
    """None: the file of another epoch under its name."""
    sealed = safe.seal("p1")
    [name] = {path.name for path in safe.keys.files()}
    path = directories[damaged] / name
    if content is None:
        other = EpochKeys(MASTER_KEYS, (directories[0] / "other",)).make(1, safe.end())
        content = (directories[0] / "other" / other.name.file).read_bytes()
    path.write_bytes(content)
    check_epochs(safe.journal.dsn, safe.keys)
    assert safe.vault().open("a", 1, "/name", sealed) == "p1"
    safe.round()
    alone = EpochKeys(MASTER_KEYS, (directories[damaged],))
    assert safe.vault(keys=alone).open("a", 1, "/name", sealed) == "p1"
    for each in directories:
        (each / name).write_bytes(content)
    with pytest.raises(WrongEpochKey, match=rf"{name} (is damaged|does not open)"):
        safe.vault().open("a", 1, "/name", sealed)


def test_a_directory_that_cannot_be_read_is_reported_while_the_other_serves(
    safe: Safe, directories: tuple[Path, Path]
) -> None:
    sealed = safe.seal("p1")
    [name] = {path.name for path in safe.keys.files()}
    (directories[0] / name).unlink()
    (directories[0] / name).mkdir()  # reading it fails, as on a disk that does
    assert safe.vault().open("a", 1, "/name", sealed) == "p1"
    with pytest.raises(WrongEpochKey, match=f"{name}: Is a directory"):
        safe.round()


def test_a_key_that_is_over_is_overwritten_in_every_directory(
    safe: Safe, directories: tuple[Path, Path], tmp_path: Path
) -> None:
    safe.seal("p1")
    links = []
    for path in safe.keys.files():
        links.append(tmp_path / f"link-{path.parent.name}")
        os.link(path, links[-1])
    before = [link.read_bytes() for link in links]
    safe.finish(safe.end())
    assert [path.name for path in safe.keys.files()] == [
        path.name for path in safe.keys.files() if path.name.startswith("epoch_2_")
    ]
    for link, content in zip(links, before, strict=True):
        assert len(link.read_bytes()) == len(content)
        assert link.read_bytes() != content


def killed_before_it_renames(keys: EpochKeys, names: list[tuple[int, str]]) -> None:
    """Copy files in a process that is killed with a finished draft."""
    child = os.fork()
    if child == 0:
        Path.replace = lambda *_: os._exit(9)  # type: ignore[method-assign]  # of this process
        keys.mend(names)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_what_a_killed_process_left_of_a_key_goes_with_the_key(
    safe: Safe, directories: tuple[Path, Path]
) -> None:
    """It opens whatever the key opens."""
    safe.seal("p1")
    [name] = {path.name for path in safe.keys.files()}
    (directories[1] / name).unlink()
    killed_before_it_renames(safe.keys, safe.rows("SELECT epoch, key_id FROM certledger.epochs"))
    [draft] = directories[1].iterdir()
    assert draft.name != name
    assert epoch_key(name, draft.read_bytes()) is not None
    safe.finish(safe.end())
    for directory in directories:
        assert [path.name[:8] for path in directory.iterdir()] == ["epoch_2_"]


def test_a_directory_that_fails_leaves_no_file_of_an_epoch_that_did_not_begin(
    safe: Safe, directories: tuple[Path, Path]
) -> None:
    """Otherwise each attempt adds one, until the directory is back."""
    safe.seal("p1")
    before, [one, two] = files_of(safe.keys), directories
    two.rename(two.with_name("away"))
    two.touch()  # no directory can be made here
    for _ in range(2):
        with pytest.raises(WrongEpochKey, match=two.name):
            safe.round(safe.end())
    assert [path.name for path in one.iterdir()] == [*before]


def test_a_key_that_is_destroyed_by_half_is_in_nobodys_way(safe: Safe) -> None:
    """A process was killed after it overwrote the file, and before it unlinked it."""
    safe.seal("p1")
    end = safe.end()
    [name] = files_of(safe.keys)
    safe.finish(end)
    safe.keys.directories[0].joinpath(name).write_bytes(os.urandom(200))
    assert safe.end() > end
    safe.round(end)
    assert name not in files_of(safe.keys)


def test_a_directory_that_was_away_loses_its_destroyed_keys_when_it_is_back(
    safe: Safe, directories: tuple[Path, Path], tmp_path: Path
) -> None:
    _, two = directories
    safe.seal("p1")
    away = tmp_path / "away"
    shutil.copytree(two, away)
    safe.finish(safe.end())
    shutil.copytree(away, two, dirs_exist_ok=True)
    assert len(list(two.iterdir())) == 2
    safe.round(safe.end() - 2 * DAY)
    assert [path.name[:8] for path in two.iterdir()] == ["epoch_2_"]


def test_files_of_other_databases_in_the_directory_stay(
    safe: Safe, directories: tuple[Path, Path]
) -> None:
    safe.seal("p1")
    other = EpochKeys(MASTER_KEYS, directories).make(1, safe.end())
    safe.finish(safe.end())
    assert safe.keys.open(*other.name) == other
    check_epochs(safe.journal.dsn, safe.keys)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_that_others_can_read_is_refused(safe: Safe, mode: int) -> None:
    sealed = safe.seal("p1")
    for path in safe.keys.files():
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(mode)
    with pytest.raises(WrongEpochKey, match="open to others"):
        safe.vault().open("a", 1, "/name", sealed)


@pytest.mark.parametrize(
    "change",
    [
        {"ends_at": "2099-01-01T00:00:00Z"},
        {"wrapped": "AAAA"},
        {"wrapped": "!"},
        {"wrapped": None},
        {"algorithm": "rot13"},
        {"master_key_id": "2020"},
    ],
    ids=str,
)
def test_an_altered_file_does_not_open(safe: Safe, change: dict[str, Any]) -> None:
    safe.seal("p1")
    for path in safe.keys.files():
        path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(WrongEpochKey, match=r"does not open|is damaged"):
        check_epochs(safe.journal.dsn, safe.keys)


def test_the_files_are_wrapped_again_under_a_new_master_key(
    safe: Safe, directories: tuple[Path, Path]
) -> None:
    sealed = safe.seal("p1")
    before = files_of(safe.keys)
    both = MasterKeys("2027", {"2026": b"m" * 32, "2027": b"n" * 32})
    rotating = EpochKeys(both, directories)
    safe.round(renewal=KeyRenewal(rotating, "aes-256-gcm", SEALER))
    after = files_of(rotating)
    assert before.keys() == after.keys()
    assert {json.loads(content)["master_key_id"] for content in after.values()} == {"2027"}
    new_only = EpochKeys(MasterKeys("2027", {"2027": b"n" * 32}), directories)
    assert safe.vault(keys=new_only).open("a", 1, "/name", sealed) == "p1"
    with pytest.raises(WrongEpochKey, match="2027"):
        safe.vault().open("a", 1, "/name", sealed)


def test_an_epoch_that_is_over_for_long_is_counted(safe: Safe) -> None:
    safe.seal("p1")
    end = safe.end()
    with closing(connect(safe.journal.dsn, name="test")) as connection:
        cursor = connection.cursor()
        assert count_overdue(cursor, end) == 0
        assert count_overdue(cursor, end + timedelta(seconds=1)) == 1
        safe.finish(end + DAY)
        assert count_overdue(cursor, end + 2 * DAY) == 0


def test_a_reader_makes_no_buckets(safe: Safe) -> None:
    reader = BucketKeys("omc", safe.keys, StoredBuckets("omc", safe.journal.query))
    with pytest.raises(WrongKey, match="no bucket keys"):
        reader.newest(0, "aes-256-gcm")
    safe.seal("p1")
    reader.forget()
    assert reader.newest(0, "aes-256-gcm")[0] == 1


def test_the_key_of_an_ended_epoch_stays_ended(safe: Safe) -> None:
    safe.seal("p1")
    safe.finish(safe.end())
    for attack in (
        "UPDATE certledger.epochs SET destroyed_at = NULL",
        "UPDATE certledger.epochs SET destroyed_at = now() WHERE destroyed_at IS NOT NULL",
    ):
        with pytest.raises(psycopg2.errors.RestrictViolation):
            safe.journal.change(attack)
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        safe.journal.change("DELETE FROM certledger.bucket_keys")

"""Places keep heads, overwrite none, and forget old ones by the clock."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.store.errors import HeadExists, HeadPlaceSilent
from domain.store.tlog.heads import DirectoryPlace, NewestHeadFile, folder_of, kept_sizes
from domain.store.tlog.signed_note import Checkpoint, Signer, sign_note

ORIGIN = "certledger.example/omc"
NOW = datetime(2028, 3, 2, 12, 30, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> DirectoryPlace:
    return DirectoryPlace(tmp_path / "heads", make=True)


def test_a_head_is_a_file_named_by_its_size_in_a_folder_named_by_the_hash_of_the_origin(
    place: DirectoryPlace, tmp_path: Path
) -> None:
    place.write(ORIGIN, 12, "note\n")
    assert folder_of(ORIGIN) == hashlib.sha256(b"certledger.example/omc").hexdigest()
    assert (tmp_path / "heads" / folder_of(ORIGIN) / "12").read_text() == "note\n"
    assert [path.name for path in (tmp_path / "heads").iterdir()] == [folder_of(ORIGIN)]


def test_sizes_are_in_order_and_other_files_do_not_count(
    place: DirectoryPlace, tmp_path: Path
) -> None:
    for size in (100, 9, 20):
        place.write(ORIGIN, size, f"note {size}\n")
    for name in (".21.7.1", "007", "x", "٣"):
        (tmp_path / "heads" / folder_of(ORIGIN) / name).write_text("no head")
    assert place.sizes(ORIGIN) == [9, 20, 100]
    assert place.sizes(ORIGIN, after=9) == [20, 100]
    assert place.sizes("another.example/omc") == []
    assert place.read(ORIGIN, 21) is None


def test_a_head_is_never_overwritten(place: DirectoryPlace) -> None:
    place.write(ORIGIN, 9, "first\n")
    place.write(ORIGIN, 9, "first\n")
    with pytest.raises(HeadExists):
        place.write(ORIGIN, 9, "second\n")
    assert place.read(ORIGIN, 9) == "first\n"


def test_a_second_place_that_is_not_mounted_is_silent(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "missing")
    with pytest.raises(HeadPlaceSilent):
        place.sizes(ORIGIN)
    with pytest.raises(HeadPlaceSilent):
        place.write(ORIGIN, 1, "note\n")
    assert not (tmp_path / "missing").exists()


def ages(*moments: datetime) -> list[tuple[int, float]]:
    return [(size, moment.timestamp()) for size, moment in enumerate(sorted(moments), 1)]


def test_every_head_of_the_last_hour_is_kept() -> None:
    heads = ages(*(NOW - timedelta(seconds=n) for n in range(0, 3600, 60)))
    assert kept_sizes(heads, NOW.timestamp()) == {size for size, _ in heads}


def test_of_an_older_hour_the_last_head_is_kept() -> None:
    hour = NOW.replace(hour=7, minute=0)
    heads = ages(*(hour + timedelta(minutes=n) for n in (1, 30, 59, 60, 61)))
    assert kept_sizes(heads, NOW.timestamp()) == {3, 5}


def test_of_a_day_more_than_a_year_ago_the_last_head_is_kept() -> None:
    day = NOW.replace(hour=0, minute=5) - timedelta(days=366)
    heads = ages(*(day + timedelta(hours=n) for n in (0, 7, 23, 24, 30)))
    assert kept_sizes(heads, NOW.timestamp()) == {3, 5}


def test_old_heads_are_removed_by_the_time_of_their_files(
    place: DirectoryPlace, tmp_path: Path
) -> None:
    for size, hours in ((5, 30.2), (6, 30.1), (7, 3), (8, 0.5), (9, 0)):
        place.write(ORIGIN, size, f"note {size}\n")
        moment = (NOW - timedelta(hours=hours)).timestamp()
        os.utime(tmp_path / "heads" / folder_of(ORIGIN) / str(size), (moment, moment))
    place.remove_old(ORIGIN, NOW.timestamp())
    assert place.sizes(ORIGIN) == [6, 7, 8, 9]


# --- the newest head, next to the key -------------------------------------------------------------


def note(size: int, fill: bytes = b"r", origin: str = ORIGIN) -> str:
    return sign_note(Checkpoint(origin, size, fill * 32).text, Signer(origin, b"k" * 32))


@pytest.fixture
def newest(tmp_path: Path) -> NewestHeadFile:
    return NewestHeadFile(tmp_path / "log_omc@signed")


def test_a_larger_head_takes_the_place_of_a_smaller_one(
    newest: NewestHeadFile, tmp_path: Path
) -> None:
    assert (newest.sizes(ORIGIN), newest.read(ORIGIN, 3)) == ([], None)
    for size in (3, 7, 5):
        newest.write(ORIGIN, size, note(size))
    assert newest.sizes(ORIGIN) == newest.sizes(ORIGIN, after=6) == [7]
    assert newest.sizes(ORIGIN, after=7) == []
    assert (newest.read(ORIGIN, 7), newest.read(ORIGIN, 5)) == (note(7), None)
    assert [path.name for path in tmp_path.iterdir()] == ["log_omc@signed"]


def test_another_head_of_the_same_size_is_not_written(newest: NewestHeadFile) -> None:
    newest.write(ORIGIN, 3, note(3))
    newest.write(ORIGIN, 3, note(3))
    with pytest.raises(HeadExists):
        newest.write(ORIGIN, 3, note(3, b"x"))
    assert newest.read(ORIGIN, 3) == note(3)


def test_a_head_of_another_log_does_not_count(newest: NewestHeadFile) -> None:
    newest.write("another.example/omc", 9, note(9, origin="another.example/omc"))
    assert newest.sizes(ORIGIN) == []
    newest.write(ORIGIN, 3, note(3))
    assert newest.sizes(ORIGIN) == [3]


@pytest.mark.parametrize("content", [b"", b"no head", b"\xff\xfe", note(3).encode()[:20]])
def test_a_file_that_holds_no_head_counts_as_none_and_gets_the_next(
    newest: NewestHeadFile, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "log_omc@signed").write_bytes(content)
    assert newest.sizes(ORIGIN) == []
    newest.write(ORIGIN, 3, note(3))
    assert newest.sizes(ORIGIN) == [3]


def test_a_folder_that_takes_no_file_is_silent(tmp_path: Path) -> None:
    with pytest.raises(HeadPlaceSilent):
        NewestHeadFile(tmp_path / "missing" / "log_omc@signed").write(ORIGIN, 3, note(3))
    (tmp_path / "log_omc@signed").mkdir()
    with pytest.raises(HeadPlaceSilent):
        NewestHeadFile(tmp_path / "log_omc@signed").sizes(ORIGIN)

"""Places outside the database that keep the signed heads of logs.

A database can be rolled back together with the checkpoints in it. A place keeps every signed head
as `<place>/<sha256 of the origin, hex>/<size>`: the signed note, never overwritten. The first place
is `heads` in the data directory; others are directories on other disks or addresses (the addresses
are in `api.transparency.head_places`). The newest head is also kept next to the key that signed it.
Reading order: HeadPlace, DirectoryPlace, `kept_sizes`, NewestHeadFile.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from domain.store.durable_files import private, sync_directory
from domain.store.errors import BadNote, HeadExists, HeadPlaceSilent
from domain.store.tlog.signed_note import Checkpoint

KEEP_ALL_S = 3600.0
"""Age up to which every head is kept, seconds."""

KEEP_HOURLY_S = 365 * 86_400.0
"""Age up to which the last head of each hour is kept, seconds; of older ones that of each day."""


def folder_of(origin: str) -> str:
    """The name under which a place keeps the heads of a log: 64 hex digits."""
    return hashlib.sha256(origin.encode()).hexdigest()


class HeadPlace(Protocol):
    """Keeps signed heads. Every method raises HeadPlaceSilent if the place does not answer."""

    @property
    def name(self) -> str:
        """The directory or the address, for reports."""

    def sizes(self, origin: str, after: int = 0) -> list[int]:
        """Sizes of the kept heads larger than `after`, ascending."""

    def read(self, origin: str, size: int) -> str | None:
        """The signed note of that size; None if there is none."""

    def write(self, origin: str, size: int, note: str) -> None:
        """Keep a head; the same note may be written again. Raises: HeadExists for another."""

    def remove_old(self, origin: str, now: float | None = None) -> None:
        """Remove the heads that need not be kept. now: seconds since 1970; the clock if None."""


class DirectoryPlace:
    """Heads as files of a directory. The age of a head is that of its file."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        """make: whether to make the directory. A second place must exist, or it is silent: a disk
        that is not mounted must not look like an empty place.
        """
        self._path = path
        self._make = make

    @property
    def name(self) -> str:
        """The directory."""
        return str(self._path)

    def sizes(self, origin: str, after: int = 0) -> list[int]:
        """See HeadPlace."""
        return sorted(size for size in self._sizes(origin) if size > after)

    def read(self, origin: str, size: int) -> str | None:
        """See HeadPlace."""
        try:
            return (self._folder(origin) / str(size)).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._silent(error) from error

    def write(self, origin: str, size: int, note: str) -> None:
        """See HeadPlace. The note is on the disk when this returns."""
        folder = self._folder(origin)
        try:
            if not self._make and not self._path.is_dir():
                raise FileNotFoundError(f"{self._path} is not a directory")
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = folder / f".{size}.{os.getpid()}.{time.monotonic_ns()}"
            try:
                with draft.open("x", encoding="utf-8") as file:
                    file.write(note)
                    file.flush()
                    os.fsync(file.fileno())
                # A link instead of a rename: it fails where there is a file already.
                os.link(draft, folder / str(size))
            except FileExistsError:
                if self.read(origin, size) != note:
                    raise HeadExists(size=size, place=self.name) from None
            finally:
                draft.unlink(missing_ok=True)
            sync_directory(folder)
        except OSError as error:
            raise self._silent(error) from error

    def remove_old(self, origin: str, now: float | None = None) -> None:
        """See HeadPlace."""
        folder = self._folder(origin)
        try:
            ages = [(size, (folder / str(size)).stat().st_mtime) for size in self._sizes(origin)]
            kept = kept_sizes(ages, time.time() if now is None else now)
            for size, _ in ages:
                if size not in kept:
                    (folder / str(size)).unlink(missing_ok=True)
        except OSError as error:
            raise self._silent(error) from error

    def _sizes(self, origin: str) -> list[int]:
        try:
            names = os.listdir(self._folder(origin))
        except FileNotFoundError as error:
            if not self._make and not self._path.is_dir():
                raise self._silent(error) from error
            return []
        except OSError as error:
            raise self._silent(error) from error
        return [int(name) for name in names if is_size(name)]

    def _folder(self, origin: str) -> Path:
        return self._path / folder_of(origin)

    def _silent(self, error: OSError) -> HeadPlaceSilent:
        return HeadPlaceSilent(place=self.name, reason=error.strerror or str(error))


class NewestHeadFile:
    """The newest head that a log key has signed, in one file next to the key; see `HeadPlace`.

    Who can remove it can read the key too. So it tells a log whose heads are gone from every other
    place from one that was never signed. A larger head replaces a smaller one; a file that holds no
    head counts as none, and the next head replaces it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    def sizes(self, origin: str, after: int = 0) -> list[int]:
        """See HeadPlace; one size or none."""
        kept = self._kept(origin)
        return [kept[0]] if kept is not None and kept[0] > after else []

    def read(self, origin: str, size: int) -> str | None:
        """See HeadPlace."""
        kept = self._kept(origin)
        return kept[1] if kept is not None and kept[0] == size else None

    def write(self, origin: str, size: int, note: str) -> None:
        """See HeadPlace; a smaller head than the kept one is not written."""
        kept = self._kept(origin)
        if kept is not None and kept[0] == size and kept[1] != note:
            raise HeadExists(size=size, place=self.name)
        if kept is not None and kept[0] >= size:
            return
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            with open(draft, "x", encoding="utf-8", opener=private) as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._silent(error) from error

    def remove_old(self, origin: str, now: float | None = None) -> None:
        """Nothing: there is one head only."""

    def _kept(self, origin: str) -> tuple[int, str] | None:
        """Size and note of the head, if it is one of this log."""
        try:
            note = self._path.read_text(encoding="utf-8")
            checkpoint = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
        except (FileNotFoundError, UnicodeDecodeError, BadNote):
            return None
        except OSError as error:
            raise self._silent(error) from error
        return (checkpoint.size, note) if checkpoint.origin == origin else None

    def _silent(self, error: OSError) -> HeadPlaceSilent:
        return HeadPlaceSilent(place=self.name, reason=error.strerror or str(error))


def is_size(text: str) -> bool:
    """Whether a text is the decimal number of a size."""
    return text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0"))


def kept_sizes(heads: Iterable[tuple[int, float]], now: float) -> set[int]:
    """The sizes to keep: every head of the last hour, the last of each hour, of each day after a
    year, and the largest one. Hours and days are those of UTC.

    heads: (size, time in seconds since 1970). now: seconds since 1970.
    """
    kept: set[int] = set()
    last: dict[tuple[int, ...], int] = {}
    for size, moment in heads:
        age = now - moment
        if age <= KEEP_ALL_S:
            kept.add(size)
            continue
        when = datetime.fromtimestamp(moment, UTC)
        period: tuple[int, ...] = (when.year, when.month, when.day)
        if age <= KEEP_HOURLY_S:
            period += (when.hour,)
        last[period] = max(size, last.get(period, 0))
    kept.update(last.values())
    return kept

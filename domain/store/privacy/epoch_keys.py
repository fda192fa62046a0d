"""The keys of epochs: files outside the database, of which each is destroyed when its time is over.

An epoch's key wraps the bucket keys of every ledger of a database, and is wrapped by the master
key. It lies in one or two directories that all services share, and in no backup of the database.
What was erased before the epoch's key was destroyed cannot be opened afterwards, not even with an
older copy of the database and every key that there still is; a backup of the directories may still
have it for `backup_days`. Who makes, uses and destroys epochs: `key_renewal`.
Reading order: MasterKeys, EpochKeys.make, EpochKeys.open, EpochKeys.destroy.
"""

import base64
import binascii
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

import orjson

from domain.store.durable_files import private, sync_directory
from domain.store.errors import WrongEpochKey, WrongKey
from domain.store.journal.envelope import rfc3339
from domain.store.privacy.cipher_suites import AES, KEY_BYTES, suite_named
from domain.values.key_ids import symmetric_key_id
from domain.values.working_days import SHANGHAI, shanghai_date

EPOCH_DAYS = 30
BACKUP_DAYS = 35

OVERLAP = timedelta(days=1)
"""How long before an epoch's end the next one begins, at most half of its length. A request that is
repeated within that time can be compared with the recorded one."""

MARGIN = timedelta(hours=1)
"""An erasure so shortly before the next epoch is answered with the day of that one: it may be
recorded when that has begun."""

_PURPOSE = "epoch"
_FILE = re.compile(r"epoch_([1-9][0-9]{0,8})_([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The keys that wrap the keys of epochs. active: id of the key that wraps new ones.

    keys: id -> 32 bytes; an old key is needed until everything under it is wrapped again.
    """

    active: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.active not in self.keys:
            raise ValueError(f"there is no master key {self.active!r}")
        for name, key in self.keys.items():
            if len(key) != KEY_BYTES:
                raise ValueError(f"master key {name!r} must have {KEY_BYTES} bytes")


class EpochName(NamedTuple):
    """Which epoch: its number in its database, from 1, and the id of its key, 8 hex digits."""

    number: int
    key_id: str

    @property
    def file(self) -> str:
        """The name of its file. With the id, so that databases may share a directory."""
        return f"epoch_{self.number}_{self.key_id}"


class Epoch(NamedTuple):
    """An epoch whose key was read. ends_at: 00:00 of a day in Asia/Shanghai, aware."""

    name: EpochName
    ends_at: datetime
    key: bytes


@dataclass(frozen=True, slots=True)
class EpochKeys:
    """The files of the epochs of one database, as a process of it finds them now. Thread-safe.

    directories: one or two, each with every file; a missing one is made. epoch_days: how long an
    epoch lasts. backup_days: how long backups of the directories last.
    """

    master_keys: MasterKeys
    directories: tuple[Path, ...]
    epoch_days: int = EPOCH_DAYS
    backup_days: int = BACKUP_DAYS
    algorithm: str = AES.name

    def make(self, number: int, ends_at: datetime) -> Epoch:
        """A new key, durably stored in every directory.

        Raises: WrongEpochKey if one fails; then no file of it is left where that can be helped.
        """
        key = os.urandom(KEY_BYTES)
        epoch = Epoch(EpochName(number, symmetric_key_id(_PURPOSE, key)), ends_at, key)
        content = self._content(epoch)
        try:
            for directory in self.directories:
                _write(directory, epoch.name.file, content)
        except WrongEpochKey:
            with suppress(WrongEpochKey):
                self.destroy([epoch.name])
            raise
        return epoch

    def open(self, number: int, key_id: str) -> Epoch:
        """Read a key from the first directory whose file opens; nothing is cached.

        Raises: WrongEpochKey, also for a file that others can read.
        """
        name = EpochName(number, key_id)
        failed: WrongEpochKey | None = None
        for directory in self.directories:
            try:
                content = _read(directory / name.file)
            except FileNotFoundError:
                continue
            except OSError as error:
                failed = failed or _failed(error)
                continue
            try:
                return self._opened(name, content)
            except WrongEpochKey as error:
                failed = failed or error
        if failed is not None:
            raise failed
        places = " and ".join(map(str, self.directories))
        raise WrongEpochKey(
            reason=f"the key of epoch {number} is not in {places} ({name.file}). Either the "
            "directory is another one, or the database is a copy from before that key was "
            "destroyed: put the file back from a backup of the directory"
        )

    def check(self, needed: Iterable[tuple[int, str]]) -> None:
        """Open every key that is needed. Raises: WrongEpochKey for the first that fails."""
        for number, key_id in needed:
            self.open(number, key_id)

    def unreadable_from(self, epoch: Epoch, now: datetime) -> date:
        """The day from which nothing opens what is erased now, in Asia/Shanghai.

        epoch: the newest one. It counts on the next epoch if that begins soon, or should have.
        """
        end = self.end_after(epoch.ends_at, now + MARGIN + self.overlap)
        return shanghai_date(end) + timedelta(days=self.backup_days)

    @property
    def overlap(self) -> timedelta:
        """How long before an epoch's end the next one begins."""
        return min(OVERLAP, timedelta(days=self.epoch_days) / 2)

    def is_followed(self, epoch: Epoch, now: datetime) -> bool:
        """Whether it is time for the epoch after this one."""
        return epoch.ends_at - self.overlap <= now

    def end_after(self, ends_at: datetime | None, now: datetime) -> datetime:
        """When an epoch ends: the first time after `now` in the row that `ends_at` begins.

        ends_at: the end of the epoch before; None for the first, which begins today.
        """
        length = timedelta(days=self.epoch_days)
        if ends_at is None:
            midnight = datetime.combine(shanghai_date(now), time(), SHANGHAI)
            return (midnight + length).astimezone(UTC)
        return ends_at if ends_at > now else ends_at + ((now - ends_at) // length + 1) * length

    def destroy(self, names: Iterable[tuple[int, str]]) -> int:
        """Overwrite and unlink the files of epochs, in every directory that has one.

        Returns: how many files. Raises: WrongEpochKey if a directory cannot be reached.
        """
        destroyed = 0
        for number, key_id in names:
            file = EpochName(number, key_id).file
            # The drafts of killed processes first: without the file nothing names them again.
            drafts = [draft for each in self.directories for draft in each.glob(f".{file}.*")]
            for path in (*drafts, *(directory / file for directory in self.directories)):
                try:
                    destroyed += _destroy(path)
                except OSError as error:
                    raise _failed(error) from error
        return destroyed

    def mend(self, names: Iterable[tuple[int, str]]) -> int:
        """Replace files that one directory lacks, or that are damaged there, from the other.

        What lies under another master key is wrapped under the active one again.

        names: of the epochs in use. Returns: how many files were written. Raises: WrongEpochKey.
        """
        written = 0
        for number, key_id in names:
            epoch = self.open(number, key_id)
            for directory in self.directories:
                path = directory / epoch.name.file
                if not self._is_current(epoch.name, path):
                    _write(directory, epoch.name.file, self._content(epoch))
                    written += 1
        return written

    def last_end(self) -> datetime | None:
        """The latest end that a file of the directories names; None if none does.

        A file that is being destroyed, or was by half, names none.
        """
        ends = []
        for path in self.files():
            with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
                ends.append(datetime.fromisoformat(orjson.loads(path.read_bytes())["ends_at"]))
        return max(ends, default=None)

    def files(self) -> Iterator[Path]:
        """The files of epochs in every directory, also of other databases."""
        for directory in self.directories:
            for path in sorted(directory.glob("epoch_*")):
                if _FILE.fullmatch(path.name):
                    yield path

    def _is_current(self, name: EpochName, path: Path) -> bool:
        """Whether a file opens and is under the active master key. Raises: WrongEpochKey."""
        try:
            content = _read(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _failed(error) from error
        try:
            self._opened(name, content)
        except WrongEpochKey:
            return False
        return bool(orjson.loads(content)["master_key_id"] == self.master_keys.active)

    def _content(self, epoch: Epoch) -> bytes:
        master = self.master_keys.keys[self.master_keys.active]
        suite = suite_named(self.algorithm)
        wrapped = suite.encrypt(master, epoch.key, _context(epoch.name, rfc3339(epoch.ends_at)))
        return orjson.dumps(
            {
                "algorithm": suite.name,
                "ends_at": rfc3339(epoch.ends_at),
                "master_key_id": self.master_keys.active,
                "wrapped": base64.b64encode(wrapped).decode(),
            }
        )

    def _opened(self, name: EpochName, content: bytes) -> Epoch:
        try:
            found = orjson.loads(content)
            master = self.master_keys.keys.get(found["master_key_id"])
            if master is None:
                raise WrongKey(reason=f"master key {found['master_key_id']!r} is not configured")
            wrapped = base64.b64decode(found["wrapped"], validate=True)
            context = _context(name, found["ends_at"])
            key = suite_named(found["algorithm"]).decrypt(master, wrapped, context)
            ends_at = datetime.fromisoformat(found["ends_at"])
        except WrongKey as error:
            reason = f"{name.file} does not open: {error.fields['reason']}"
            raise WrongEpochKey(reason=reason) from None
        except (ValueError, TypeError, KeyError, binascii.Error):
            raise WrongEpochKey(reason=f"{name.file} is damaged") from None
        return Epoch(name, ends_at, key)


def parse_file_name(path: Path) -> EpochName:
    """The epoch of a file of `EpochKeys.files`."""
    found = _FILE.fullmatch(path.name)
    assert found is not None
    return EpochName(int(found[1]), found[2])


def _context(name: EpochName, ends_at: str) -> bytes:
    return f"certledger epoch key v1|{name.number}|{name.key_id}|{ends_at}".encode()


def _read(path: Path) -> bytes:
    """Raises: OSError; WrongEpochKey for a file that others can read."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        content = file.read()
    if mode & 0o077:
        raise WrongEpochKey(reason=f"{path} is open to others ({mode:04o}); chmod it to 0600")
    return content


def _write(directory: Path, name: str, content: bytes) -> None:
    """Write a private file durably; what it replaces is overwritten. Raises: WrongEpochKey."""
    path, draft = directory / name, directory / f".{name}.{os.getpid()}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = path.open("r+b") if path.exists() else None
        with open(draft, "wb", opener=private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        if before is not None:
            with before:
                _overwrite(before.fileno())
        sync_directory(directory)
    except OSError as error:
        raise _failed(error) from error


def _destroy(path: Path) -> int:
    """Overwrite and unlink a file. Returns: 1, or 0 if there is none. Raises: OSError."""
    try:
        with path.open("r+b") as file:
            _overwrite(file.fileno())
    except FileNotFoundError:
        path.parent.stat()  # a directory that is not there may come back with the file
        return 0
    with suppress(FileNotFoundError):
        path.unlink()
    sync_directory(path.parent)
    return 1


def _overwrite(file: int) -> None:
    """Replace the bytes of an open file durably, as far as its file system writes in place."""
    size = os.fstat(file).st_size
    os.pwrite(file, os.urandom(size), 0)
    os.fsync(file)


def _failed(error: OSError) -> WrongEpochKey:
    return WrongEpochKey(reason=f"{error.filename}: {error.strerror}")

"""A ledger that was restored from before erasures, and its register."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.environment import open_environment
from api.settings import Settings
from api.transparency.erasure_register import own_register, register_name
from api.transparency.log_keys import make_log_key
from domain.store.tlog.erasure_entries import ErasureEntry
from domain.store.tlog.heads import HeadPlace
from tests.support.http_journey import OPENED_AT, Journey
from tests.support.postgres import Database
from tests.support.rolled_back import ORIGIN, SITE_CODE, Copy, heads, serving, wait_for
from tests.support.service import opening, settings_for

ERASED_AT = "2026-11-27T09:00:00+08:00"


@dataclass(frozen=True)
class Backup:
    """A database, and a backup of it from before an erasure.

    settings: of the service that erased. folder: the backup's data directory.
    """

    settings: Settings
    copy: Copy
    folder: Path

    def restored(self, *, register: bool, **changed: Any) -> Settings:
        """Restore the backup. Returns: the settings of a service on it.

        register: whether the newer register of erasures is put next to it.
        """
        self.copy.put_back()
        if register:
            erasures = self.settings.data_dir / "erasures"
            shutil.copytree(erasures, self.folder / "erasures", dirs_exist_ok=True)
        return self.settings.model_copy(update={"data_dir": self.folder} | changed)


def erased_after_a_backup(database: Database, folder: Path, *who: int, **given: Any) -> Backup:
    """Candidates 1 and 2 register, a backup is taken, and then two persons erase some of them."""
    settings = settings_for(database.dsn, folder / "data", **given)
    make_log_key(settings, "omc")
    with serving(settings) as ledger:
        operator = ledger.backdated("operator").at(OPENED_AT)
        operator.write("", opening(SITE_CODE, "omc"), method="PUT")
        for n in (1, 2):
            Journey(ledger, n).register()
        [(position,)] = database.execute("SELECT position FROM certledger.ledgers")
        assert wait_for(lambda: position in heads(settings))
        drafts = shutil.ignore_patterns(".*")  # a file that is being written
        shutil.copytree(settings.data_dir, folder / "backup", ignore=drafts)
        copy = Copy(database)
        for n in who:
            Journey(ledger, n).erase(ERASED_AT)
    return Backup(settings, copy, folder / "backup")


def positions(place: HeadPlace, origin: str = ORIGIN) -> list[int]:
    """The positions of the erasures that a place has of a log."""
    return place.sizes(register_name(origin))


def own_positions(settings: Settings, origin: str = ORIGIN) -> list[int]:
    """Those in the data directory."""
    return positions(own_register(settings), origin)


def texts(folder: Path) -> dict[str, str]:
    """Every entry below a directory by its name."""
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def repeat(settings: Settings, operator: str = "Li Lei") -> list[ErasureEntry]:
    """Do again what the ledger lacks, as `certledger erasures --repeat` does."""
    with open_environment(settings, withhold=False) as environment:
        return environment.register.repeat(environment.ledger("omc"), operator)

"""`certledger backup`: copies the embedded database and the attachments of a running service.

The register of erasures is in every backup: what is restored from it does not undo them unnoticed.

It takes PostgreSQL's own base backup, verifies it against its manifest, and then copies the
attachments: a file is stored before the event that names it, so no named file is missing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from fnmatch import fnmatch
from pathlib import Path

import click

from api.cli.environment import data_option, open_cluster, settings_of
from api.settings import KEY_BYTES, Settings
from api.transparency.log_keys import NEWEST_HEAD
from domain.store.privacy.epoch_keys import EpochKeys, MasterKeys
from domain.values.working_days import shanghai_date


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A new directory.",
)
@click.option(
    "--with-keys", is_flag=True, help="Copy the keys too: with both, all names can be read."
)
@data_option
def backup(out: Path, with_keys: bool, data: Path | None) -> None:
    """Copy the embedded database, its heads, the register of erasures and the attachments.

    It may be taken while the service runs. The copy is a data directory: `certledger serve --data
    DIR` starts on it. The keys are not copied unless --with-keys is given; then the command says by
    which day to delete the copy.
    """
    settings = settings_of(data)
    if not settings.embedded:
        reason = "back up an external database with pg_basebackup and an archive of its WAL"
        raise click.ClickException(reason)
    if out.exists() and any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    out.chmod(0o700)
    # Before the database: a head may be older than the copy, but never newer.
    _copy(settings, out, ["heads"])
    if with_keys:
        _copy(settings, out, ["keys"], only=f"*{NEWEST_HEAD}")
        _copy_epoch_keys(settings, out)
    with open_cluster(settings) as (dsn, programs):
        cluster = out / "postgres"
        how = ("--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256")
        _run(programs / "pg_basebackup", f"--dbname={dsn}", f"--pgdata={cluster}", *how)
    files = _verify(cluster)
    # After the database: an erasure that it has or lacks is never missing here.
    _copy(settings, out, ["erasures"])
    if settings.blob_url is None:
        _copy(settings, out, ["blobs"])
    if with_keys:
        _copy(settings, out, ["keys"], but=f"*{NEWEST_HEAD}")
        _copy_epoch_keys(settings, out)
    click.echo(f"backup of {settings.data_dir} in {out}: {files} database files verified")
    if not with_keys:
        click.echo("the keys are not in it; without them no name in it can ever be read")
    elif (day := _delete_by(settings)) is not None:
        click.echo(
            f"until it is deleted, it opens whatever is erased from now on: delete it by {day}, or "
            "it delays every erasure beyond the day that was named"
        )


def _epoch_keys(settings: Settings) -> EpochKeys:
    """The files of epochs, to be listed and copied; no key is opened."""
    nothing = MasterKeys("", {"": bytes(KEY_BYTES)})
    days = settings.epoch_days, settings.backup_days
    return EpochKeys(nothing, settings.key_directories, *days)


def _copy_epoch_keys(settings: Settings, out: Path) -> None:
    """Copy the keys of epochs to where the copy looks for them.

    Before the database and after it: an epoch may end meanwhile, and a key that the copy needs be
    destroyed.
    """
    target = out / "keys" / "epochs"
    for path in _epoch_keys(settings).files():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        _copy_if_there(path, target / path.name)


def _delete_by(settings: Settings) -> date | None:
    """The day that the answer to an erasure names today; None before the first epoch."""
    keys = _epoch_keys(settings)
    end = keys.last_end()
    return None if end is None else shanghai_date(end) + timedelta(days=keys.backup_days)


def _run(program: Path, *arguments: str) -> None:
    """Run one of PostgreSQL's programs. Raises: ClickException with its last error line."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise click.ClickException(f"{program.name}: {reason}")


def _verify(cluster: Path) -> int:
    """Compare every file with the manifest, as pg_verifybackup does, which crashes in the wheel.

    Returns: the number of files. Raises: ClickException for the first that differs.
    """
    manifest = json.loads((cluster / "backup_manifest").read_bytes())
    for file in manifest["Files"]:
        name = file.get("Path") or bytes.fromhex(file["Encoded-Path"]).decode()
        with (cluster / name).open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != file["Checksum"]:
            raise click.ClickException(f"{name} differs from its checksum; take the backup again")
    return len(manifest["Files"])


def _copy(
    settings: Settings,
    out: Path,
    names: Sequence[str],
    *,
    only: str = "*",
    but: str = "",
) -> None:
    """Copy folders of the data directory, if they exist. only, but: patterns of their files."""
    home = settings.data_dir.expanduser().absolute()

    def left_out(_: str, found: list[str]) -> set[str]:
        return {file for file in found if not fnmatch(file, only) or fnmatch(file, but)}

    for name in names:
        if (home / name).is_dir():
            shutil.copytree(
                home / name,
                out / name,
                copy_function=_copy_if_there,
                ignore=None if (only, but) == ("*", "") else left_out,
                dirs_exist_ok=True,
            )


def _copy_if_there(source: str | Path, target: str | Path) -> None:
    """Copy a file, unless it has gone since it was listed.

    Of attachments only those go that no event names, or whose key an erasure destroyed; of keys,
    those of epochs that are over; of heads, old ones.
    """
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)

"""What every command of the program works with: the settings, the database, the ledgers.

A command attaches to the database that a service already runs on, or starts the embedded one for
as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from api.auth.secrets import load_secrets
from api.settings import Settings, load_settings
from api.transparency.log_keys import log_key_path, log_seed
from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.store.blobs import Blobs
from domain.store.embedded.server import SUPERUSER, EmbeddedPostgres
from domain.store.errors import UnknownLedger
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from domain.store.tlog.audit import AuditReport, verify
from domain.store.tlog.signed_note import Signer
from projections.catalogue import VIEWS
from projections.engine import generations as schema

F = TypeVar("F", bound=Callable[..., Any])

data_option: Callable[[F], F] = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory of the embedded database (CERTLEDGER_DATA_DIR, .data).",
)


@dataclass(frozen=True)
class CliEnvironment:
    """An open database. dsn: the role that owns the schema."""

    settings: Settings
    dsn: str = field(repr=False)
    secrets: LedgerSecrets = field(repr=False)
    ledgers: Ledgers
    blobs: Blobs

    def ledger(self, name: str | None) -> Ledger:
        """The ledger of that name, or the only one there is. Raises: UnknownLedger, UsageError."""
        if name is None:
            names = self.ledgers.names()
            if len(names) != 1:
                known = ", ".join(names) or "none"
                raise click.UsageError(f"say which --ledger; there are: {known}.")
            name = names[0]
        return self.ledgers.get(name)

    def audit(self, ledger: Ledger, vkey: str | None, notes: Sequence[str]) -> AuditReport:
        """Hash every event of a ledger again; see `domain.store.tlog.audit`."""
        return verify(ledger.journal, vkey, notes)

    def log_signer(self, ledger: Ledger) -> Signer:
        """What signs a ledger's log; the embedded database makes its key on the way.

        Raises: NoLogKey, LogKeyUnusable, NotFound if the book is not open.
        """
        origin = ledger.state("ledger").opened.log_origin
        return Signer(origin, log_seed(self.settings, ledger.name))

    def known_vkey(self, ledger: Ledger) -> str | None:
        """The public key of a ledger's log if its key is here, None if not; makes none."""
        if not log_key_path(self.settings, ledger.name).exists():
            return None
        return self.log_signer(ledger).verifier.vkey

    def ensure_views(self) -> None:
        """Make the tables of views that were never followed."""
        connection = connect(self.dsn, name="certledger tables")
        try:
            schema.ensure(connection, VIEWS)
        finally:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        """A connection that sees one moment, whatever is recorded or folded meanwhile."""
        limits = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
        connection = connect(self.dsn, name="certledger export", settings=limits)
        try:
            connection.autocommit = False
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            yield connection
        finally:
            connection.close()

    def chosen(self, name: str | None) -> list[Ledger]:
        """One ledger, or all of them. Raises: UnknownLedger."""
        return [self.ledgers.get(n) for n in ([name] if name else self.ledgers.names())]


def settings_of(data: Path | None, **given: Any) -> Settings:
    """The settings, with what was said on the command line. Raises: SettingsInvalid."""
    return load_settings(data_dir=data, **given)


@contextmanager
def open_database(settings: Settings) -> Iterator[str]:
    """The address of the database, brought up to date; ours is started, or attached to.

    Raises: CannotStart, and psycopg2.Error if yours can't be reached.
    """
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        migrate(dsn)
        yield dsn
        return
    with EmbeddedPostgres(settings.data_dir) as server:
        migrate(server.dsn())
        yield server.dsn()


@contextmanager
def open_cluster(settings: Settings) -> Iterator[tuple[str, Path]]:
    """The superuser's address of the embedded server, and where PostgreSQL's programs are."""
    with EmbeddedPostgres(settings.data_dir) as server:
        yield server.dsn(SUPERUSER, "postgres"), server.binaries


@contextmanager
def open_store(settings: Settings) -> Iterator[CliEnvironment]:
    """Everything a command may need. Raises: as `open_database`; SettingsInvalid."""
    # Here, because the service's modules take half a second that `--help` should not wait for.
    from api.app import secrets_of_ledgers

    secrets = secrets_of_ledgers(settings, load_secrets(settings))
    with open_database(settings) as dsn:
        ledgers = Ledgers(dsn, secrets)
        try:
            yield CliEnvironment(settings, dsn, secrets, ledgers, Blobs(settings.blobs))
        finally:
            ledgers.close()


def ledger_or_none(store: CliEnvironment, name: str) -> Ledger | None:
    """A ledger by its name, None if there is none."""
    try:
        return store.ledgers.get(name)
    except UnknownLedger:
        return None

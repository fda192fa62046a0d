"""The environment of a command: settings, database, ledgers, attachments.

A command attaches to the database that a service already runs on, or starts the embedded one and
stops it at its end. Begin with `open_environment`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from api.auth.secrets import load_service_keys
from api.settings import Settings, load_settings
from api.transparency.checkpoint_signing import LogSigner
from api.transparency.erasure_register import ErasureRegister
from api.transparency.log_keys import log_key_path, log_seed
from api.transparency.service_keys import keys_in_use
from domain.service.ledger import Ledger, Ledgers, LedgerSecrets
from domain.store.blobs import Blobs
from domain.store.embedded.server import SUPERUSER, EmbeddedPostgres
from domain.store.errors import UnknownLedger
from domain.store.postgres.connection import Connection, connect
from domain.store.postgres.migrate import migrate
from domain.store.tlog.audit import AuditReport, verify
from domain.store.tlog.signed_note import Signer
from domain.values.logins import is_service, normal_form
from domain.values.primitives import SERVICE_LEDGER
from projections.catalogue import VIEWS
from projections.engine import generations as schema

F = TypeVar("F", bound=Callable[..., Any])

data_option: Callable[[F], F] = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory of the embedded database (CERTLEDGER_DATA_DIR, .data).",
)


def person_login(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    """The callback of an option that names a person. Raises: BadParameter."""
    if given is not None and (not normal_form(given) or is_service(given)):
        raise click.BadParameter("name a person; the service itself is none.")
    return given


@dataclass(frozen=True)
class CliEnvironment:
    """An open database and its ledgers. dsn: of the role that owns the schema."""

    settings: Settings
    dsn: str = field(repr=False)
    secrets: LedgerSecrets = field(repr=False)
    ledgers: Ledgers
    blobs: Blobs
    register: ErasureRegister

    def ledger(self, name: str | None) -> Ledger:
        """The ledger of that name, or the only one of an organisation.

        Raises: UnknownLedger, UsageError.
        """
        if name is None:
            names = [each for each in self.ledgers.names() if each != SERVICE_LEDGER]
            if len(names) != 1:
                known = ", ".join(names) or "none"
                raise click.UsageError(f"choose a --ledger; there are: {known}.")
            name = names[0]
        return self.ledgers.get(name)

    def audit(self, ledger: Ledger, vkey: str | None, notes: Sequence[str]) -> AuditReport:
        """Verify every event of a ledger; see `domain.store.tlog.audit`."""
        return verify(ledger.journal, vkey, notes)

    def log_signer(self, ledger: Ledger) -> Signer:
        """The signer of a ledger's log; makes its key if missing, with the embedded database.

        Raises: NoLogKey, LogKeyUnusable, NotFound if the ledger is not set up.
        """
        state = ledger.state("ledger")
        seed = log_seed(self.settings, ledger.name, state.log_number)
        return Signer(state.log_origin, seed)

    def known_vkey(self, ledger: Ledger) -> str | None:
        """The public key of a ledger's log; None if its key is not on this machine. Makes none."""
        number = ledger.state("ledger").log_number
        if not log_key_path(self.settings, ledger.name, number).exists():
            return None
        return self.log_signer(ledger).verifier.vkey

    def ensure_shown(self, ledger: Ledger) -> None:
        """Raises: ErasuresMissing; what prevents the comparison with the register."""
        self.register.compare(ledger)
        ledger.guard.check_read()

    def ensure_views(self) -> None:
        """Create the tables of views that have none yet."""
        connection = connect(self.dsn, name="certledger tables")
        try:
            schema.ensure(connection, VIEWS, self.secrets.epoch_keys)
        finally:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection with one snapshot of the database, for as long as it is open."""
        limits = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
        connection = connect(self.dsn, name="certledger export", settings=limits)
        try:
            connection.autocommit = False
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            yield connection
        finally:
            connection.close()

    def chosen(self, name: str | None) -> list[Ledger]:
        """One ledger, or all of them if `name` is None. Raises: UnknownLedger."""
        return [self.ledgers.get(n) for n in ([name] if name else self.ledgers.names())]


def settings_of(data: Path | None, **given: Any) -> Settings:
    """The settings, overridden by the options of the command. Raises: SettingsInvalid."""
    return load_settings(data_dir=data, **given)


@contextmanager
def open_database(settings: Settings) -> Iterator[str]:
    """The DSN of the migrated database; starts the embedded one, or attaches to it.

    Raises: CannotStart; psycopg2.Error if an external database can't be reached.
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
    """The superuser's DSN of the embedded server, and the folder of PostgreSQL's programs."""
    with EmbeddedPostgres(settings.data_dir) as server:
        yield server.dsn(SUPERUSER, "postgres"), server.binaries


@contextmanager
def open_environment(settings: Settings, *, withhold: bool = True) -> Iterator[CliEnvironment]:
    """The environment of a command. Raises: as `open_database`; SettingsInvalid.

    withhold: whether a ledger that lacks erasures takes no commands.
    """
    # Imported here, because the service's modules take half a second, too long for `--help`.
    from api.app import secrets_of_ledgers

    keys = load_service_keys(settings)
    secrets = secrets_of_ledgers(settings, keys)
    signer, register = LogSigner(settings), ErasureRegister(settings)

    def watch(ledger: Ledger) -> None:
        signer.watch(ledger)
        register.watch(ledger, withhold=withhold)

    with open_database(settings) as dsn:
        ledgers = Ledgers(
            dsn,
            secrets,
            keys_of=partial(keys_in_use, settings, keys),
            on_open=watch,
            write_unsigned=settings.write_unsigned,
        )
        try:
            blobs = Blobs(settings.blobs)
            yield CliEnvironment(settings, dsn, secrets, ledgers, blobs, register)
        finally:
            ledgers.close()


def ledger_or_none(environment: CliEnvironment, name: str) -> Ledger | None:
    """A ledger by its name; None if there is none."""
    try:
        return environment.ledgers.get(name)
    except UnknownLedger:
        return None

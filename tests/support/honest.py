"""A database with the example cohort, signed and with views, and copies of it to tamper with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.cli.environment import CliEnvironment, open_environment
from api.cli.verify import trust_of
from api.settings import Settings
from api.transparency.head_places import own_place
from api.transparency.log_keys import make_log_key, newest_head_file
from domain.audit.full import AuditSubject, FullReport, audit_ledger, subject_of
from domain.service.ledger import Ledgers
from domain.store.embedded.server import SUPERUSER, EmbeddedPostgres
from domain.store.postgres.connection import connect
from domain.store.tlog.checkpoints import CheckpointSigner
from projections.catalogue import VIEWS
from projections.engine.catch_up import catch_up
from tests.support.cohort import COHORT, load
from tests.support.ledgers import SITE_CODE
from tests.support.postgres import Database, fresh_database
from tests.support.service import settings_for

TABLES = (
    *("journal", "ledgers", "commands", "claims", "data_keys", "logins", "checkpoints"),
    *("snapshots", "bucket_keys", "epochs"),
)


@dataclass(frozen=True)
class Honest:
    """A database with the example cohort, signed and with views, to make copies of."""

    server: EmbeddedPostgres
    name: str
    folder: Path
    size: int


@contextmanager
def honest_database(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Honest]:
    """The cohort in a database of its own, with three signed heads there and in its folder.

    The newest is next to the log key, too.
    """
    with fresh_database(postgres) as database:
        settings = settings_for(database.dsn, folder)
        make_log_key(settings, "omc")
        with open_environment(settings) as store:
            ledger = store.ledgers.create("omc", SITE_CODE)
            load(ledger, store.blobs, COHORT)
            catch_up(database.dsn, store.secrets, "omc", VIEWS, 60)
            places = (own_place(settings), newest_head_file(settings, "omc"))
            signer = CheckpointSigner(ledger.journal, store.log_signer(ledger), places)
            size = ledger.journal.head().position
            for part in (size // 3, size // 2, size):
                signer.sign(part)
        yield Honest(postgres, database.name, folder, size)


@dataclass(frozen=True)
class Copy:
    """A copy of the honest database and its folder, open for one test."""

    database: Database
    settings: Settings
    store: CliEnvironment

    def audit(self, keys: tuple[str, ...] = ()) -> FullReport:
        with closing(Ledgers(self.store.dsn, self.store.secrets)) as ledgers:
            return self._audit(subject_of(ledgers.get("omc")), keys)

    def _audit(self, ledger: AuditSubject, keys: tuple[str, ...]) -> FullReport:
        trust = trust_of(self.settings, ledger, keys, ())
        return audit_ledger(
            ledger,
            self.store.blobs,
            vkeys=tuple(trust.vkeys),
            heads=trust.heads,
            ends=trust.ends,
            lost=trust.lost,
            secrets=self.store.secrets,
        )

    def as_superuser(self, *statements: str) -> None:
        """Run statements with every trigger off."""
        with self.database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"ALTER TABLE certledger.{table} DISABLE TRIGGER ALL")
            for statement in statements:
                cursor.execute(statement)
            for table in TABLES:
                cursor.execute(f"ALTER TABLE certledger.{table} ENABLE TRIGGER ALL")

    def as_application(self, *statements: str) -> None:
        """Run statements with the rights of the application alone."""
        connection = connect(self.database.dsn)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()


@contextmanager
def copy_of(honest: Honest, folder: Path) -> Iterator[Copy]:
    """A copy of the database and its folder, open."""
    with fresh_database(honest.server, f"TEMPLATE {honest.name}") as database:
        shutil.copytree(honest.folder, folder, dirs_exist_ok=True)
        settings = settings_for(database.dsn, folder)
        with open_environment(settings) as store:
            yield Copy(database, settings, store)

"""What docs/production.md tells an administrator to do works, and grants no more than it says."""

import re
from contextlib import closing

import psycopg2
import pytest

from api.settings import Settings, SettingsInvalid, load_settings
from domain.store.embedded.server import SUPERUSER, EmbeddedPostgres
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from scripts.documents.citations import ROOT
from tests.docs.blocks import block_under
from tests.support.actors import ASSISTANT
from tests.support.commands import introduce_key, open_ledger, register
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database

PAGE = "docs/production.md"
TEXT = (ROOT / PAGE).read_text("utf-8")


@pytest.fixture
def prepared(server_dir):
    """A server of its own on which an administrator typed what the page says."""
    with EmbeddedPostgres(server_dir) as server:
        admin = Database(server, "postgres")
        admin.execute("DROP DATABASE certledger", user=SUPERUSER)  # this server comes with one
        for statement in block_under(PAGE, "PostgreSQL", "sql").text.splitlines():
            admin.execute(statement, user=SUPERUSER)
        yield server.dsn("certledger_owner", "certledger"), Owned(server, "certledger")


class Owned(Database):
    """The database, as its documented owner reaches it."""

    @property
    def dsn(self) -> str:
        return self.server.dsn("certledger_owner", self.name)


def test_the_roles_of_the_page_are_enough_to_migrate_and_to_record(prepared):
    dsn, database = prepared
    assert migrate(dsn) != ()
    assert migrate(dsn) == ()
    with a_real_ledger(database) as world:
        world.do(open_ledger())
        world.do(introduce_key())
        recorded = world.do(register(1), by=ASSISTANT)
        assert recorded.last_position == world.ledger.journal.head().position


def test_neither_the_program_nor_the_owner_changes_the_past(prepared):
    dsn, database = prepared
    with a_real_ledger(database) as world:
        world.do(open_ledger())
    for role in ("certledger_app", None):
        with closing(connect(dsn, role=role)) as connection, connection.cursor() as cursor:
            for change in (
                "UPDATE certledger.journal SET topic = 'x'",
                "DELETE FROM certledger.journal",
                "TRUNCATE certledger.journal",
            ):
                with pytest.raises(psycopg2.Error, match=r"permission denied|append-only"):
                    cursor.execute(change)


def test_a_missing_secret_stops_the_start_and_is_named(monkeypatch):
    monkeypatch.setenv("CERTLEDGER_DATABASE_URL", "postgresql://certledger_owner@db/certledger")
    with pytest.raises(SettingsInvalid, match=r"CERTLEDGER_MASTER_KEY.*CERTLEDGER_TOKEN_KEY"):
        load_settings()


def test_every_setting_that_is_named_is_one():
    guides = [path.read_text("utf-8") for path in (ROOT / "docs/how-to").glob("*.md")]
    named = set(re.findall(r"CERTLEDGER_([A-Z_]+[A-Z])", "\n".join([TEXT, *guides])))
    assert named <= {name.upper() for name in Settings.model_fields}

"""The grammar of the view tests: a history goes into a real journal, views fold it, rows come out.

`record(world)` writes what a `World` recorded since the last time; `fold()` advances the views as
the runner would; `rows(table)` returns what they wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg2.extensions

from domain.events import CATALOGUE, ERASURE, Fact
from domain.service.ledger import LedgerSecrets
from domain.store.journal.records import AppendRequest, NewEvent
from domain.store.mapper import Catalogue, EntryMapper, JournalEntry
from domain.store.postgres.connection import connect
from domain.store.privacy.bucket_keys import bucket_keys_of
from domain.store.privacy.field_encryption import Vault, stored_keys
from domain.store.privacy.index_ciphers import LiveIndexCiphers, StoredIndexes
from domain.store.privacy.live_epochs import live_epochs_of
from domain.values.sealed_fields import person_owner
from projections.catalogue import VIEWS
from projections.engine import generations
from projections.engine.generation_writer import GenerationWriter
from projections.engine.journal_reader import read
from projections.engine.ledger_projector import LedgerProjector
from projections.engine.vaults import row_keys_of, vault_of, writer_of
from projections.engine.view import View
from tests.support.keys import journal_of
from tests.support.ledgers import SECRETS
from tests.support.world import World


def keys_of(fact: Fact) -> tuple[tuple[str, str], ...]:
    """The keys that a fact destroys."""
    if not isinstance(fact, ERASURE):
        return ()
    return tuple((person_owner(fact.person_id), each.value) for each in fact.destroyed)


class Counting(psycopg2.extensions.cursor):
    """A cursor that remembers its queries."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.queries: list[str] = []

    def execute(self, query: Any, arguments: Any = None) -> None:
        if str(query).startswith("SELECT"):
            self.queries.append(str(query))
        super().execute(query, arguments)


class ProjectedLedger:
    """One ledger's journal, and views of it that a test folds when it wants to."""

    def __init__(self, dsn: str, ledger: str = "omc", views: Sequence[View] = VIEWS) -> None:
        self.dsn = dsn
        self.name = ledger
        self.views = tuple(views)
        self.journal = journal_of(dsn, ledger)
        self.journal.create_ledger()
        self.connection: Any = connect(dsn, name="test")
        generations.ensure(self.connection, self.views, SECRETS.epoch_keys)
        self.recorded = 0
        self.bucket_keys = bucket_keys_of(self.journal, SECRETS.epoch_keys)
        vault = Vault(
            ledger,
            self.bucket_keys,
            SECRETS.index_key,
            stored_keys(self.journal),
        )
        self._mapper = EntryMapper(catalogue=Catalogue(CATALOGUE), vault=vault)
        self._vault = vault
        epochs = live_epochs_of(dsn, SECRETS.epoch_keys)
        self.indexes = StoredIndexes(vault, LiveIndexCiphers(epochs))

    def close(self) -> None:
        self.journal.close()
        self.connection.close()

    # --- writing ---------------------------------------------------------------------------------

    def record(self, world: World) -> ProjectedLedger:
        """Write every entry of a world that was not written before."""
        entries = world.entries[self.recorded :]
        with self.journal.transaction() as transaction:
            for entry in entries:
                sealer = self._vault.encryptor(transaction.batch)
                drafted = self._mapper.new_event(_full(self.name, entry), sealer)
                transaction.append(
                    [
                        AppendRequest(
                            (drafted,),
                            fresh_keys=sealer.fresh_keys,
                            destroy_keys=keys_of(entry.fact),
                        )
                    ]
                )
        self.recorded = len(world.entries)
        self._vault.forget()
        return self

    def write(self, *drafts: NewEvent) -> int:
        """Write drafts as they are. Returns: the last position."""
        with self.journal.transaction() as transaction:
            recorded = transaction.append([AppendRequest(drafts)])
        return recorded[0][-1].position

    # --- folding ---------------------------------------------------------------------------------

    def targets(self, *views: View) -> list[GenerationWriter]:
        """The views with their current tables."""
        wanted = views or self.views
        with self.connection.cursor() as cursor:
            made = generations.in_force(cursor, [view.name for view in wanted])
        return [writer_of(SECRETS, view, made[view.name]) for view in wanted]

    def projector(
        self, *, batch: int = 1000, retry_seconds: float = 30.0, secrets: LedgerSecrets = SECRETS
    ) -> LedgerProjector:
        """A projector as the runner has for each ledger."""
        vault = vault_of(secrets, self.name, self.connection)
        projector = LedgerProjector(
            self.name,
            vault,
            batch=batch,
            retry_seconds=retry_seconds,
            row_keys=row_keys_of(secrets),
        )
        projector.reload_positions(self.connection, self.views)
        return projector

    def fold(self, *, batch: int = 1000, secrets: LedgerSecrets = SECRETS) -> ProjectedLedger:
        """Advance every view to the head."""
        self.projector(batch=batch, secrets=secrets).advance(self.connection, self.targets())
        return self

    def queries_of(self, world: World, view: View) -> list[str]:
        """Record what is new in a world. Returns: the queries that fold it into a view; undone."""
        after = self.journal.head().position
        self.record(world)
        vault = vault_of(SECRETS, self.name, self.connection)
        [target] = self.targets(view)
        with self.connection.cursor(cursor_factory=Counting) as cursor:
            entries = read(cursor, vault, after, 1000)
            cursor.execute("BEGIN")
            cursor.queries.clear()
            target.apply(cursor, self.name, entries, vault)
            cursor.execute("ROLLBACK")
        return cursor.queries

    # --- reading ---------------------------------------------------------------------------------

    def cursor(self) -> Any:
        return self.connection.cursor()

    def execute(self, sql: str, arguments: Any = None) -> list[tuple]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str, order: str = "1", **where: Any) -> list[dict[str, Any]]:
        """Rows of a view's table of this ledger, with the columns that equal the given ones."""
        condition = "".join(f" AND {name} = %({name})s" for name in where)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT * FROM views.{table} WHERE ledger = %(ledger)s{condition} "
                f"ORDER BY {order}",
                {"ledger": self.name, **where},
            )
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def row(self, table: str, **where: Any) -> dict[str, Any]:
        """The one row there is."""
        found = self.rows(table, **where)
        assert len(found) == 1, f"{len(found)} rows of {table} with {where}"
        return found[0]

    def position(self, view: str) -> int:
        """The position of a view."""
        found = self.execute(
            "SELECT position FROM certledger.tracking WHERE ledger = %s AND view = %s",
            (self.name, view),
        )
        return found[0][0] if found else 0

    def contents(self, *views: View) -> dict[str, list[tuple]]:
        """All rows of the views, table by table, in order of their keys."""
        contents = {}
        for view in views or self.views:
            for table in view.tables:
                names = ", ".join(("ledger", *table.columns))
                key = ", ".join(table.primary_key)
                sql = f"SELECT {names} FROM views.{table.name} ORDER BY {key}"
                contents[table.name] = self.execute(sql)
        return contents


def _full(ledger: str, entry: Any) -> JournalEntry:
    """A world's entry with everything the journal requires."""
    name = f"{ledger}/{entry.originator_id}/{entry.originator_version}"
    number = uuid5(NAMESPACE_URL, f"https://example.com/{name}")
    return JournalEntry(
        originator_id=entry.originator_id,
        originator_version=entry.originator_version,
        event_id=number,
        occurred_at=entry.occurred_at,
        recorded_at=None,
        actor=entry.actor,
        command_id=number,
        correlation_id=number,
        causation_id=None,
        fact=entry.fact,
    )

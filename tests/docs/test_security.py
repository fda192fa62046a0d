"""The page about security names every stored hash, id and MAC, with its input and its key."""

from __future__ import annotations

import re
from pathlib import Path

from domain.events import CATALOGUE
from domain.values.sealed_fields import models_in
from projections.catalogue import VIEWS
from projections.engine.tables import Table
from tests.support.ledgers import a_real_ledger
from tests.support.postgres import Database

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
_TABLE = TEXT.partition("\n|---|---|---|---|\n")[2].partition("\n\n")[0]
ROWS = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in _TABLE.splitlines()]
NAMED = {name for row in ROWS for name in re.findall(r"`([a-z_]+\.[a-z_0-9]+)`", row[0])}

NOT_COMPUTED = {"commands.receipt", "journal.envelope", "snapshots.state"}
"""Bytes that are content and no hash; what is in an envelope has rows of its own."""


def test_every_row_says_input_key_and_who_has_it() -> None:
    assert len(ROWS) > 15
    for row in ROWS:
        assert len(row) == 4, row
        assert all(row), row


def test_every_hash_in_an_envelope_has_its_row() -> None:
    models = {model for fact in CATALOGUE.values() for model in (fact, *models_in(fact))}
    hashes = {
        name for model in models for name in model.model_fields if re.search("sha256|_root$", name)
    }
    assert {"card_sha256", "file_sha256", "old_head_root"} <= hashes
    named = {name for row in ROWS for name in re.findall(r"`([a-z_0-9]+)`", row[0])}
    assert hashes <= named


def test_every_column_of_bytes_and_ids_has_its_row(database: Database) -> None:
    with a_real_ledger(database):
        found = database.execute(
            "SELECT table_name || '.' || column_name FROM information_schema.columns "
            "WHERE table_schema = 'certledger' AND data_type IN ('bytea', 'uuid') "
            "AND table_name <> 'migrations'"
        )
    columns = {name for (name,) in found}
    assert columns >= NOT_COMPUTED
    assert columns - NOT_COMPUTED <= NAMED


def test_every_secret_column_of_a_view_has_its_row() -> None:
    tables = [table for view in VIEWS for table in view.tables]
    assert all(isinstance(table, Table) for table in tables)
    secret = {f"{table.name}.{name}" for table in tables for name in table.secret}
    assert {"certificates.verify_token", "certificates.document_index"} <= secret
    assert secret <= NAMED


def test_no_row_is_about_a_column_that_is_gone(database: Database) -> None:
    with a_real_ledger(database):
        found = database.execute(
            "SELECT table_name || '.' || column_name FROM information_schema.columns "
            "WHERE table_schema = 'certledger'"
        )
    columns = {name for (name,) in found}
    columns |= {f"{t.name}.{name}" for view in VIEWS for t in view.tables for name in t.columns}
    assert columns >= NAMED

"""The peers of the `rebuild` benchmark produce the same rows as a rebuild.

Covers: scripts/benchmarks/registry_sql.py, scripts/benchmarks/stock_projection.py
"""

from collections.abc import Iterator
from typing import Any

import pytest

from api.cli.environment import CliEnvironment
from domain.store.mapper import JournalEntry
from projections.catalogue import VIEWS
from projections.certificate_registry.public_record import PUBLIC_COLUMNS
from projections.certificate_registry.tables import CERTIFICATES
from projections.engine import generations
from projections.engine.view import View
from projections.rebuild import rebuild
from scripts.benchmarks import registry_sql, stock_projection
from scripts.benchmarks.cohorts import cohort_store, copy
from scripts.benchmarks.server import Server, server
from scripts.benchmarks.service import DATABASE

Cohort = tuple[Server, CliEnvironment, list[JournalEntry]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cohort() -> Iterator[Cohort]:
    with server() as running, cohort_store(running) as (store, entries):
        store.ensure_views()
        rebuild.replace(store.dsn, store.secrets)
        yield running, store, entries


def different(running: Server, one: str, other: str) -> int:
    """Number of rows that only one of two queries returns."""
    sql = "SELECT count(*) FROM ({one} EXCEPT ALL {other}) AS found"
    [(less,)] = running.execute(DATABASE, sql.format(one=one, other=other))
    [(more,)] = running.execute(DATABASE, sql.format(one=other, other=one))
    return int(less) + int(more)


def test_one_statement_derives_every_column_that_needs_no_key(
    cohort: Cohort,
) -> None:
    running, _, _ = cohort
    registry_sql.prepare(running, DATABASE)
    registry_sql.fill(running, DATABASE)
    keyed = {"verify_token", "passport_index", "masked_name", "masked_number", "answer", "seal"}
    keyed |= {"history_sha256", "name_index", "document_index"}
    names = ", ".join({"ledger", *CERTIFICATES.columns} - keyed)
    masked = [PUBLIC_COLUMNS.index(name) for name in ("masked_number", "masked_name")]
    answer = f"answer::jsonb - {masked[0]} - {masked[1]} AS answer"
    ours, theirs = (
        f"SELECT {names}, {answer}, length(verify_token) FROM {table}"
        for table in ("views.certificates", registry_sql.NAME)
    )
    [(count,)] = running.execute(DATABASE, "SELECT count(*) FROM views.certificates")
    assert count > 200
    assert different(running, ours, theirs) == 0
    indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname || '.' || tablename = '{}'"
    [(made,)] = running.execute(DATABASE, indexes.format(registry_sql.NAME))
    assert made == 1 + len(CERTIFICATES.indexes)


@pytest.mark.parametrize(
    ("groups", "filtered"), [([VIEWS], False), ([[view] for view in VIEWS], True)]
)
def test_the_stock_runner_produces_the_rows_of_a_rebuild(
    cohort: Cohort, groups: list[list[View]], filtered: bool
) -> None:
    running, store, entries = cohort
    few = entries[:700]
    ledger = copy(store, few, 1 + filtered)
    topics = [entry.fact.TOPIC for entry in few]  # type: ignore[attr-defined]
    stock_projection.follow(
        store.dsn, store.secrets, ledger.name, topics, groups, filtered=filtered
    )
    followed = contents(running, ledger.name)
    rebuild.replace(store.dsn, store.secrets)
    assert contents(running, ledger.name) == followed
    assert sum(map(len, followed.values())) > 500


def contents(running: Server, ledger: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the views of a ledger."""
    return {
        table.name: running.execute(
            DATABASE,
            f"SELECT {', '.join(table.columns)} FROM {generations.SCHEMA}.{table.name} "
            f"WHERE ledger = '{ledger}' ORDER BY {', '.join(table.primary_key)}",
        )
        for view in VIEWS
        for table in view.tables
    }

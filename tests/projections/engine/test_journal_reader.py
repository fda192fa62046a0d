"""Views read an event of an older version as the use cases do.

Covers: domain/stored_facts.py, projections/engine/journal_reader.py
"""

from typing import Any

import pytest

from domain.store.mapper import EntryMapper
from domain.stored_facts import STORED_FACTS
from projections.engine.journal_reader import decode, fetch
from projections.engine.vaults import vault_of
from projections.rebuild.rebuild import check
from tests.projections.grammar import ProjectedLedger
from tests.store.drafts import draft
from tests.support.ledgers import SECRETS
from tests.support.refunds import an_ordered_refund

OLD = "refund_approved.v0"


@STORED_FACTS.upcaster(OLD, "refund_approved.v1")
def with_the_number_under_its_name(data: dict[str, Any]) -> dict[str, Any]:
    """A version that there never was: it called the refund's number something else."""
    number = data.pop("number")
    return {**data, "refund_no": number}


@pytest.fixture
def approved(ledger: ProjectedLedger) -> ProjectedLedger:
    """A refund that was approved when the topic had its older version."""
    world = an_ordered_refund()
    ledger.record(world)
    version = world.candidacy("A1").version + 1
    named = {"application_id": "A1", "person_id": "P1", "number": "RPAY1-1"}
    ledger.write(draft("application-A1", version, OLD, **named))
    return ledger


def test_an_event_of_an_older_version_reads_alike_in_views_and_use_cases(
    approved: ProjectedLedger,
) -> None:
    vault = vault_of(SECRETS, approved.name, approved.connection)
    head = approved.journal.head().position
    with approved.cursor() as cursor:
        [entry] = decode(fetch(cursor, vault, head - 1, 1), vault)
    recorded = approved.journal.read(head - 1, 1)[0]
    fact = EntryMapper(catalogue=STORED_FACTS).entry(recorded).fact
    assert (entry.topic, entry.data) == (fact.TOPIC, fact.model_dump(mode="json"))


def test_a_view_folds_an_event_of_an_older_version(approved: ProjectedLedger, dsn: str) -> None:
    approved.fold()
    assert approved.row("refunds")["state"] == "approved"
    assert check(dsn, SECRETS, processes=1) == 0

"""Seeded ledgers are like any other: they pass the audit, fold, and are found by lookups.

Covers: scripts/benchmarks/{registry,takeover,indexes}.py
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from api.cli.environment import CliEnvironment, open_environment, settings_of
from domain.store.tlog.audit import verify
from domain.values.certificate_numbers import NationalNumber, OmcNumber
from domain.values.identity_documents import validate_document
from domain.values.working_days import shanghai_date
from projections.certificate_registry import queries
from projections.certificate_registry.public_record import decode
from projections.certificate_registry.standing_changes import RecordChecks, StandingChanges
from projections.engine.wrong_views import WrongViews
from projections.rebuild import rebuild
from scripts.benchmarks.registry import Registry, seed
from scripts.benchmarks.server import server
from scripts.benchmarks.service import DATABASE, name_of
from scripts.benchmarks.takeover import person_of

pytestmark = pytest.mark.database  # through the benchmarks' own server

CERTIFICATES = 600


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with server() as running:
        yield seed(running, CERTIFICATES)


@pytest.fixture(scope="module")
def store(registry: Registry) -> Iterator[CliEnvironment]:
    with open_environment(settings_of(registry.server.postgres.data_dir)) as store:
        yield store


def test_the_registry_has_the_stated_number_of_certificates_and_events(registry: Registry) -> None:
    assert registry.certificates == CERTIFICATES
    [(certificates, links)] = registry.server.execute(
        DATABASE,
        "SELECT (SELECT count(*) FROM views.certificates WHERE issued), "
        "(SELECT count(DISTINCT verify_token) FROM views.certificates)",
    )
    assert (certificates, links) == (CERTIFICATES, CERTIFICATES)
    [(events,)] = registry.server.execute(DATABASE, "SELECT count(*) FROM certledger.journal")
    assert events == registry.events


def test_tables_have_the_indexes_and_constraints_of_a_new_database(registry: Registry) -> None:
    registry.server.ledger_database("fresh")
    asked = (
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'certledger' UNION ALL "
        "SELECT conrelid::regclass || conname || pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'certledger'::regnamespace ORDER BY 1"
    )
    seeded, fresh = (registry.server.execute(one, asked) for one in (DATABASE, "fresh"))
    assert seeded == fresh
    assert len(fresh) > 20


def test_the_audit_finds_no_fault_and_checks_the_signed_head(
    registry: Registry, store: CliEnvironment
) -> None:
    for name in store.ledgers.names():
        ledger = store.ledgers.get(name)
        report = verify(ledger.journal, store.known_vkey(ledger))
        assert (report.findings, report.checkpoints) == ([], 1)
        assert report.size == registry.events // registry.ledgers


def test_a_rebuild_finds_no_difference(registry: Registry, store: CliEnvironment) -> None:
    different: list[object] = []
    rebuild.check(store.dsn, store.secrets, on_difference=different.append)
    assert different == []


def test_numbers_are_valid_and_unique(registry: Registry) -> None:
    rows = registry.server.execute(DATABASE, "SELECT kind, number FROM views.certificates")
    assert len(set(rows)) == CERTIFICATES
    for kind, number in rows:
        parsed = NationalNumber.parse(number) if kind == "national" else OmcNumber.parse(number)
        assert str(parsed) == number
    assert NationalNumber.parse(registry.no_number())
    assert ("national", registry.no_number()) not in rows


def test_persons_have_their_own_data_keys(registry: Registry, store: CliEnvironment) -> None:
    ledger = store.ledgers.get(registry.ledger)
    [(key, claimed)] = registry.server.execute(
        DATABASE,
        "SELECT count(DISTINCT k.owner), count(DISTINCT c.index) FROM certledger.data_keys k "
        "JOIN certledger.person_claims c USING (ledger) "
        f"WHERE ledger = '{registry.ledger}' AND c.kind = 'document' AND owner LIKE 'person/%'",
    )
    assert key == claimed == registry.persons
    names = {person_of(number): name_of(number) for number in range(1, registry.persons + 1)}
    for (person,) in registry.server.execute(
        DATABASE,
        "SELECT split_part(owner, '/', 2) FROM certledger.data_keys "
        f"WHERE ledger = '{registry.ledger}' AND owner LIKE 'person/%' ORDER BY owner LIMIT 5",
    ):
        identity = ledger.identity(person)
        assert identity.name == names[person]
        today = shanghai_date(datetime.now(UTC))
        assert validate_document(identity.document_type, identity.document_number, today)


def test_a_candidacy_folds_to_its_two_certificates(
    registry: Registry, store: CliEnvironment
) -> None:
    ledger = store.ledgers.get(registry.ledger)
    [(stream,)] = registry.server.execute(
        DATABASE,
        "SELECT stream FROM certledger.journal WHERE topic = 'application_opened.v1' "
        f"AND ledger = '{registry.ledger}' ORDER BY position DESC LIMIT 1",
    )
    state = ledger.state("application", stream.partition("-")[2])
    assert [(c.progress, c.version) for c in state.certificates.values()] == [("issued", 1)] * 2


def test_every_holder_is_found_by_link_and_by_number_and_name(
    registry: Registry, store: CliEnvironment
) -> None:
    holders = registry.holders(50)
    assert len({holder.number for holder in holders}) > 25
    ledger = store.ledgers.get(registry.ledger)
    checks = RecordChecks(store.secrets.sealer.row_keys(), StandingChanges(), WrongViews())
    with store.snapshot() as connection, connection.cursor() as cursor:
        for holder in holders:
            found = queries.verify(cursor, holder.token, checks)
            assert found is not None
            assert decode(found.answer)["number"] == holder.number
            name = ledger.indexes.stored(ledger.vault.blind_index("name", holder.name))
            [answer] = queries.lookup(cursor, checks, number=holder.number, names=(name,))
            assert answer == found.answer

"""A copy of the database without the keys names no document number, whatever else is known.

Covers: api/http/canonical_request.py, domain/store/keys/command_hashes.py, api/imports/importer.py
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import secrets_of_ledgers
from api.auth.secrets import load_service_keys
from api.http.canonical_request import canonical_request, canonical_value
from api.imports.importer import Import
from domain.service.ledger import Ledgers
from domain.store.blobs import Blobs
from domain.store.embedded.server import EmbeddedPostgres
from tests.support.attacker import dump, hash_like, numbers_named_by
from tests.support.postgres import Database, fresh_database
from tests.support.service import new_ledger, running, settings_for
from tests.support.synthetic_identity import with_check

CANDIDATES = 100_000
SEED = 20261129


def candidate_numbers() -> list[str]:
    """Numbers of one district that fit what is known of the birthday, by a seeded generator."""
    rng, numbers = random.Random(SEED), set()
    while len(numbers) < CANDIDATES:
        born = date(1995, 1, 1) + timedelta(days=rng.randrange(365))
        numbers.add(with_check(f"330199{born:%Y%m%d}{rng.randrange(1000):03d}"))
    return sorted(numbers)


@dataclass(frozen=True)
class Copied:
    """A copy of a database, and what the attacker knows. numbers: with the person's own."""

    ledger: str
    person: dict[str, Any]
    number: str
    numbers: list[str]
    columns: dict[str, list[Any]]


@pytest.fixture(scope="module")
def copied(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copied]:
    folder = tmp_path_factory.mktemp("copied")
    numbers = candidate_numbers()
    number, imported = random.Random(SEED).sample(numbers, 2)
    person = {"person_id": "P1", "document_type": "resident_id", "name": "王小明"}
    with fresh_database(postgres) as database:
        settings = settings_for(database.dsn, folder)
        with running(settings) as url, httpx.Client(base_url=url, timeout=30) as client:
            ledger = new_ledger(client)
            agency, registrar = ledger.caller("agency"), ledger.caller("registrar")
            known = agency.write("persons", person | {"document_number": number})
            body = person | {"document_number": number, "reason": "证件号码录入错误"}
            del body["person_id"]
            registrar.write("persons/P1/corrections", body)
            agency.write("persons", person | {"person_id": "P9", "document_number": number})
            contested = person | {"person_id": "P8", "document_number": number, "name": "李四"}
            ledger.caller("candidate").write("persons", contested)
            ledger.stranger.read("notices", min_position=known["last_position"])
            import_person(database, settings, ledger.name, imported, folder)
        yield Copied(ledger.name, person, number, numbers, dump(database))


def import_person(
    database: Database, settings: Any, ledger: str, number: str, folder: Path
) -> None:
    """The person of another number, as a row of a file."""
    rows = folder / "persons.csv"
    rows.write_text(
        "id,occurred_at,by,role,document_type,document_number,name\n"
        f"P2,2026-03-02T15:26:34+08:00,assistant-1,agency,resident_id,{number},王小明\n"
    )
    secrets = secrets_of_ledgers(settings, load_service_keys(settings))
    with closing(Ledgers(database.dsn, secrets)) as ledgers:
        imported = Import(ledger)
        assert imported.read([rows]) == []
        summary = imported.send(ledgers.get(ledger), Blobs(settings.blobs))
    assert (summary.accepted, summary.refused) == (1, [])


@pytest.mark.slow
def test_no_stored_column_names_one_of_a_hundred_thousand_numbers(copied: Copied) -> None:
    assert len(copied.columns["certledger.commands.request_hash"]) > 3
    kinds = {*copied.columns["certledger.person_claims.kind"]}
    assert kinds == {"document", "named_document", "contested"}
    assert numbers_named_by(copied.columns, copied.person, copied.numbers, copied.ledger) == {}


def earlier_request_hash(copied: Copied) -> bytes:
    """What certledger.commands held before request hashes were keyed."""
    body = canonical_value(copied.person | {"document_number": copied.number})
    path = f"/ledgers/{copied.ledger}/persons"
    return hashlib.sha256(canonical_request("POST", path, "", body)).digest()


PLANTED = {
    "a request hash": earlier_request_hash,
    "after a key id": lambda copied: b"\x01\x02\x03\x04" + earlier_request_hash(copied),
    "in an envelope": lambda copied: (
        b'{"data":{"index":"sha256:%s"}}'
        % hashlib.sha256(copied.number.encode()).hexdigest().encode()
    ),
    "as an id": lambda copied: uuid.uuid5(uuid.NAMESPACE_URL, f"cn18:{copied.number}"),
    "of a body as it was sent": lambda copied: hashlib.sha256(
        json.dumps(copied.person | {"document_number": copied.number}).encode()
    ).hexdigest(),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED.keys())
def test_the_attacker_finds_the_number_where_a_plain_hash_is_stored(
    copied: Copied, plant: Any
) -> None:
    columns = copied.columns | {"planted": [plant(copied)]}
    near = [*copied.numbers[:200], copied.number]
    found = numbers_named_by(columns, copied.person, near, copied.ledger)
    assert found == {copied.number: {"planted"}}


def test_stored_hashes_of_one_number_have_nothing_in_common(copied: Copied) -> None:
    hashes = [bytes(each) for each in copied.columns["certledger.commands.request_hash"]]
    assert len({each[4:] for each in hashes}) == len(hashes)
    assert len({each[:4] for each in hashes}) == 1
    keys = copied.columns["certledger.commands.key"]
    assert {len(each) for each in keys} == {43}
    assert len(hash_like(keys)) >= len(keys)

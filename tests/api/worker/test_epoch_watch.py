"""A service goes over from one epoch to the next: everybody is found and compared meanwhile.

The keys are renewed by the test, with the clock of another day; the service runs on in this one.
Covers: api/worker/epoch_watch.py, projections/engine/generations.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import epoch_keys_of
from api.auth.secrets import load_service_keys
from api.worker.epoch_watch import EpochWatch
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.errors import ViewWrong, WrongEpochKey
from domain.store.postgres.connection import connect
from domain.store.postgres.migrate import migrate
from domain.store.privacy.epoch_keys import EpochKeys
from domain.store.privacy.index_ciphers import GivenIndexCiphers
from domain.store.privacy.key_renewal import KeyRenewal
from domain.store.privacy.live_epochs import live_epochs_of
from projections.catalogue import VIEWS
from projections.engine import generations
from projections.engine.generations import epochs_in_use
from projections.engine.wrong_views import WrongViews
from tests.support import tampering
from tests.support.commands import document_of, name_of
from tests.support.http_journey import certified
from tests.support.keys import SEALER
from tests.support.ledgers import SECRETS
from tests.support.lookup_workers import running_with_lookup_worker
from tests.support.postgres import Database, fresh_database
from tests.support.service import LedgerClient, new_ledger, settings_for
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DAY = timedelta(days=1)
EPOCHS = "SELECT epoch FROM certledger.epochs WHERE destroyed_at IS NULL ORDER BY epoch"
REGISTRY = "SELECT epoch FROM views.generations WHERE view = 'certificate_registry'"
UNDER = "SELECT DISTINCT split_part(index, ':', 1) FROM certledger.person_claims"


@dataclass
class Service:
    """A running service whose keys the test renews."""

    database: Database
    ledger: LedgerClient
    keys: EpochKeys
    numbers: dict[str, Any]

    def renew(self, now: datetime) -> None:
        renewal = KeyRenewal(self.keys, SECRETS.algorithm, SEALER, in_use=epochs_in_use)
        with closing(connect(self.database.dsn, name="test")) as connection:
            renewal.round(connection, now)
        with tampering.superuser(self.database) as cursor:
            cursor.execute(
                "UPDATE certledger.epochs SET made_at = clock_timestamp() - interval '1 hour' "
                "WHERE destroyed_at IS NULL"
            )

    def end(self) -> datetime:
        """The end of the oldest epoch that there is."""
        [(end,), *_] = self.database.execute(
            "SELECT ends_at FROM certledger.epochs WHERE destroyed_at IS NULL ORDER BY epoch"
        )
        return end  # type: ignore[no-any-return]

    def finds(self) -> dict[str, bool]:
        """By what the candidate's certificate, person and application are found."""
        client, number = self.ledger.client, self.numbers["national"]
        registrar = self.ledger.caller("registrar")
        document = {"document_type": "resident_id", "document_number": document_of(1)}

        def lookup(**asked: str) -> bool:
            answer = client.post("/lookup", json=asked)
            assert answer.status_code == 200, answer.text
            return bool(answer.json()["certificates"])

        mine = self.ledger.caller("candidate", "candidate-1").read("applications", person_id="P1")[
            "data"
        ]
        return {
            "number and name": lookup(certificate_number=number, name=name_of(1)),
            "name and document": lookup(name=name_of(1), document_number=document_of(1)),
            "another name": not lookup(certificate_number=number, name="李四"),
            "search": registrar.send("persons/search", json=document).status_code == 200,
            "login": [each["application_id"] for each in mine] == ["A1"],
        }


@pytest.fixture
def service(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Service]:
    with fresh_database(postgres) as database:
        settings = settings_for(database.dsn, tmp_path, work=False, lookup_processes=1)
        with (
            running_with_lookup_worker(settings) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
            _, numbers = certified(ledger)
            ledger.caller("registrar").read("statistics/talent", min_position=_head(ledger))
            keys = epoch_keys_of(settings, load_service_keys(settings).master_key)
            yield Service(database, ledger, keys, numbers)


def _head(ledger: LedgerClient) -> int:
    return int(ledger.caller("regulator").read("events")["head"])


def contest(service: Service, n: int) -> str:
    """Register another person with candidate 1's document. Returns: the topic of the fact."""
    body = {
        "person_id": f"P{n}",
        "document_type": "resident_id",
        "document_number": document_of(1),
        "name": "李四",
    }
    written = service.ledger.caller("agency").write("persons", body)
    topic = "SELECT topic FROM certledger.journal WHERE ledger = %s AND position = %s"
    [(found,)] = service.database.execute(topic, service.ledger.name, written["first_position"])
    return str(found)


def test_everybody_is_found_from_one_epoch_to_the_next(service: Service) -> None:
    database = service.database
    everything = dict.fromkeys(service.finds(), True)
    assert service.finds() == everything
    end = service.end()

    service.renew(end - DAY)
    assert database.execute(EPOCHS) == [(1,), (2,)]
    wait_until(lambda: database.execute(REGISTRY) == [(2,)], 60)
    assert service.finds() == everything
    assert database.execute(UNDER) == [("hmac-sha256.1",)], "only the view was rebuilt by now"
    assert contest(service, 21) == "registration_contested.v1"

    service.renew(end - DAY + timedelta(hours=1))
    assert database.execute(UNDER) == [("hmac-sha256.2",)]
    assert service.finds() == everything
    assert contest(service, 22) == "registration_contested.v1"

    service.renew(end)
    assert database.execute(EPOCHS) == [(2,)]
    wait_until(lambda: service.finds() == everything)
    assert contest(service, 23) == "registration_contested.v1"


def test_without_the_key_of_any_epoch_no_view_is_searched(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """The ciphers that a service knew find nothing any more; nothing found would be wrong."""
    keys = EpochKeys(SECRETS.epoch_keys.master_keys, (tmp_path / "keys",))
    wrong = WrongViews()
    with fresh_database(postgres) as database:
        migrate(database.dsn)
        epochs = live_epochs_of(database.dsn, keys)
        watch = EpochWatch(database.dsn, epochs, GivenIndexCiphers(), wrong)
        with closing(connect(database.dsn, name="test")) as connection:
            generations.ensure(connection, VIEWS, keys)
            watch.round(connection)
            wrong.check_absence("certificate_registry")
            with tampering.superuser(database) as cursor:
                cursor.execute("UPDATE certledger.epochs SET key_id = 'ffffffff'")
            with pytest.raises(WrongEpochKey):
                watch.round(connection)
            with pytest.raises(ViewWrong):
                wrong.check_absence("certificate_registry")


def test_a_request_is_compared_for_a_day_at_least(service: Service) -> None:
    agency = service.ledger.caller("agency")
    path = f"/ledgers/{service.ledger.name}/persons"
    body = {
        "person_id": "P31",
        "document_type": "resident_id",
        "document_number": document_of(31),
        "name": name_of(31),
    }

    def send(**changed: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {agency.token}", "Idempotency-Key": "once"}
        return service.ledger.client.post(path, json=body | changed, headers=headers)

    end = service.end()
    first = send()
    assert first.status_code in (201, 202)
    service.renew(end - DAY)
    service.renew(end - timedelta(seconds=1))
    again = send()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert send(name="李四").status_code == 422
    wait_until(lambda: service.database.execute(REGISTRY) == [(2,)], 60)
    service.renew(end)
    wait_until(lambda: send().status_code == 409)
    for answer in (send(), send(name="李四")):
        problem = answer.json()
        assert problem["code"] == "idempotency_key_expired"
        assert problem["fields"]["position"] == first.json()["last_position"]
    assert agency.read("persons/P31")["person_id"] == "P31"


def test_a_registry_under_an_epoch_whose_key_is_gone_is_not_asked(
    service: Service,
) -> None:
    """No lookup is answered with nothing found: nothing could be."""
    with tampering.superuser(service.database) as cursor:
        cursor.execute("UPDATE views.generations SET epoch = 99 WHERE epoch IS NOT NULL")
    asked = {"certificate_number": service.numbers["national"], "name": name_of(1)}
    codes: list[int] = []

    def refused() -> bool:
        codes.append(service.ledger.client.post("/lookup", json=asked).status_code)
        return codes[-1] == 503 or service.database.execute(REGISTRY) == [(1,)]

    wait_until(refused)
    wait_until(lambda: service.database.execute(REGISTRY) == [(1,)], 60)  # by a rebuild
    wait_until(lambda: service.ledger.client.post("/lookup", json=asked).status_code == 200)
    assert service.finds()["number and name"]
    assert set(codes) <= {200, 503}

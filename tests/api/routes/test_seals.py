"""What a client is answered when somebody wrote into the database behind the service's back.

Covers: api/routes/health.py, api/errors/problem_details.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from projections.catalogue import VIEWS
from tests.support import tampering
from tests.support.postgres import Database, fresh_database
from tests.support.service import LedgerClient, new_ledger, running, settings_for
from tests.support.waiting import wait_until

PERSON = {
    "name": "欧阳娜娜",
    "document_type": "passport",
    "document_country": "CHN",
    "document_number": "E10000001",
    "phone": "13800000000",
}


@pytest.fixture
def opened(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[tuple[LedgerClient, Database]]:
    """A ledger of a running service with one person, and its database."""
    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, tmp_path)) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield new_ledger(client), database


def registered(ledger: LedgerClient) -> tuple[str, int]:
    """Id of a person, and the position of the registration."""
    receipt = ledger.caller("agency").write("persons", PERSON)
    return receipt["stream"].removeprefix("person-"), receipt["first_position"]


def test_an_altered_event_is_not_shown(opened: tuple[LedgerClient, Database]) -> None:
    ledger, database = opened
    person, position = registered(ledger)
    agency = ledger.caller("agency")
    assert agency.get(f"persons/{person}").status_code == 200
    with tampering.superuser(database) as cursor:
        tampering.alter(cursor, position, ledger.name, subject="mallory")
    answer = agency.get(f"persons/{person}")
    assert (answer.status_code, answer.json()["code"]) == (503, "seal_broken")
    assert answer.json()["fields"] == {
        "ledger": ledger.name, "what": "event", "position": position,
    }  # fmt: skip
    assert "mallory" not in answer.text
    events = ledger.caller("regulator").get("events")
    assert (events.status_code, events.json()["code"]) == (503, "seal_broken")


def test_a_forged_event_stops_the_commands_and_the_views_and_is_reported(
    opened: tuple[LedgerClient, Database],
) -> None:
    ledger, database = opened
    _, position = registered(ledger)
    finance = ledger.caller("finance")
    assert finance.read("refunds", min_position=position)["data"] == []
    with tampering.application_role(database) as cursor:
        data = tampering.stored(cursor, position, ledger.name)["data"]
        forged = tampering.insert(
            cursor, "person-P9", 1, "person_registered.v1", ledger.name, **data
        )
        tampering.move_head(cursor, ledger.name)
        cursor.execute("NOTIFY certledger, %s", (ledger.name,))
    began = time.monotonic()
    other = PERSON | {"document_number": "E10000002"}
    answer = ledger.caller("agency").send("persons", other)
    assert (answer.status_code, answer.json()["code"]) == (503, "seal_broken")

    def reported() -> list[str]:
        """The views that the health report calls paused there, for want of a seal."""
        return sorted(
            problem["view"]
            for problem in ledger.client.get("/health").json()["problems"]
            if (problem["code"], problem["position"]) == ("seal_missing", forged)
        )

    names = sorted(view.name for view in VIEWS)
    wait_until(lambda: reported() == names)
    assert time.monotonic() - began < 5

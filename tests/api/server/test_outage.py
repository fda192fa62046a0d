"""A database outage is reported and loses nothing; the service recovers without a restart.

Covers: api/errors/database.py
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from domain.store.embedded.server import EmbeddedPostgres
from tests.support.service import (
    Caller,
    LedgerClient,
    make_log_key_for,
    new_ledger,
    opening,
    running,
    settings_for,
)

pytestmark = pytest.mark.slow

PERSON = {
    "document_type": "passport",
    "document_country": "CHN",
    "document_number": "E10000001",
    "name": "LI SI",
}
NUMBER = "S000033000123264000001"  # of a form that is searched


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_an_outage_is_reported_and_ends_by_itself(server_dir: Path, tmp_path: Path):
    server = EmbeddedPostgres(server_dir)
    dsn = server.start()
    with (
        running(settings_for(dsn, tmp_path, deadline_s=3)) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        ledger = new_ledger(client)
        agency = ledger.caller("agency")
        agency.write("persons", PERSON)
        assert eventually(lambda: client.get("/ready").status_code == 200)
        server.stop()
        try:
            _assert_unavailable(ledger)
        finally:
            server.start()
        assert eventually(lambda: client.get("/ready").status_code == 200)
        key = uuid.uuid4().hex
        other = PERSON | {"document_number": "E10000002"}
        assert eventually(lambda: agency.send("persons", other, key=key).status_code == 202)
        head = ledger.caller("regulator").read("events")["head"]
        assert ledger.caller("finance").read("refunds", min_position=head)["data"] == []
    server.stop()


def _assert_unavailable(ledger: LedgerClient) -> None:
    client = ledger.client
    make_log_key_for(client, "never-made")
    assert eventually(lambda: client.get("/ready").status_code == 503)
    health = client.get("/health")
    assert (health.status_code, health.json()["database"]) == (200, "unreachable")
    unopened = Caller(client, "never-read", ledger.caller("agency").token)
    answers = [
        # Not read since the start, so in no cache.
        unopened.get("applications/A1"),
        unopened.get(""),
        ledger.caller("agency").get("applications/never-read"),
        ledger.caller("agency").get("persons/never-read"),
        ledger.caller("agency").get("applications/never-read/history"),
        client.get("/ledgers"),
        ledger.caller("operator").ask(
            "PUT",
            "/ledgers/never-made",
            json=opening("S000033999999", "never-made"),
            headers={"Idempotency-Key": uuid.uuid4().hex},
        ),
        ledger.caller("agency").send("persons", PERSON | {"document_number": "E10000009"}),
        ledger.caller("agency").get("applications"),
        ledger.caller("finance").get("refunds"),
        client.post("/lookup", json={"certificate_number": NUMBER, "name": "李四"}),
        client.get("/v/omc-aa" + "0" * 32),
    ]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["retryable"] is True
        assert answer.headers["retry-after"]

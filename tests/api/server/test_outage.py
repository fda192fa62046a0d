"""The database goes away and comes back: nothing is lost, nothing hangs, nobody restarts us."""

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

PERSON = {"document_type": "passport", "document_number": "E10000001", "name": "LI SI"}


def soon(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_an_outage_is_told_and_ends_by_itself(server_dir: Path, tmp_path: Path):
    server = EmbeddedPostgres(server_dir)
    dsn = server.start()
    with (
        running(settings_for(dsn, tmp_path, deadline_s=3)) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        ledger = new_ledger(client)
        agency = ledger.caller("agency")
        agency.write("persons", PERSON)
        assert soon(lambda: client.get("/ready").status_code == 200)
        server.stop()
        try:
            _while_it_is_away(ledger)
        finally:
            server.start()
        assert soon(lambda: client.get("/ready").status_code == 200)
        key = uuid.uuid4().hex
        other = PERSON | {"document_number": "E10000002"}
        assert soon(lambda: agency.send("persons", other, key=key).status_code == 201)
        head = ledger.caller("regulator").read("events")["head"]
        assert ledger.caller("finance").read("refunds", min_position=head)["data"] == []
    server.stop()


def _while_it_is_away(ledger: LedgerClient) -> None:
    client = ledger.client
    make_log_key_for(client, "never-made")
    assert soon(lambda: client.get("/ready").status_code == 503)
    health = client.get("/health")
    assert (health.status_code, health.json()["database"]) == (200, "unreachable")
    unopened = Caller(client, "never-asked-for", ledger.caller("agency").token)
    answers = [
        # What nobody asked for since the start is in nobody's memory.
        unopened.get("applications/A1"),
        unopened.get(""),
        ledger.caller("agency").get("applications/never-asked-for"),
        ledger.caller("agency").get("persons/never-asked-for"),
        ledger.caller("agency").get("applications/never-asked-for/history"),
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
        client.post("/lookup", json={"certificate_number": "S0", "name": "李四"}),
        client.get("/v/" + "0" * 32),
    ]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["retryable"] is True
        assert answer.headers["retry-after"]

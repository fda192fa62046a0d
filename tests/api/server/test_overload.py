"""An overloaded service refuses at once, serves everything else, and leaks nothing.

Covers: api/lookup/coalescing.py, api/server/connection.py
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg2
import pytest
from fastapi import FastAPI

from api.lookup import coalescing
from api.server.main import Server
from domain.store.embedded.server import EmbeddedPostgres
from tests.support.postgres import Database, fresh_database
from tests.support.service import running, settings_for

DEADLINE_S = 1.0
Served = tuple[Database, httpx.Client, FastAPI]


@contextmanager
def registry_locked(database: Database) -> Iterator[None]:
    """Block all queries of the registry with a lock on its table."""
    connection = psycopg2.connect(database.admin_dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE views.certificates IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        connection.close()


@pytest.fixture
def served(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Served]:
    """A service with a deadline of a second, and a client that has sent a lookup before."""
    apps: list[FastAPI] = []

    def prepare(_: Server, app: FastAPI) -> None:
        apps.append(app)

    with (
        fresh_database(postgres) as database,
        running(settings_for(database.dsn, tmp_path, deadline_s=DEADLINE_S), prepare) as url,
        httpx.Client(base_url=url, timeout=20, trust_env=False) as client,
    ):
        assert client.get(f"/v/omc-aa{0:032x}").status_code == 404
        yield database, client, apps[0]


def looked_up(client: httpx.Client, links: int) -> list[tuple[str, float]]:
    """Error code and seconds of so many concurrent lookups by link."""

    def look_up(number: int) -> tuple[str, float]:
        begun = time.perf_counter()
        answer = client.get(f"/v/omc-aa{number:032x}")
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "1"
        return answer.json()["code"], time.perf_counter() - begun

    with ThreadPoolExecutor(links) as pool:
        return list(pool.map(look_up, range(links)))


def test_a_registry_that_does_not_answer_stops_only_lookups_and_only_until_their_deadline(
    served: Served,
):
    database, client, _ = served
    with registry_locked(database), ThreadPoolExecutor(1) as pool:
        lookups = pool.submit(looked_up, client, 20)
        time.sleep(0.3)
        begun = time.perf_counter()
        assert client.get("/health").status_code == 200
        assert client.get("/ledgers").status_code == 200
        assert time.perf_counter() - begun < DEADLINE_S
        answers = lookups.result(20)
    assert {code for code, _ in answers} == {"read_timeout"}
    assert all(0.5 * DEADLINE_S < seconds < 5 * DEADLINE_S for _, seconds in answers)
    assert {code for code, _ in looked_up(client, 5)} == {"not_found"}


def test_lookups_above_the_queue_limit_are_refused_while_the_others_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
):
    database, client, app = served
    monkeypatch.setattr(coalescing, "KEYS_MAX", 4)
    by_token = app.state.service.registry.by_token
    monkeypatch.setattr(by_token, "_pending_max", 4)
    with registry_locked(database):
        answers = looked_up(client, 40)
    refused = [seconds for code, seconds in answers if code == "server_busy"]
    waited = [seconds for code, seconds in answers if code == "read_timeout"]
    assert len(refused) + len(waited) == 40
    assert 4 <= len(waited) <= 12
    assert sorted(refused)[len(refused) // 2] < DEADLINE_S
    assert {code for code, _ in looked_up(client, 4)} == {"not_found"}


def test_a_connection_that_the_database_ends_is_replaced_and_no_lookup_fails(
    served: Served,
):
    database, client, _ = served
    looked_up(client, 8)
    with psycopg2.connect(database.admin_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'certledger lookups' AND datname = %s",
            (database.name,),
        )
        assert cursor.rowcount >= 1
    assert {code for code, _ in looked_up(client, 8)} == {"not_found"}


def test_a_request_leaves_nothing_behind(served: Served, caplog: pytest.LogCaptureFixture):
    _, client, _ = served
    for name in ("certledger.requests", "httpx"):  # records that pytest collects are no leak
        caplog.set_level(logging.WARNING, name)

    def ask(begin: int, count: int) -> int:
        for number in range(begin, begin + count):
            headers = {"Accept-Language": f"en;q=0.{number}", "Accept": f"*/*;q=0.{number}"}
            client.get(f"/v/omc-aa{number:032x}", headers=headers)
            body = {"certificate_number": f"S00003300012326{number:07d}", "name": "李四"}
            client.post("/lookup", json=body, headers=headers)
        gc.collect()
        return len(gc.get_objects())

    before = ask(0, 400)
    assert ask(1000, 1000) - before < 700

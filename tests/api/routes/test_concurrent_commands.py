"""Concurrent clients: numbers stay dense, seats unique, and one refund is paid once.

Covers: api/routes/exam_sessions.py, api/routes/certificates.py, api/routes/refunds.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.http_journey import (
    ISSUED_AT,
    SEATED_AT,
    Journey,
    hold,
    publish_and_close,
    schedule,
    score,
)
from tests.support.service import Caller, LedgerClient, new_ledger

CLIENTS = 8


@pytest.fixture(scope="module")
def enrolled(client: httpx.Client) -> tuple[LedgerClient, list[Journey]]:
    """Enrolled candidates, and a session."""
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    schedule(ledger)
    journeys = [Journey(ledger, n) for n in range(1, CLIENTS + 1)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda journey: journey.enrol(), journeys))
    return ledger, journeys


def concurrently(calls: Sequence[Callable[[Caller], Any]], caller: Caller) -> list[Any]:
    """Run calls at the same time, each on a connection of its own."""

    def call(each: Callable[[Caller], Any]) -> Any:
        with httpx.Client(base_url=caller.client.base_url, timeout=30, trust_env=False) as client:
            return each(Caller(client, caller.ledger, caller.token, caller.headers))

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_concurrent_clients_get_unique_seats_and_dense_numbers(enrolled):
    ledger, journeys = enrolled
    certifier = ledger.backdated("certifier").at(SEATED_AT)

    def seat(journey: Journey) -> Callable[[Caller], Any]:
        body = {"application_id": f"A{journey.n}"}
        return lambda caller: caller.write("sessions/S1/seats", body)["outcome"]

    given = concurrently([seat(journey) for journey in journeys], certifier)
    assert sorted(each["seat"] for each in given) == list(range(1, CLIENTS + 1))
    hold(ledger)
    score(ledger, {each["ticket_number"]: ("80", "80") for each in given})
    publish_and_close(ledger)
    registrar = ledger.backdated("registrar").at(ISSUED_AT)

    def number(journey: Journey) -> Callable[[Caller], Any]:
        path = f"{journey.application}/certificates/numbers"
        return lambda caller: caller.write(path, {"year": 2026})["outcome"]["national"]

    numbers = concurrently([number(journey) for journey in journeys], registrar)
    assert sorted(int(text[-6:]) for text in numbers) == list(range(1, CLIENTS + 1))


def test_of_concurrent_orders_of_the_same_refund_one_is_recorded(client: httpx.Client):
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    journey.pay()
    at = "2026-03-20T09:00:00+08:00"
    journey.candidate(at).write(f"{journey.application}/withdrawal", {"reason": "放弃"})
    body = {"payment_id": "PAY1", "component": "certification_fee"}
    path = f"{journey.application}/refunds"
    answers = concurrently(
        [lambda caller: caller.send(path, body) for _ in range(CLIENTS)], journey.candidate(at)
    )
    codes = sorted(a.json().get("code", "recorded") for a in answers)
    assert codes == ["already_refunded"] * (CLIENTS - 1) + ["recorded"]
    number = next(a.json()["outcome"]["refund_no"] for a in answers if a.status_code == 201)
    finance = ledger.backdated("finance", "finance-2").at(at)
    approvals = concurrently(
        [lambda caller: caller.send(f"{path}/{number}/approval") for _ in range(CLIENTS)], finance
    )
    assert sorted(a.status_code for a in approvals) == [201] + [409] * (CLIENTS - 1)


def test_a_busy_ledger_does_not_delay_another(enrolled):
    ledger, _ = enrolled
    other = new_ledger(ledger.client, "2026-03-01T08:00:00+08:00")
    caller = ledger.caller("agency")
    calls = [lambda each: each.read("applications", limit=50) for _ in range(CLIENTS)]
    pages = concurrently(calls, caller)
    assert all(len(page["data"]) == CLIENTS for page in pages)
    assert other.stranger.read("")["ledger"] == other.name

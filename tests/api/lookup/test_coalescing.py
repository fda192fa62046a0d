"""Many callers at once: numbers stay dense, seats single, money moves once."""

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
from tests.support.service import Book, Door, new_book

CROWD = 8


@pytest.fixture(scope="module")
def crowd(client: httpx.Client) -> tuple[Book, list[Journey]]:
    """Enrolled candidates, and a session."""
    book = new_book(client, "2026-03-01T08:00:00+08:00")
    schedule(book)
    journeys = [Journey(book, n) for n in range(1, CROWD + 1)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda journey: journey.enrol(), journeys))
    return book, journeys


def at_once(calls: Sequence[Callable[[Door], Any]], door: Door) -> list[Any]:
    """Make calls at the same time, each on a connection of its own."""

    def call(each: Callable[[Door], Any]) -> Any:
        with httpx.Client(base_url=door.client.base_url, timeout=30, trust_env=False) as client:
            return each(Door(client, door.ledger, door.token, door.headers))

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_a_crowd_gets_seats_scores_and_dense_numbers(crowd):
    book, journeys = crowd
    certifier = book.backdated("certifier").at(SEATED_AT)

    def seat(journey: Journey) -> Callable[[Door], Any]:
        body = {"application_id": f"A{journey.n}"}
        return lambda door: door.done("sessions/S1/seats", body)["outcome"]

    given = at_once([seat(journey) for journey in journeys], certifier)
    assert sorted(each["seat"] for each in given) == list(range(1, CROWD + 1))
    hold(book)
    score(book, {each["ticket_number"]: ("80", "80") for each in given})
    publish_and_close(book)
    registrar = book.backdated("registrar").at(ISSUED_AT)

    def number(journey: Journey) -> Callable[[Door], Any]:
        path = f"{journey.application}/certificates/numbers"
        return lambda door: door.done(path, {"year": 2026})["outcome"]["national"]

    numbers = at_once([number(journey) for journey in journeys], registrar)
    assert sorted(int(text[-6:]) for text in numbers) == list(range(1, CROWD + 1))


def test_one_of_many_who_order_the_same_refund_gets_it(client: httpx.Client):
    book = new_book(client, "2026-03-01T08:00:00+08:00")
    journey = Journey(book)
    journey.register()
    journey.apply()
    journey.pay()
    at = "2026-03-20T09:00:00+08:00"
    journey.candidate(at).done(f"{journey.application}/withdrawal", {"reason": "放弃"})
    body = {"payment_id": "PAY1", "component": "certification_fee"}
    path = f"{journey.application}/refunds"
    answers = at_once(
        [lambda door: door.send(path, body) for _ in range(CROWD)], journey.candidate(at)
    )
    codes = sorted(a.json().get("code", "recorded") for a in answers)
    assert codes == ["already_refunded"] * (CROWD - 1) + ["recorded"]
    number = next(a.json()["outcome"]["refund_no"] for a in answers if a.status_code == 201)
    finance = book.backdated("finance", "finance-2").at(at)
    approvals = at_once(
        [lambda door: door.send(f"{path}/{number}/approval") for _ in range(CROWD)], finance
    )
    assert sorted(a.status_code for a in approvals) == [201] + [409] * (CROWD - 1)


def test_a_busy_ledger_does_not_hold_up_another(crowd):
    book, _ = crowd
    other = new_book(book.client, "2026-03-01T08:00:00+08:00")
    door = book.door("agency")
    calls = [lambda each: each.seen("applications", limit=50) for _ in range(CROWD)]
    pages = at_once(calls, door)
    assert all(len(page["data"]) == CROWD for page in pages)
    assert other.stranger.seen("")["ledger"] == other.ledger

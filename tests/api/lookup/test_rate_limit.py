"""How often one address may look certificates up."""

import httpx
import pytest

from api.lookup.rate_limit import RateLimiter, TooManyLookups, network_of
from tests.api.web.example_history import History


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def guess(limit: RateLimiter, address: str = "203.0.113.7") -> None:
    limit.enter(address)
    limit.missed(address)


def test_who_guesses_is_stopped_after_a_dozen_misses() -> None:
    limit = RateLimiter(Clock())
    for _ in range(12):
        guess(limit)
    with pytest.raises(TooManyLookups) as refused:
        limit.enter("203.0.113.7")
    assert refused.value.seconds == 2


def test_who_finds_what_they_ask_may_ask_sixty_times_at_once() -> None:
    limit = RateLimiter(Clock())
    for _ in range(60):
        limit.enter("203.0.113.7")
    with pytest.raises(TooManyLookups):
        limit.enter("203.0.113.7")


def test_time_forgives_every_miss() -> None:
    clock = Clock()
    limit = RateLimiter(clock)
    for _ in range(12):
        guess(limit)
    clock.now += 2
    limit.enter("203.0.113.7")
    clock.now += 1000
    for _ in range(60):
        limit.enter("203.0.113.7")


def test_one_address_does_not_spend_the_budget_of_another() -> None:
    limit = RateLimiter(Clock())
    for _ in range(12):
        guess(limit)
    limit.enter("203.0.113.8")


def test_a_whole_ipv6_network_counts_as_one() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2:ffff::1")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:203.0.113.7") == "203.0.113.7"
    assert network_of("testclient") == "testclient"


def test_the_page_says_how_long_to_wait_and_keeps_what_was_typed(
    http: httpx.Client, history: History
) -> None:
    wrong = {"number": history.numbers[1]["national"], "name": "不对"}
    answers = [http.post("/lookup", data=wrong) for _ in range(14)]
    assert answers[0].status_code == 200
    refused = answers[-1]
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "查询过于频繁" in refused.text
    assert 'value="不对"' in refused.text

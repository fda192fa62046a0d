"""The rate limit of lookups: misses cost more, networks count as one, time refills."""

import pytest

from api.errors.request import LookupsTooFast
from api.lookup.rate_limit import RateLimiter, network_of


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def guess(limit: RateLimiter, address: str = "203.0.113.7") -> None:
    limit.charge(address)
    limit.charge_miss(address)


def test_guessing_is_refused_after_twelve_misses() -> None:
    limit = RateLimiter(Clock())
    for _ in range(12):
        guess(limit)
    with pytest.raises(LookupsTooFast) as refused:
        limit.charge("203.0.113.7")
    assert refused.value.seconds == 2


def test_sixty_lookups_in_a_row_are_allowed_if_they_find_something() -> None:
    limit = RateLimiter(Clock())
    for _ in range(60):
        limit.charge("203.0.113.7")
    with pytest.raises(LookupsTooFast):
        limit.charge("203.0.113.7")


def test_the_budget_refills_with_time() -> None:
    clock = Clock()
    limit = RateLimiter(clock)
    for _ in range(12):
        guess(limit)
    clock.now += 2
    limit.charge("203.0.113.7")
    clock.now += 1000
    for _ in range(60):
        limit.charge("203.0.113.7")


def test_addresses_have_separate_budgets() -> None:
    limit = RateLimiter(Clock())
    for _ in range(12):
        guess(limit)
    limit.charge("203.0.113.8")


def test_an_ipv6_network_counts_as_one() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2:ffff::1")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:203.0.113.7") == "203.0.113.7"
    assert network_of("testclient") == "testclient"

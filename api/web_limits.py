"""How often one address may look certificates up, so that nobody works through the numbers.

A lookup that finds something costs little, one that misses costs much: who holds a certificate in
their hands rarely misses, who guesses nearly always does. Addresses are counted by network (the
first 64 bits of IPv6) and kept in memory only, no longer than it takes to forgive them.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request

TOKENS = 60.0
"""What an address may spend at once."""
TOKENS_PER_S = 0.5
LOOKUP_COSTS = 1.0
MISS_COSTS = 4.0
ADDRESSES_MAX = 20_000


class TooManyLookups(Exception):
    """An address has to wait before its next lookup."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many lookups; the next one in {seconds} seconds")
        self.seconds = seconds


class Limit:
    """A budget for each network that refills with time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def enter(self, address: str) -> None:
        """Pay for one lookup. Raises: TooManyLookups."""
        network = network_of(address)
        left = self._left(network)
        if left < LOOKUP_COSTS:
            wait = math.ceil((LOOKUP_COSTS - left) / TOKENS_PER_S)
            raise TooManyLookups(wait)
        self._keep(network, left - LOOKUP_COSTS)

    def missed(self, address: str) -> None:
        """Pay for having found nothing; this may leave a debt."""
        network = network_of(address)
        self._keep(network, self._left(network) - MISS_COSTS)

    def _left(self, network: str) -> float:
        now = self._clock()
        left, seen = self._spent.get(network, (TOKENS, now))
        return min(TOKENS, left + (now - seen) * TOKENS_PER_S)

    def _keep(self, network: str, left: float) -> None:
        self._spent[network] = left, self._clock()
        self._spent.move_to_end(network)
        while len(self._spent) > ADDRESSES_MAX:
            self._spent.popitem(last=False)


def network_of(address: str) -> str:
    """The network an address counts for; what is no address counts as itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def limit_of(request: Request) -> Limit:
    """The budget of the service a request came to; of several processes each has its own."""
    limit: Limit = request.app.state.lookup_limit
    return limit


def address_of(request: Request) -> str:
    """Who asks, as far as limits go."""
    return request.client.host if request.client else ""

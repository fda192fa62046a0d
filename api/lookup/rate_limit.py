"""How often one address may look certificates up, so that nobody works through the numbers.

A lookup that finds something costs little, one that misses costs much: who holds a certificate in
their hands rarely misses, who guesses nearly always does. Addresses are counted by network (the
first 64 bits of IPv6) and kept in memory only.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import os
import secrets
import struct
import time
import weakref
from collections.abc import Callable
from mmap import mmap

from starlette.requests import Request

TOKENS = 60.0
"""What an address may spend at once."""
TOKENS_PER_S = 0.5
LOOKUP_COSTS = 1.0
MISS_COSTS = 4.0

_ENTRY = struct.Struct("=Qdd")
"""A network, what it had left, and when that was; no network has the number 0."""
_SHELVES = 4096
_SHELF_BYTES = 8 * _ENTRY.size
_SECRET_BYTES = 16


class TooManyLookups(Exception):
    """An address has to wait before its next lookup."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many lookups; the next one in {seconds} seconds")
        self.seconds = seconds


class RateLimiter:
    """A budget for each network that refills with time.

    It is kept in memory that the processes of a service share, so that it is one budget however
    many of them a network asks. Nobody is locked out meanwhile: of two that pay at the very same
    moment one may be forgotten. Where many networks meet on one shelf of the memory, the one that
    owes least is forgotten first.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, file: int | None = None
    ) -> None:
        """file: of another process's limit, to share what it keeps; None: memory of its own.

        clock: seconds; of processes that share a limit, the same.
        """
        self._clock = clock
        if file is None:
            file = os.memfd_create("certledger lookup limit", os.MFD_CLOEXEC)
            weakref.finalize(self, os.close, file)
            os.truncate(file, _SHELVES * _SHELF_BYTES + _SECRET_BYTES)
            os.pwrite(file, secrets.token_bytes(_SECRET_BYTES), _SHELVES * _SHELF_BYTES)
        self.file: int | None = file
        self._memory = mmap(file, 0)
        self._secret = self._memory[-_SECRET_BYTES:]

    def enter(self, address: str) -> None:
        """Pay for one lookup. Raises: TooManyLookups."""
        name = self._name(address)
        place, left = self._find(name)
        if left < LOOKUP_COSTS:
            wait = math.ceil((LOOKUP_COSTS - left) / TOKENS_PER_S)
            raise TooManyLookups(wait)
        self._keep(place, name, left - LOOKUP_COSTS)

    def missed(self, address: str) -> None:
        """Pay for having found nothing; this may leave a debt."""
        name = self._name(address)
        place, left = self._find(name)
        self._keep(place, name, left - MISS_COSTS)

    def _name(self, address: str) -> int:
        """A number for a network that nobody can choose: none meets another on purpose."""
        network = network_of(address).encode()
        hashed = hashlib.blake2b(network, digest_size=8, key=self._secret)
        return int.from_bytes(hashed.digest(), "little") or 1

    def _find(self, name: int) -> tuple[int, float]:
        """Where a network's budget is kept, or may be, and what is left of it."""
        now = self._clock()
        start = name % _SHELVES * _SHELF_BYTES
        shelf = _ENTRY.iter_unpack(self._memory[start : start + _SHELF_BYTES])
        free, most = start, -math.inf
        for number, (kept, left, seen) in enumerate(shelf):
            refilled = min(TOKENS, left + (now - seen) * TOKENS_PER_S) if kept else TOKENS
            if kept == name:
                return start + number * _ENTRY.size, refilled
            if refilled > most:
                free, most = start + number * _ENTRY.size, refilled
        return free, TOKENS

    def _keep(self, place: int, name: int, left: float) -> None:
        _ENTRY.pack_into(self._memory, place, name, left, self._clock())


class Unlimited(RateLimiter):
    """Where a gateway in front counts lookups."""

    def __init__(self) -> None:
        """Nothing to keep."""
        self.file = None

    def enter(self, address: str) -> None:
        """Nothing to pay."""

    def missed(self, address: str) -> None:
        """Nothing to pay."""


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


def limit_of(request: Request) -> RateLimiter:
    """The budget of the service a request came to."""
    limit: RateLimiter = request.app.state.lookup_limit
    return limit


def address_of(request: Request) -> str:
    """Who asks, as far as limits go."""
    return request.client.host if request.client else ""

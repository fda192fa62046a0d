"""Rate limit of public lookups by network, so that nobody can enumerate certificate numbers.

A lookup with a result costs little, a miss costs much: a person who holds a certificate rarely
misses, a person who guesses misses nearly always. Addresses count by network (an IPv4 address, the
first 64 bits of an IPv6 address), and the counters exist in memory only.
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

from api.errors.request import LookupsTooFast

TOKENS = 60.0
"""Budget of a network that has not asked for a while."""
TOKENS_PER_S = 0.5
LOOKUP_COSTS = 1.0
MISS_COSTS = 4.0

_ENTRY = struct.Struct("=Qdd")
"""Network id, its remaining tokens, and when they were counted; no network has the id 0."""
_BUCKETS = 4096
_BUCKET_BYTES = 8 * _ENTRY.size
_SECRET_BYTES = 16


class RateLimiter:
    """A token budget for each network, refilled over time.

    It is a hash table in shared memory, so the processes of a service charge one budget. There is
    no lock: of two charges at the same moment one may be lost. When a bucket of the table is full,
    the entry of the network with the most tokens is overwritten.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, file: int | None = None
    ) -> None:
        """file: descriptor of another process's limiter to share; None allocates new memory.

        clock: seconds; processes that share a limiter must use the same clock.
        """
        self._clock = clock
        if file is None:
            file = os.memfd_create("certledger lookup limit", os.MFD_CLOEXEC)
            weakref.finalize(self, os.close, file)
            os.truncate(file, _BUCKETS * _BUCKET_BYTES + _SECRET_BYTES)
            os.pwrite(file, secrets.token_bytes(_SECRET_BYTES), _BUCKETS * _BUCKET_BYTES)
        self.file: int | None = file
        self._memory = mmap(file, 0)
        self._secret = self._memory[-_SECRET_BYTES:]

    def charge(self, address: str) -> None:
        """Charge one lookup. Raises: LookupsTooFast."""
        network = self._id_of(address)
        offset, tokens = self._find(network)
        if tokens < LOOKUP_COSTS:
            wait = math.ceil((LOOKUP_COSTS - tokens) / TOKENS_PER_S)
            raise LookupsTooFast(seconds=wait)
        self._store(offset, network, tokens - LOOKUP_COSTS)

    def charge_miss(self, address: str) -> None:
        """Charge a lookup that found nothing; the budget may become negative."""
        network = self._id_of(address)
        offset, tokens = self._find(network)
        self._store(offset, network, tokens - MISS_COSTS)

    def _id_of(self, address: str) -> int:
        """A keyed hash of the network, so that a client cannot provoke collisions."""
        network = network_of(address).encode()
        hashed = hashlib.blake2b(network, digest_size=8, key=self._secret)
        return int.from_bytes(hashed.digest(), "little") or 1

    def _find(self, network: int) -> tuple[int, float]:
        """The offset of a network's entry, or of the one to overwrite, and its current tokens."""
        now = self._clock()
        start = network % _BUCKETS * _BUCKET_BYTES
        bucket = _ENTRY.iter_unpack(self._memory[start : start + _BUCKET_BYTES])
        victim, most = start, -math.inf
        for place, (stored, tokens, counted_at) in enumerate(bucket):
            refilled = min(TOKENS, tokens + (now - counted_at) * TOKENS_PER_S) if stored else TOKENS
            if stored == network:
                return start + place * _ENTRY.size, refilled
            if refilled > most:
                victim, most = start + place * _ENTRY.size, refilled
        return victim, TOKENS

    def _store(self, offset: int, network: int, tokens: float) -> None:
        _ENTRY.pack_into(self._memory, offset, network, tokens, self._clock())


class Unlimited(RateLimiter):
    """No limit, for services whose gateway limits lookups, and for staff."""

    def __init__(self) -> None:
        """No memory is needed."""
        self.file = None

    def charge(self, address: str) -> None:
        """Costs nothing."""

    def charge_miss(self, address: str) -> None:
        """Costs nothing."""


def network_of(address: str) -> str:
    """The network that an address counts towards; text that is no address counts as itself."""
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
    """The rate limiter of the service that received a request."""
    limit: RateLimiter = request.app.state.lookup_limit
    return limit


def address_of(request: Request) -> str:
    """The client's address for rate limiting."""
    return request.client.host if request.client else ""

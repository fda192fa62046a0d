"""A repeated command: the same principal and Idempotency-Key, and the same request or another.

The same request gets the recorded receipt again; another request under the key is refused.
"""

from collections.abc import Callable

from domain.store.errors import IdempotencyKeyReused
from domain.store.journal.records import KnownCommand


def ensure_same_request(known: KnownCommand, is_same_request: Callable[[bytes], bool]) -> None:
    """Refuse a key that was used with another request.

    known: what is recorded under the key. is_same_request: tells whether a stored hash is of the
    request that came now.
    Raises: IdempotencyKeyReused; CommandKeyMissing.
    """
    if not is_same_request(known.request_hash):
        raise IdempotencyKeyReused()

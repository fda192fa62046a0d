"""A repeated command: the same principal and Idempotency-Key, and the same request or another.

The same request gets the recorded receipt again; another request under the key is refused. Once
the epoch of the stored hash is over, nobody can tell the two apart, and either is refused.
"""

from collections.abc import Callable

from domain.store.errors import IdempotencyKeyExpired, IdempotencyKeyReused
from domain.store.journal.records import KnownCommand


def ensure_same_request(known: KnownCommand, is_same_request: Callable[[bytes], bool]) -> None:
    """Refuse a key that was used with another request.

    known: what is recorded under the key. is_same_request: tells whether a stored hash is of the
    request that came now.
    Raises: IdempotencyKeyReused; IdempotencyKeyExpired; CommandKeyMissing.
    """
    try:
        is_same = is_same_request(known.request_hash)
    except IdempotencyKeyExpired:
        raise IdempotencyKeyExpired(position=known.last_position) from None
    if not is_same:
        raise IdempotencyKeyReused()
